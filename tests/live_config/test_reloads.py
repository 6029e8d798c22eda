"""Reloads: the changed configuration runs next; one that does not start gives way to the previous one."""

from collections.abc import Collection

import anyio
import pytest

from airy.config import Config
from airy.errors import Misconfigured
from airy.live_config.entered import SectionChange
from airy.live_config.live_config import LiveConfig
from airy.live_config.reloads import START_S, Started, run_with_reloads
from tests.kit.config_source import MemoryConfigSource

TEXT = "http: {port: 9090}\n"
PORT_TAKEN = "cannot listen on port 81, hidden-secret-of-viber"


class System:
    """Runs each configuration until it is told to stop; `broken` ports do not start, `slow` ones never end starting."""

    def __init__(self, *, broken: Collection[int] = (), slow: Collection[int] = ()) -> None:
        self.source = MemoryConfigSource(TEXT)
        self.live = LiveConfig(self.source.config_of(TEXT), self.source)
        self.ports: list[int] = []
        self.stopping = False
        self._broken = broken
        self._slow = slow
        self._stop = anyio.Event()
        self.live.on_reload = self._reload

    async def run_once(self, config: Config, started: Started) -> int:
        self._stop = anyio.Event()
        self.ports.append(config.http.port)
        if config.http.port in self._broken:
            raise ExceptionGroup("tree", [Misconfigured(PORT_TAKEN)])
        if config.http.port in self._slow:
            await anyio.sleep_forever()
        started()
        await self._stop.wait()
        return 0

    async def run(self) -> int:
        return await run_with_reloads(
            self.run_once,
            self.live,
            self.live.config,
            stopping=lambda: self.stopping,
            configure=lambda _: None,
            explain=lambda error: str(error.exceptions[0]) if isinstance(error, ExceptionGroup) else str(error),
        )

    def change(self, **data: object) -> None:
        changes = [SectionChange("http", data=data)]
        self.live.apply(changes, self.live.plan(changes).fingerprint, 1_000)
        self.live.reload()

    def _reload(self) -> None:
        self._stop.set()

    async def stop(self) -> None:
        self.stopping = True
        self._stop.set()


async def changed_and_stopped(system: System, **data: object) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(system.run)
        await anyio.sleep(1)
        system.change(**data)
        await anyio.sleep(START_S + 1)
        await system.stop()


async def test_the_changed_configuration_is_started_once_the_former_has_drained() -> None:
    system = System()
    await changed_and_stopped(system, port=80)

    assert system.ports == [9090, 80]
    assert system.source.text == "http: {port: 80}\n"
    assert system.live.last_change is not None
    assert system.live.last_change.state == "applied"


@pytest.mark.parametrize(
    ("broken", "slow", "problem"),
    [({81}, set(), "cannot listen on port 81"), (set(), {81}, "it did not start within 120 s")],
    ids=["fails", "hangs"],
)
async def test_one_that_does_not_start_gives_way_to_the_previous_and_its_file(
    broken: set[int], slow: set[int], problem: str
) -> None:
    system = System(broken=broken, slow=slow)
    await changed_and_stopped(system, port=81)

    assert system.ports == [9090, 81, 9090]
    assert system.source.text == TEXT
    assert system.live.config.http.port == 9090
    assert system.live.last_change is not None
    assert (system.live.last_change.state, problem in system.live.last_change.problem) == ("reverted", True)


async def test_a_process_that_is_stopped_while_it_drains_for_a_reload_does_not_start_again() -> None:
    system = System()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(system.run)
        await anyio.sleep(1)
        system.stopping = True
        system.change(port=80)

    assert system.ports == [9090]


class Crashing(System):
    """Asks for a reload in its first run, and crashes in the second once it has started."""

    async def run_once(self, config: Config, started: Started) -> int:
        self.ports.append(config.http.port)
        started()
        if len(self.ports) > 1:
            raise RuntimeError("a bug")
        self.change(port=80)
        return 0


async def test_an_error_after_the_start_ends_the_process_as_ever() -> None:
    system = Crashing()
    with pytest.raises(RuntimeError, match="a bug"):
        await system.run()
    assert system.source.text == "http: {port: 80}\n"
