"""Runs the system again when its configuration has changed, and with the previous one if the changed does not start."""

import math
from collections.abc import Awaitable, Callable

import anyio
import structlog

from airy.config import Config
from airy.config_secrets import secret_values
from airy.live_config.live_config import LiveConfig
from airy.log import masker

START_S = 120.0  # for a changed configuration; its store is up to date, so it need not fold the log first

Started = Callable[[], None]
RunOnce = Callable[[Config, Started], Awaitable[int]]


async def run_with_reloads(
    run_once: RunOnce,
    live: LiveConfig,
    first: Config,
    *,
    stopping: Callable[[], bool],
    configure: Callable[[Config], None],
    explain: Callable[[BaseException], str],
) -> int:
    """The exit code of the last run. `run_once` returns when it has drained, and tells when it has started.

    `first`: the configuration of the first run; the demo's is not the one of the file.

    `configure` is called before each further run, `explain` with the error of one that did not start.
    """
    log = structlog.get_logger("airy")
    code = await run_once(first, live.started)
    while live.reloading and not stopping():
        changed = live.config
        log.info("config.reloading", file=live.file)
        configure(changed)
        try:
            code = await _run_started_within(run_once, live, START_S)
        except _NotStarted as failure:
            if stopping():
                return code
            cause = failure.__cause__
            reason = explain(cause) if cause else f"it did not start within {START_S:g} s"
            reason = masker(secret_values(changed))(reason)
            live.revert(reason)
            log.error("config.reverted", file=live.file, reason=live.last_change and live.last_change.problem)  # noqa: TRY400 - a sentence for operators
            configure(live.config)
            code = await run_once(live.config, live.started)
    return code


class _NotStarted(Exception):
    """A run ended before it had started; the cause is its error, or none after the time that it had."""


async def _run_started_within(run_once: RunOnce, live: LiveConfig, start_s: float) -> int:
    has_started = False
    with anyio.move_on_after(start_s) as starting:

        def started() -> None:
            nonlocal has_started
            has_started, starting.deadline = True, math.inf
            live.started()

        try:
            return await run_once(live.config, started)
        except Exception as error:
            if has_started:
                raise
            raise _NotStarted from error
    raise _NotStarted
