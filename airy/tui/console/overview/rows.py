"""The rows of the overview, from what the API says. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from airy.tui.console import format as shown

HISTORY_MAX = 120  # samples kept of each figure
FIGURES: Mapping[str, tuple[str, ...]] = {  # title: the samples whose sum it is, or counters, over all labels
    "ingest": ('airy_ingress_total{kind="accepted"}',),
    "fold": ("airy_facts_total",),
    "API": ("airy_responses_total",),
    "webhooks": ("airy_webhooks_delivered_total",),
}
PHASES: Mapping[str, tuple[str, str]] = {  # phase of an actor: symbol and style
    "ready": ("●", "$success"),
    "starting": ("◌", "$warning"),
    "backing_off": ("↻", "$warning"),
    "draining": ("◍", "$warning"),
    "stopped": ("○", "$foreground-muted"),
    "failed": ("✗", "$error"),
}
UNKNOWN_PHASE = ("?", "$warning")
ROOT = "airy/"  # of the supervision tree


class MailboxUse(Struct, frozen=True):
    used: int = 0
    capacity: int = 0


class ActorInfo(Struct, frozen=True):
    """As `processes.actors` gives it."""

    path: str
    phase: str
    supervises: int = 0
    restarts: int = 0
    error: str | None = None
    steps: int = 0
    progress_age_s: float = 0.0
    mailbox: MailboxUse = MailboxUse()


class ProcessTree(Struct, frozen=True):
    """The supervision tree of a process, as `processes.actors` gives it."""

    instance: str
    answering: bool = True
    at: str = ""  # by the clock of the process
    age_s: float = 0.0
    stale: bool = False
    omitted: int = 0
    actors: list[ActorInfo] = []


class Fold(Struct, frozen=True):
    lag: int = 0
    age_s: float = 0.0
    caught_up: bool = True


class ProcessComponent(Struct, frozen=True):
    ready: bool
    restarts: int = 0
    lag: int | None = None


class Process(Struct, frozen=True):
    """As `processes.list` gives it."""

    instance: str
    version: str = ""
    age_s: float = 0.0
    stale: bool = False
    ready: bool = False
    waiting_for: dict[str, str] = {}
    components: dict[str, ProcessComponent] = {}
    memory_bytes: int = 0
    event_loop_delay_s: float = 0.0
    fold: Fold = Fold()


class ActorRow(Struct, frozen=True):
    path: str
    name: str  # indented by its depth
    symbol: str
    style: str
    phase: str
    rate: str
    restarts: str
    idle: str
    mailbox: str
    said: str  # the latest error


def actor_rows(actors: Iterable[ActorInfo], rates: Mapping[str, float]) -> list[ActorRow]:
    """The tree; `rates`: steps per second by path."""
    rows = []
    for each in actors:
        depth = each.path.count("/")
        symbol, style = PHASES.get(each.phase, UNKNOWN_PHASE)
        leaf = each.supervises == 0
        rows.append(
            ActorRow(
                path=each.path,
                name=f"{'  ' * depth}{'  ' if leaf else '▾ '}{each.path.rpartition('/')[2]}",
                symbol=symbol,
                style=style,
                phase=each.phase.replace("_", " "),
                rate=shown.rate(rates.get(each.path)) if leaf else "",
                restarts=str(each.restarts) if each.restarts else "",
                idle=shown.duration(each.progress_age_s) if leaf else "",
                mailbox=f"{each.mailbox.used}/{each.mailbox.capacity}" if each.mailbox.capacity else "",
                said=each.error or "",
            )
        )
    return rows


def in_order(processes: Iterable[Process]) -> list[Process]:
    """Those in trouble first, then by name."""
    return sorted(processes, key=lambda each: (each.ready and not each.stale, each.instance))


def neighbour(processes: Sequence[Process], chosen: str, step: int) -> str:
    """The process after (`step` 1) or before (-1) the chosen one, round and round."""
    names = [each.instance for each in processes]
    if chosen not in names:
        return names[0] if names else chosen
    return names[(names.index(chosen) + step) % len(names)]


def tree_words(tree: ProcessTree) -> str:
    """Whose tree it is, and how old."""
    age = "now" if tree.answering else f"{shown.duration(tree.age_s)} ago"
    words = f"{tree.instance}, {f'stale: its last heartbeat was {age}' if tree.stale else f'as of {age}'}"
    if not tree.actors:
        return f"{words}; it publishes no tree"
    return f"{words}; {tree.omitted} more actors" if tree.omitted else words


def process_state(process: Process) -> tuple[str, str, str]:
    """Symbol, style and words of a process."""
    if process.stale:
        return "✗", "$error", f"no heartbeat for {shown.duration(process.age_s)}"
    if process.ready:
        return "●", "$success", "ready"
    waiting = "; ".join(f"{name.removeprefix(ROOT)}: {why}" for name, why in process.waiting_for.items())
    return "◌", "$warning", f"not ready: {waiting}" if waiting else "not ready"


def component_states(processes: Sequence[Process]) -> list[tuple[str, str, str, str]]:
    """Name, symbol, style and words of each component, over all processes; with the reason, where it is not ready."""
    ready: dict[str, int] = {}
    total: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for process in processes:
        for name, component in process.components.items():
            fine = component.ready and not process.stale
            total[name] = total.get(name, 0) + 1
            ready[name] = ready.get(name, 0) + fine
            if not fine:
                reasons.setdefault(name, _reason(process, name))
    states = []
    for name, number in sorted(total.items()):
        count = ready[name]
        symbol, style = ("●", "$success") if count == number else ("◐", "$warning") if count else ("✗", "$error")
        words = "ready" if count == number == 1 else f"{count} of {number} ready"
        states.append((name, symbol, style, f"{words}: {reasons[name]}" if reasons.get(name) else words))
    return states


def _reason(process: Process, component: str) -> str:
    """Why it is not ready there: what an actor below it waits for."""
    if process.stale:
        return f"no heartbeat of {process.instance}"
    below = (why for path, why in process.waiting_for.items() if component in path.split("/"))
    return next(below, "starting")


class Samples:
    """Counters over time. `add` one reading per poll; `rates` and `history` follow from the differences."""

    def __init__(self) -> None:
        self._before: tuple[float, dict[str, float]] | None = None
        self.rates: dict[str, float] = {}
        self.history: dict[str, list[float]] = {}

    def add(self, now_s: float, counters: Mapping[str, float]) -> None:
        """`now_s` on any monotonic clock. A counter that fell was reset by a restart: it gives no rate this time."""
        before, self._before = self._before, (now_s, dict(counters))
        if before is None or now_s <= before[0]:
            return
        passed_s = now_s - before[0]
        self.rates = {
            name: (value - before[1][name]) / passed_s
            for name, value in counters.items()
            if value >= before[1].get(name, value + 1)
        }
        for name, value in self.rates.items():
            kept = self.history.setdefault(name, [])
            kept.append(value)
            del kept[:-HISTORY_MAX]
        self.history = {name: kept for name, kept in self.history.items() if name in counters}


def figures(metrics: Mapping[str, float]) -> dict[str, float]:
    """The figures from samples by their name with labels."""
    sums = dict.fromkeys(FIGURES, 0.0)
    for sample, value in metrics.items():
        names = (sample, sample.partition("{")[0])
        for title, counters in FIGURES.items():
            if any(name in counters for name in names):
                sums[title] += value
    return sums
