"""The first and the last line of every view."""

from collections.abc import Sequence
from typing import cast

from textual.content import Content
from textual.widgets import Static

from airy.tui.console.event_feed import FeedState
from airy.tui.console.host import ConsoleHost
from airy.tui.console.navigation import VIEWS


class Tabs(Static):
    """The views with their keys; the current one is marked. A click opens a view."""

    def __init__(self, current: str) -> None:
        super().__init__(markup=False)
        self.auto_links = False  # the style of links would replace the colours of the current view
        self._current = current

    def on_mount(self) -> None:
        self.update(tabs(self._current, self.app.size.width))

    def on_resize(self) -> None:
        self.update(tabs(self._current, self.app.size.width))


def tabs(current: str, columns: int) -> Content:
    """One line: the widest form that fits; the narrowest has keys only, and the title of the current view."""
    titles = [entry.title for entry in VIEWS]
    short = [entry.short for entry in VIEWS]
    forms = (_tabs(current, titles, " "), _tabs(current, titles, ""), _tabs(current, short, ""))
    keys_only = [entry.title if entry.name == current else "" for entry in VIEWS]
    return next((form for form in forms if form.cell_length <= columns), _tabs(current, keys_only, " "))


def _tabs(current: str, titles: Sequence[str], space: str) -> Content:
    parts: list[Content] = [Content.styled(f"{space}airy ", "bold $primary")]
    for entry, title in zip(VIEWS, titles, strict=True):
        style = "bold $background on $primary" if entry.name == current else "$foreground-muted"
        words = f" {entry.key} {title}".rstrip() + space
        parts.append(Content.styled(words, f"{style} @click=app.open_view('{entry.name}')"))
    return Content.assemble(*parts)


class StatusLine(Static):
    """Whether what is shown is current, the instance, and what the view says."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._problem = ""
        self._filter = ""

    def on_mount(self) -> None:
        self._show()
        self.set_interval(1.0, self._show)

    def say(self, problem: str, filter_text: str) -> None:
        """What the view has to say: why it could not be read, and its filter."""
        self._problem, self._filter = problem, filter_text
        self._show()

    def _show(self) -> None:
        host = cast("ConsoleHost", self.app)
        mode = "" if host.session.writes else "read-only"
        filtered = f"filter: {self._filter}" if self._filter else ""
        facts = (host.session.url, mode, filtered)
        self.update(status_line(host.session.feed.state, host.now_s(), self._problem, facts))


def status_line(feed: FeedState, now_s: float, problem: str, facts: tuple[str, ...]) -> Content:
    """`problem`: why the view could not be read; it is more important than the feed."""
    age_s = max(0, int(now_s - feed.since_s))
    match feed.phase:
        case "live":
            state = Content.styled(" ● live ", "$success")
        case "connecting":
            state = Content.styled(" ◌ connecting ", "$warning")
        case "broken":
            state = Content.styled(f" ▲ stale for {age_s} s ", "bold $background on $warning")
        case "refused":
            state = Content.styled(" ✗ refused ", "bold $background on $error")
    said = problem or ("" if feed.phase == "live" else feed.reason)
    middle = Content.styled(f" {said} ", "$error") if said else Content("")
    words = " · ".join(fact for fact in (*facts, "? help", ": commands") if fact)
    return Content.assemble(state, middle, Content.styled(f" {words}", "$foreground-muted"))
