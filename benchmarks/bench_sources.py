"""What does an enabled source cost that has nothing to do?

The whole tree of a process over the in-memory log and an in-memory store folds messages of one source, with one source
enabled and with ten (copies of it under other names). Measured: tasks of the idle process, and processor time per
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

from msgspec.structs import replace

from airy.sources import catalogue
from airy.sources.facebook.source import Facebook
from airy.sources.facebook.spec import FacebookSection
from airy.sources.spec import SourceSpec
from tests.kit.downloads import WholeBodies
from tests.kit.media import MemoryStorage

BATCH = 50
CONVERSATIONS = 500
SETTLE_S = 3.0
RATIO_MAX = 1.10
TASKS_MAX = 30


def copies(count: int) -> tuple[SourceSpec, ...]:
    """`count` sources; the first is the original. Each copy has a class of its own, because a source knows its spec."""
    original = Facebook.spec
    specs = [original]
    for number in range(1, count):
        name = f"copy{number}"
        kinds = (replace(original.kinds[0], name=name),)
        section = type(FacebookSection)(f"Section{number}", (FacebookSection,), {}, frozen=True)
        build = f"__main__:Copy{number}"
        spec = replace(original, name=name, kinds=kinds, webhooks=(f"/{name}",), section=section, build=build)
        globals()[f"Copy{number}"] = type(f"Copy{number}", (Facebook,), {"spec": spec})
        specs.append(spec)
    return tuple(specs)


def enable(specs: tuple[SourceSpec, ...]) -> None:
    """Before anything derives from the catalogue. The others stay in it, because services read their sections."""
    specs = (*specs, *(spec for spec in catalogue.SOURCES if spec.name != Facebook.spec.name))
    catalogue.SOURCES = specs
    catalogue.BY_NAME = {spec.name: spec for spec in specs}
    catalogue.BY_KIND = {kind.name: spec for spec in specs for kind in spec.kinds}
    catalogue.KINDS = {kind.name: kind for spec in specs for kind in spec.kinds}


def run_arm(sources: int, facts: int) -> dict[str, float]:
    specs = copies(sources)
    enable(specs)
    import anyio

    return anyio.run(measure, specs, facts, backend_options={"use_uvloop": True})


async def measure(specs: tuple[SourceSpec, ...], facts: int) -> dict[str, float]:
    from random import Random

    import anyio
    import structlog

    from airy import topics
    from airy.actors.runtime import run_tree
    from airy.app.services import Ports, build_services
    from airy.app.tree import build_tree
    from airy.bus.memory import MemoryBus
    from airy.clock import RandomIds, SystemClock
    from airy.config import Config
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
        Config(),
        Ports(
            clock=clock,
            ids=ids,
            bus=bus,
            store=store,
            queue=queue,
            sealer=Sealer({"k1": bytes(32)}),
            media=MemoryStorage(),
            provider_http=nowhere,
            webhook_http=nowhere,
            provider_files=WholeBodies(nowhere),
            attachment_files=WholeBodies(nowhere),
            wait_for_arrival=queue.wait_for_arrival,
        ),
    )
    running = frozenset({"http", "api-communication", "api-admin", *(f"sources-{spec.name}" for spec in specs)})
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
    parser.add_argument("--sources", type=int, default=10)
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
