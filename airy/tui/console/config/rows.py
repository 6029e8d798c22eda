"""What the view of the configuration shows, and what its form sends, from what the API says. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from airy.tui.view_model import clean

STATE_STYLES = {  # symbol, style and word
    "ready": ("●", "$success", "ready"),
    "not_ready": ("▲", "$warning", "not ready"),
    "not_running": ("▲", "$error", "not running"),
    "disabled": ("○", "$foreground-muted", "disabled"),
}
KINDS = {"number": "a number", "list": "several, with commas", "secret": "a secret"}
MASK = "•••••"
ADDRESS = ("http.host", "http.port")  # another one refuses what still calls the former


class ListedSetting(Struct, frozen=True):
    """A setting as `components.list` gives it."""

    key: str
    path: str
    kind: str
    value: Any = None
    reference: str | None = None
    is_set: bool = False
    default: Any = None
    description: str = ""
    required: bool = False
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    overridden_by: str | None = None
    fixed: str | None = None

    @property
    def locked(self) -> str:
        """Why the form cannot change it; empty: it can."""
        if self.overridden_by:
            return f"set by {self.overridden_by}"
        return self.fixed or ""

    @property
    def text(self) -> str:
        """What its field begins with: nothing for the default, and for a secret, which is never read."""
        if self.kind == "secret":
            return ""
        return self.reference or (as_text(self.value) if self.is_set else "")

    @property
    def placeholder(self) -> str:
        """What a blank field says: the default, or that a secret is kept."""
        if self.kind != "secret":
            return f"default: {as_text(self.default)}" if as_text(self.default) else "not set"
        if self.reference or self.is_set:
            return f"{self.reference or MASK}  (blank keeps it, ^d removes it)"
        return "not set"

    @property
    def help(self) -> str:
        """What is known about it, in one line."""
        low, high = as_text(self.minimum), as_text(self.maximum)
        bounds = f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}" if high else ""
        words = [
            self.description.removeprefix("s; ").removeprefix("s, "),
            KINDS.get(self.kind, ""),
            " ".join(filter(None, (bounds, self.unit))),
            "required while it is enabled" if self.required else "",
            self.locked,
        ]
        return " · ".join(filter(None, words))


class ListedSection(Struct, frozen=True):
    name: str
    path: str
    summary: str
    settings: tuple[ListedSetting, ...]
    state: str | None = None
    processes: int = 0
    ready: int = 0

    @property
    def given(self) -> int:
        """How many settings have another value than their default."""
        return sum(each.is_set or each.reference is not None for each in self.settings)

    @property
    def switch(self) -> ListedSetting | None:
        """Of the component; None: it cannot be disabled."""
        return next((each for each in self.settings if each.key == "enabled"), None)

    @property
    def look(self) -> tuple[str, str, str]:
        """Symbol, style and word of its state."""
        return STATE_STYLES.get(self.state or "", ("·", "$foreground-muted", "shared"))

    @property
    def words(self) -> str:
        keys = " ".join(each.key for each in self.settings)
        return f"{self.name} {self.path} {self.summary} {self.look[2]} {keys}".lower()


class ListedChange(Struct, frozen=True):
    at: str
    state: str
    problem: str | None = None


class SectionList(Struct, frozen=True):
    data: list[ListedSection]
    file: str = ""
    refused: str | None = None
    last_change: ListedChange | None = None


class ListedDifference(Struct, frozen=True):
    component: str
    path: str
    before: str | None = None
    after: str | None = None


class ListedProblem(Struct, frozen=True):
    path: str
    message: str


class ProcessToRestart(Struct, frozen=True):
    instance: str
    url: str | None = None
    components: tuple[str, ...] = ()


class ShownPlan(Struct, frozen=True):
    """As `components.plan` gives it."""

    fingerprint: str
    differences: tuple[ListedDifference, ...] = ()
    problems: tuple[ListedProblem, ...] = ()
    refused: str | None = None
    restarts: tuple[str, ...] = ()
    restart_by_hand: tuple[ProcessToRestart, ...] = ()


def as_text(value: object) -> str:
    """A value as it is written into a field."""
    match value:
        case None | "":
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.12g}"
        case list() | tuple():
            return ", ".join(map(as_text, value))
        case Mapping():
            return ", ".join(map(str, value))
    return clean(str(value))


def change(section: ListedSection, written: Mapping[str, object]) -> dict[str, object]:
    """The `data` of a change: of the fields of a form by key, those that are not as they were. Blank is the default;
    a blank secret stays, and None removes it.
    """
    data: dict[str, object] = {}
    for setting in section.settings:
        if setting.key not in written:
            continue
        value = written[setting.key]
        if value is None:
            data[setting.key] = None
        elif isinstance(value, bool):
            if value is not setting.value:
                data[setting.key] = value
        elif (text := str(value).strip()) != setting.text and (text or setting.kind != "secret"):
            data[setting.key] = text or None
    return data


def errors_by_key(section: ListedSection, problems: Iterable[ListedProblem]) -> tuple[dict[str, str], list[str]]:
    """The problems of the section's own keys, and the others with their paths."""
    keys = {setting.path: setting.key for setting in section.settings}
    own: dict[str, str] = {}
    others: list[str] = []
    for problem in problems:
        key = keys.get(problem.path)
        if key is None:
            others.append(f"{problem.path}: {problem.message}" if problem.path else problem.message)
        else:
            own[key] = f"{own[key]}; {problem.message}" if key in own else problem.message
    return own, others


def restart_lines(plan: ShownPlan) -> list[str]:
    """What applying restarts, in sentences."""
    lines = []
    if plan.restarts:
        names = ", ".join(plan.restarts)
        moved = any(each.path in ADDRESS for each in plan.differences)
        waits = "Clients have to use the new address" if moved else "Connections wait meanwhile"
        lines.append(f"The process reloads, with {names}. {waits}; nothing is lost.")
    lines += [_by_hand(each) for each in plan.restart_by_hand]
    return lines


def _by_hand(process: ProcessToRestart) -> str:
    what = f" ({', '.join(process.components)})" if process.components else ""
    return f"Restart by hand, it does not reload: {process.instance}{what}"


def outcome(change: ListedChange | None) -> tuple[str, str]:
    """Style and words about the last change; empty without one."""
    match change.state if change else "":
        case "reloading":
            return "$warning", "the last change is being applied"
        case "applied":
            return "$success", "the last change is applied"
        case "reverted":
            reason = clean(change.problem or "") if change else ""
            return "$error", f"the last change did not start and was taken back: {reason}"
    return "", ""


def by_name(sections: Sequence[ListedSection]) -> dict[str, ListedSection]:
    return {section.name: section for section in sections}


NOTHING = ListedSection("", "", "", ())  # whose keys no problem is of
