"""The configuration of a running process: shown, planned, changed. Lives as long as the process, through all reloads.

A change is written first, and then the process reloads: it drains as on SIGTERM, and starts again with the new
configuration. If that does not start, the file is put back and the previous configuration is started again
(`airy.process`).
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from airy.config import Config
from airy.config_document import InvalidConfig
from airy.errors import Refused
from airy.live_config.entered import Entered, SectionChange
from airy.live_config.plan import ConfigState, Plan, make_plan, problems_of, references, text_with
from airy.live_config.source import ConfigSource, fingerprint
from airy.secret import Secret

IN_MEMORY = "the log of this process is in memory, and would be lost: write the file, and start again"
DEMO = "the demo sets its own sources and addresses: change a real installation, which `airy up` starts"


class FingerprintMismatch(Refused):
    """The configuration is not the one that a plan was made for."""


class LastConfigChange(Struct, frozen=True, kw_only=True):
    """`reverted`: the changed configuration did not start, for the reason in `problem`."""

    at_ms: int
    state: Literal["reloading", "applied", "reverted"]
    fingerprint: str
    problem: str = ""


class _Before(Struct, frozen=True, kw_only=True):
    """What to go back to. `stored`: the text of the file, if it was replaced."""

    config: Config
    text: str | None
    replaced: bool
    stored: str | None


class LiveConfig:
    """`text` is that of the file when `config` was read; None: there was no file.

    `chosen`: the components of this process; None: all that are enabled. `fixed`: why nothing can be changed.
    """

    def __init__(
        self, config: Config, source: ConfigSource, *, chosen: frozenset[str] | None = None, fixed: str = ""
    ) -> None:
        self.config = config
        self.text = source.read()
        self.last_change: LastConfigChange | None = None
        self.on_reload: Callable[[], None] = lambda: None  # set by what runs; starts to drain
        self.running: frozenset[str] = frozenset()  # components; likewise
        self.instance: Callable[[], str | None] = lambda: None  # the name of this process in the fleet; likewise
        self._source = source
        self._chosen = chosen
        self._fixed = fixed
        self._before: _Before | None = None
        self._references: tuple[str | None, Mapping[str, str]] | None = None  # with the text they are of
        self._lock = Lock()

    @property
    def file(self) -> str:
        return str(self._source.path)

    @property
    def reloading(self) -> bool:
        """Whether a changed configuration waits to be started."""
        return self._before is not None

    def refused(self) -> str:
        """Why nothing can be changed here; empty: it can."""
        if self._fixed:
            return self._fixed
        return IN_MEMORY if self.config.bus.kind == "memory" else self._source.unwritable()

    def references(self) -> Mapping[str, str]:
        """The texts of references in the configuration that runs, by path."""
        if self._references is None or self._references[0] != self.text:
            self._references = self.text, references(self.text, self.file)
        return self._references[1]

    def overridden(self) -> Mapping[str, str]:
        """The keys that the environment or an option sets, with the variable."""
        return self._source.overridden()

    def plan(self, changes: Sequence[SectionChange]) -> Plan:
        """Reads the file: call it in a thread."""
        try:
            stored = self._source.read()
        except InvalidConfig as error:
            return Plan(problems=problems_of(error))
        return self._plan(changes, stored)

    def apply(self, changes: Sequence[SectionChange], expected: str, now_ms: int) -> Plan:
        """Write what `changes` plan, for `reload`. Nothing is written with problems, or if nothing changes.

        Reads and writes files: call it in a thread. Raises `FingerprintMismatch`, `Refused`.
        """
        with self._lock:
            if why := self.refused():
                raise Refused(why)
            if self.reloading:
                raise FingerprintMismatch("another change is being applied: wait for it, then plan anew")
            stored = self._source.read()
            plan = self._plan(changes, stored)
            if plan.fingerprint != expected:
                raise FingerprintMismatch(
                    f"the configuration or {self.file} changed since this plan was made: plan anew"
                )
            if not plan.problems and plan.differences:
                self._write(plan, stored, now_ms)
            return plan

    def reload(self) -> None:
        """Start to drain, if something was applied. Call it in the event loop's thread."""
        if self.reloading:
            self.on_reload()

    def started(self) -> None:
        """The present configuration has started."""
        if self._before is not None and self.last_change is not None:
            self.last_change = replace(self.last_change, state="applied")
        self._before = None

    def revert(self, problem: str) -> None:
        """Go back to the configuration before the change, which did not start."""
        before = self._before
        assert before is not None
        self.config, self.text, self._before = before.config, before.text, None
        if before.replaced:
            try:
                self._source.restore(before.stored)
            except OSError as error:
                problem += f"; {self.file} could not be put back: {(error.strerror or str(error)).lower()}"
        if self.last_change is not None:
            self.last_change = replace(self.last_change, state="reverted", problem=problem)

    def _plan(self, changes: Sequence[SectionChange], stored: str | None) -> Plan:
        state = ConfigState(
            config=self.config,
            text=self.text,
            stored=stored,
            overridden=self.overridden(),
            chosen=self._chosen,
            file=self.file,
        )
        return replace(make_plan(state, changes, self._source.config_of), fingerprint=fingerprint(self.text, stored))

    def _write(self, plan: Plan, stored: str | None, now_ms: int) -> None:
        kept = [Entered(each.section, each.setting, self._referred(each)) for each in plan.entered]
        text = text_with(stored, kept, self._source.config_of(stored), self.file)
        config = self._source.config_of(text)
        replaced = text is not None and text != stored
        if text is not None and replaced:
            self._source.write(text, stored, config)
        self._before = _Before(config=self.config, text=self.text, replaced=replaced, stored=stored)
        self.config, self.text = config, text
        self.last_change = LastConfigChange(at_ms=now_ms, state="reloading", fingerprint=fingerprint(text, text))

    def _referred(self, entered: Entered) -> object:
        """The value as it is written: secrets go into files, and are named."""

        def kept(value: object) -> object:
            if isinstance(value, list):
                return [kept(each) for each in value]
            if isinstance(value, Secret):
                return self._source.keep_secret(self.config, entered.setting.path, value)
            return value

        return kept(entered.value)
