"""What does an enabled source cost that has nothing to do?

The whole tree of a process over the in-memory log and an in-memory store folds messages of one source, with one source
enabled and with all of the catalogue. Measured: tasks of the idle process, and processor time per
folded fact. Each run is a process of its own, the arms alternate, and the ratio is the median over the rounds: two runs
of one round share the load of the machine.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from airy.config import Config, HttpConfig, enabled_components
from airy.sources import catalogue
from airy.sources.chatplugin.spec import ChatPluginSection
from airy.sources.custom.spec import CustomSection
from tests.kit.downloads import WholeBodies
from tests.kit.media import MemoryStorage
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL

BATCH = 50
CONVERSATIONS = 500
SETTLE_S = 3.0
RATIO_MAX = 1.05
TASKS_MAX = 30


def enabled(count: int) -> Config:
    """The first `count` sources of the catalogue, connected to nothing."""
    sections = {name: wire.section for name, wire in WIRES.items()} | {
        "chatplugin": ChatPluginSection(enabled=True),
        "custom": CustomSection(enabled=True),
    }
    config = Config(http=HttpConfig(public_url=PUBLIC_URL))
    return config.with_sections(*(sections[spec.name] for spec in catalogue.SOURCES[:count]))


def run_arm(sources: int, facts: int) -> dict[str, float]:
    import anyio

    return anyio.run(measure, enabled(sources), facts, backend_options={"use_uvloop": True})


async def measure(config: Config, facts: int) -> dict[str, float]:
    from random import Random

    import anyio
    import structlog

    from airy import topics
    from airy.actors.runtime import run_tree
    from airy.app.services import Ports, build_services
    from airy.app.tree import build_tree
    from airy.bus.memory import MemoryBus
    from airy.clock import RandomIds, SystemClock
    from airy.http_client import ConnectFailed, Response
    from airy.queue.sqlite.queue import SqliteQueue
    from airy.seal import Sealer
    from airy.store.sqlite import SqliteStore
    from tests.kit.builders import Chat, channel

    async def nowhere(method: str, url: str, **_: object) -> Response:
        raise ConnectFailed(f"{method} {url}")

    clock, ids = SystemClock(), RandomIds(Random(0))
    bus = MemoryBus(topics.ALL, clock=clock)
    store, queue = SqliteStore(":memory:"), SqliteQueue(":memory:", ids=ids)
    await store.open()
    await queue.open()
    services = build_services(
        config,
        Ports(
            clock=clock,
            ids=ids,
            bus=bus,
            store=store,
            queue=queue,
            sealer=Sealer({"k1": bytes(32)}),
            media=MemoryStorage(),
            provider_http=nowhere,
            provider_files=WholeBodies(nowhere),
            attachment_files=WholeBodies(nowhere),
            webhook_http=nowhere,
            wait_for_arrival=queue.wait_for_arrival,
        ),
    )
    running = frozenset(enabled_components(config))
    stop = anyio.Event()
    log = structlog.wrap_logger(None, processors=[], wrapper_class=structlog.make_filtering_bound_logger(50))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: run_tree(build_tree(services, running), clock=clock, seed=1, stop=stop, log=log))
        chats = [Chat(number) for number in range(CONVERSATIONS)]
        await anyio.sleep(SETTLE_S)
        first = [channel(), *(fact for chat in chats for fact in (chat.received("first"), chat.profile("A Name")))]
        records = [
            topics.CHANNELS.record(each.id, each) if number == 0 else topics.EVENTS.record(each.conversation_id, each)
            for number, each in enumerate(first)
        ]
        await folded(services, await bus.publish(records))
        await anyio.sleep(SETTLE_S)
        idle_tasks = len(anyio.get_running_tasks())
        made = [chats[number % CONVERSATIONS].received(number) for number in range(facts)]
        batches = [
            [topics.EVENTS.record(fact.conversation_id, fact) for fact in made[start : start + BATCH]]
            for start in range(0, facts, BATCH)
        ]
        before = time.process_time()
        for batch in batches:
            await folded(services, await bus.publish(batch))
        cpu_s = time.process_time() - before
        stop.set()
    await queue.close()
    await store.close()
    return {"tasks": idle_tasks, "us_per_fact": cpu_s / facts * 1e6}


async def folded(services: object, positions: object) -> None:
    projector = services.projector  # type: ignore[attr-defined]
    for position in positions:  # type: ignore[attr-defined]
        assert await projector.wait_for_position(position, 60.0)


def child(sources: int, facts: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--arm", str(sources), "--facts", str(facts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-4000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=len(catalogue.SOURCES))
    parser.add_argument("--facts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--arm", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        sys.stdout.write(f"{json.dumps(run_arm(given.arm, given.facts))}\n")
        return
    rounds = [(child(1, given.facts), child(given.sources, given.facts)) for _ in range(given.rounds)]
    one_us, many_us = (statistics.median(each[arm]["us_per_fact"] for each in rounds) for arm in (0, 1))
    ratios = [round(many["us_per_fact"] / one["us_per_fact"], 3) for one, many in rounds]
    ratio = statistics.median(ratios)
    one_tasks, many_tasks = (round(statistics.median(each[arm]["tasks"] for each in rounds)) for arm in (0, 1))
    result = {
        "sources": given.sources,
        "facts": given.facts,
        "rounds": given.rounds,
        "us_per_fact": {"one": round(one_us, 1), "many": round(many_us, 1)},
        "ratio": round(ratio, 3),
        "ratios": ratios,
        "tasks": {"one": one_tasks, "many": many_tasks, "more": many_tasks - one_tasks},
        "within": ratio <= RATIO_MAX and many_tasks - one_tasks < TASKS_MAX,
        "python": platform.python_version(),
    }
    if given.json:
        sys.stdout.write(f"{json.dumps(result)}\n")
        return
    sys.stdout.write(
        f"processor time per folded fact: {one_us:.1f} us with one source, {many_us:.1f} us with {given.sources}: "
        f"{ratio:.3f} x (at most {RATIO_MAX:g})\n"
        f"idle tasks: {one_tasks} and {many_tasks}: {many_tasks - one_tasks} more (fewer than {TASKS_MAX})\n"
    )


if __name__ == "__main__":
    main()
