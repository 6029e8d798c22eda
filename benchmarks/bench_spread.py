"""How does work spread over the members of a group, by number of partitions and by how uneven the keys are?

Records go through the memory backend, so its partitioner and group protocol decide, as the cluster's do. The figure is
the busiest member against the mean (1.00: perfectly even; at 2.00 half of the members' time is spent waiting for one).
The baseline is a perfect deal, for which the same run gives what the hottest conversation alone would allow: the best
any number of partitions can do, because a conversation is never divided.

    python -m benchmarks.bench_spread [--records 50000] [--seed 0] [--json]
"""

import argparse
import json
import sys
from typing import Any

import anyio
from trio.testing import MockClock

from tests.kit.spread import KEYS, Keys, Spread, spread

PARTITIONS = (1, 4, 16, 64)
MEMBERS = (1, 2, 4, 8)


def measured(keys: Keys, partitions: int, members: int, records: int, seed: int) -> Spread:
    async def measure() -> Spread:
        return await spread(keys, partitions=partitions, members=members, records=records, seed=seed)

    return anyio.run(measure, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


def best(one: Spread) -> float:
    """The skew that is left when everything but the hottest conversation is dealt perfectly."""
    return max(1.0, one.hottest * one.members / sum(one.by_member))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for keys in KEYS:
        for partitions in PARTITIONS:
            for members in MEMBERS:
                one = measured(keys, partitions, members, given.records, given.seed)
                rows.append(
                    {
                        "keys": keys,
                        "partitions": partitions,
                        "members": members,
                        "skew": round(one.skew, 3),
                        "best": round(best(one), 3),
                        "idle_members": one.idle,
                        "partition_skew": round(one.partition_skew, 3),
                        "hottest_conversation": one.hottest,
                    }
                )
    if given.json:
        print(json.dumps({"records": given.records, "seed": given.seed, "baseline": "a perfect deal", "rows": rows}))
        return 0
    print(f"{given.records} records; busiest member / mean, and in brackets what one conversation alone forces")
    print(f"{'keys':<18}{'partitions':>10}  " + "".join(f"{members:>10} mem" for members in MEMBERS))
    for keys in KEYS:
        for partitions in PARTITIONS:
            cells = [row for row in rows if (row["keys"], row["partitions"]) == (keys, partitions)]
            line = "".join(f"{row['skew']:>7.2f} ({row['best']:.2f})"[:14].rjust(14) for row in cells)
            print(f"{keys:<18}{partitions:>10}  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
