"""CPU cost of folding a message. Baseline: appending the decoded fact to a list in a dictionary.

Each line folds its own seeded facts into a state over dictionaries of structs, so it measures the fold with its change
bodies, without a store. Neither side includes decoding.
"""

import argparse
import gc
import json
from collections.abc import Callable
from time import process_time_ns

from airy.model.fact import Fact
from airy.model.fold import fold
from tests.kit.builders import Chat, seeded_log
from tests.kit.fold import LiveState

TARGET_US = 20.0
ROUNDS = 5


def inbound(count: int, conversations: int = 100) -> list[Fact]:
    chats = [Chat(number) for number in range(conversations)]
    return [chats[number % conversations].received(number, f"message {number}") for number in range(count)]


def outbound(count: int, conversations: int = 100) -> list[Fact]:
    """Queued, claimed, sent: three facts for each message."""
    chats = [Chat(number) for number in range(conversations)]
    facts: list[Fact] = []
    for number in range(count):
        chat = chats[number % conversations]
        facts += [
            chat.queued(number, recipient_id=chat.participant_id),
            chat.started(number),
            chat.succeeded(number, provider=number),
        ]
    return facts


def append(facts: list[Fact]) -> int:
    log: dict[str, list[Fact]] = {}
    for fact in facts:
        log.setdefault(fact.conversation_id, []).append(fact)
    return 0


def folded(facts: list[Fact]) -> int:
    states: dict[str, LiveState] = {}
    changes = 0
    for fact in facts:
        state = states.get(fact.conversation_id)
        if state is None:
            state = states[fact.conversation_id] = LiveState()
        changes += len(fold(state, fact).changes)
    return changes


def best_us(run: Callable[[list[Fact]], int], facts: list[Fact], units: int) -> tuple[float, int]:
    """The fastest of several rounds, in µs of CPU per unit, and the number of changes."""
    times = []
    for _ in range(ROUNDS):
        gc.collect()
        begin = process_time_ns()
        changes = run(facts)
        times.append(process_time_ns() - begin)
    return min(times) / 1000 / units, changes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count: int = options.messages
    cases = [
        ("inbound message", inbound(count), count),
        ("outbound message, sent", outbound(count), count),
        ("fact of a mixed log", seeded_log(options.seed, facts=count, conversations=count // 20 or 1), count),
    ]
    rows = []
    for name, facts, units in cases:
        base_us, _ = best_us(append, facts, units)
        fold_us, changes = best_us(folded, facts, units)
        rows.append(
            {
                "case": name,
                "fold_us": round(fold_us, 2),
                "append_us": round(base_us, 3),
                "ratio": round(fold_us / base_us, 1),
                "changes": round(changes / units, 2),
            }
        )
    if options.json:
        summary = {"benchmark": "fold", "messages": count, "target_inbound_us": TARGET_US, "rows": rows}
        print(json.dumps(summary))
        return
    print(f"{'per':<26}{'fold µs':>9}{'append µs':>11}{'ratio':>8}{'changes':>9}")
    for row in rows:
        print(f"{row['case']:<26}{row['fold_us']:>9}{row['append_us']:>11}{row['ratio']:>8}{row['changes']:>9}")
    print(f"target: at most {TARGET_US:g} µs per inbound message, change bodies included")


if __name__ == "__main__":
    main()
