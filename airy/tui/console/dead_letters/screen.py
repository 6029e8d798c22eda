"""Dead letters: a list by state, each whole with its bytes, replay and discard."""

from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec import Struct
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable, Static

from airy.errors import Refused
from airy.tui.console import format as shown
from airy.tui.console.dead_letters import rows
from airy.tui.console.dialogs import Ask
from airy.tui.console.grid import Column, Grid
from airy.tui.console.inspect_screen import Inspect, curl
from airy.tui.console.view import ConsoleView
from airy.tui.view_model import clean

LETTERS_MAX = 200
LIST = (
    Column("state", 11, keep=6),
    Column("reason"),
    Column("topic", 24, keep=2),
    Column("key", 16, keep=3),
    Column("tries", 5, "right", keep=4),
    Column("first seen", 14, keep=7),
)


class LetterPagination(Struct, frozen=True):
    total: int = 0
    complete: bool = True


class LetterPage(Struct, frozen=True):
    data: list[rows.ListedLetter]
    pagination_data: LetterPagination = LetterPagination()


class LetterOutcome(Struct, frozen=True):
    result: str


class LetterOutcomes(Struct, frozen=True):
    data: list[LetterOutcome]


class DeadLettersView(ConsoleView):
    NAME = "dead-letters"
    RELOAD_S = 10.0
    FILTER = "words of the reason, the topic, the key or the resolution"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "show the whole letter"),
        Binding("s", "state", "show the next state"),
        Binding("p", "replay", "replay"),
        Binding("d", "discard", "discard with a reason"),
        Binding("c", "copy", "copy as curl"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._state: rows.State = "open"
        self._page = LetterPage([])

    def body(self) -> ComposeResult:
        yield Static(id="letters-state", classes="view-state", markup=False)
        yield Grid(LIST, empty="no dead letters", id="letters")

    # --- reading

    async def load(self) -> None:
        body = {"state": self._state, "page_size": LETTERS_MAX}
        self._page = await self.session.call("/dead-letters.list", body, LetterPage)
        self._show()

    def apply_filter(self, text: str) -> None:
        self.filter_text = text
        self._show()

    def _show(self) -> None:
        wanted = self.filter_text.lower().split()
        found = [each for each in self._page.data if all(word in each.words for word in wanted)]
        self.query_one("#letters", Grid).show((each.id, cells(each)) for each in found)
        self.query_one("#letters-state", Static).update(state_line(self._state, self._page.pagination_data, len(found)))

    def action_state(self) -> None:
        self._state = rows.following(self._state)
        self.reload()

    def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        self.action_inspect()

    @work(group="dialog")
    async def action_inspect(self) -> None:
        letter = self._selected()
        if letter is None:
            return
        found = await self.tried(self.session.call("/dead-letters.info", {"id": letter.id}, dict[str, Any]))
        if found is not None:
            await self.app.push_screen(Inspect(f"dead letter {letter.id}", rows.detail(found), self._command(letter)))

    def action_copy(self) -> None:
        letter = self._selected()
        if letter is not None:
            self.app.copy_to_clipboard(self._command(letter))
            self.notify("the command, without the token, is on the clipboard of the terminal")

    def _command(self, letter: rows.ListedLetter) -> str:
        return curl(self.session.url, "/dead-letters.info", {"id": letter.id})

    def _selected(self) -> rows.ListedLetter | None:
        key = self.selected_key()
        return next((each for each in self._page.data if each.id == key), None)

    # --- changing

    def action_replay(self) -> None:
        letter = self._selected()
        if letter is not None:
            question = f"Append {rows.summary(letter)} to its topic again? It is processed as if it had just arrived."
            self._resolve(letter, "replay", question, "replayed")

    @work(group="dialog")
    async def action_discard(self) -> None:
        letter = self._selected()
        if not self.session.writes:
            self.refuse_write()
        elif letter is not None:
            question = f"Why is {rows.summary(letter)} discarded?"
            details = "Enter discards it: it is not processed, and kept until retention ends. Esc leaves it."
            reason = await self.app.push_screen_wait(Ask(question, details))
            if reason is not None:
                self._resolve(letter, "discard", "", "discarded", reason=reason.strip())

    def _resolve(self, letter: rows.ListedLetter, verb: str, question: str, done: str, **more: str) -> None:
        async def change() -> None:
            body = {"ids": [letter.id], **more}
            outcomes = await self.session.call(f"/dead-letters.{verb}", body, LetterOutcomes)
            results = [each.result for each in outcomes.data]
            if results != [done]:
                raise Refused(f"nothing changed: the dead letter is {', '.join(results).replace('_', ' ')}")

        self.write(question, f"the dead letter is {done}", change)


def cells(letter: rows.ListedLetter) -> Sequence[Content | str]:
    symbol, style = rows.STATE_STYLES.get(letter.state, ("?", ""))
    return (
        Content.styled(f"{symbol} {letter.state}", style),
        Content.assemble(*reason_parts(letter)),
        Content.styled(letter.topic, "$foreground-muted"),
        clean(letter.key),
        shown.count(letter.attempts),
        shown.date_and_time(letter.first_seen_at),
    )


def reason_parts(letter: rows.ListedLetter) -> tuple[str | tuple[str, str], ...]:
    """Why it was discarded comes before why it died; of a replayed one, the caller comes last."""
    if letter.resolution_reason:
        return letter.resolution, " · ", (clean(letter.reason), "$foreground-muted")
    by = (f" · {letter.resolution}", "$foreground-muted") if letter.resolution else ""
    return clean(letter.reason), by


def state_line(state: rows.State, page: LetterPagination, found: int) -> Content:
    """The states, of which the current one is marked, and how many letters there are."""
    parts = [
        Content.styled(f" {each} ", "bold $background on $primary" if each == state else "$foreground-muted")
        for each in rows.STATES
    ]
    total = f"{page.total:,}" if page.complete else f"at least {page.total:,}"
    count = total if found == page.total else f"{found:,} of {total}"
    return Content.assemble(*parts, Content.styled(f"  {count} · s shows the next state", "$foreground-muted"))
