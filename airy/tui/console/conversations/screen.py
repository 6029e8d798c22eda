"""Conversations: the list on the left, the thread on the right, an answer below, the contact beside it on demand."""

from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec import Struct
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.suggester import Suggester
from textual.widgets import DataTable, Input, Static

from airy.errors import Refused, Unavailable
from airy.tui.console.conversations import rows
from airy.tui.console.conversations.end_scroll import EndScroll
from airy.tui.console.dialogs import Choose
from airy.tui.console.event_feed import ShownEvent
from airy.tui.console.grid import Column, Grid
from airy.tui.console.view import ConsoleView
from airy.tui.view_model import ListPage, MessageRow, message_row

CONVERSATIONS_MAX = 100
MESSAGES_MAX = 50
LIST = (
    Column("contact", 18),
    Column("source", 10, keep=3),
    Column("new", 4, "right", keep=7),
    Column("at", 8, keep=4),
    Column("last message", keep=5),
)


class Documents(Struct, frozen=True):
    data: list[dict[str, Any]]


class FieldSuggester(Suggester):
    """Completes the fields of the filter language."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        return rows.completions(value)


class ConversationsView(ConsoleView):
    NAME = "conversations"
    RELOAD_S = 10.0
    FILTER = "display_name:ada AND unread_count:[1 TO *]"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i,enter", "reply", "answer", key_display="i"),
        Binding("T", "template", "answer with a template", key_display="T"),
        Binding("o", "state", "open or close"),
        Binding("t", "tag", "add or remove a tag"),
        Binding("m", "mark_read", "mark as read"),
        Binding("R", "resend", "send the failed message again", key_display="R"),
        Binding("c", "contact", "show the contact"),
        Binding("x", "trace", "trace the last message"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._listed: dict[str, rows.Listed] = {}
        self._messages: list[MessageRow] = []
        self._open: str | None = None  # the conversation in the thread
        self._drawn: str | None = None  # and the one that was drawn last
        self._answered: rows.Listed | None = None  # the one an answer is written to, whatever the list shows meanwhile
        self._contact_of: str | None = None  # the conversation whose contact is shown
        self._drafted = ""  # the id of the one whose answer is in the field

    def body(self) -> ComposeResult:
        yield Static(id="more", classes="view-state hidden", markup=False)
        with Horizontal(id="conversations"):
            yield Grid(LIST, empty="none matches", id="list")
            with Vertical(id="thread-side"):
                yield Static(id="thread-title", markup=False)
                yield EndScroll(id="thread")
                yield self.hidden(Input(placeholder="answer: Enter sends, Esc leaves", id="answer"))
            yield Static(id="contact", classes="panel hidden", markup=False)

    def on_mount(self) -> None:
        self.query_one("#filter", Input).suggester = FieldSuggester()

    # --- reading

    async def load(self) -> None:
        body: dict[str, object] = {"page_size": CONVERSATIONS_MAX}
        if self.filter_text:
            body["filters"] = self.filter_text
        page = await self.session.call("/conversations.list", body, ListPage)
        self._listed = {each.id: each for each in map(rows.listed, page.data)}
        self._say_how_many(len(page.data), page.total)
        self.query_one("#list", Grid).show((each.id, cells(each)) for each in self._listed.values())
        await self._load_thread()

    def _say_how_many(self, shown: int, total: int) -> None:
        more = self.query_one("#more", Static)
        more.set_class(total <= shown, "hidden")
        more.update(Content.styled(f" the newest {shown} of {total:,}: / finds the others ", "$foreground-muted"))

    @property
    def _chosen(self) -> rows.Listed | None:
        """The conversation that keys act on."""
        return self._answered or self._listed.get(self.query_one("#list", Grid).cursor_key or "")

    @property
    def _thread_wanted(self) -> str | None:
        return self._answered.id if self._answered else self.query_one("#list", Grid).cursor_key

    def _needed(self) -> rows.Listed | None:
        """The chosen one; with a word to the user if there is none, or if the console may not write."""
        chosen = self._chosen
        if not self.session.writes:
            self.refuse_write()
        elif chosen is None:
            self.notify("no conversation is selected", severity="warning")
        else:
            return chosen
        return None

    async def _load_thread(self) -> None:
        chosen = self._thread_wanted
        if chosen is None:
            self._open, self._messages = None, []
        else:
            body = {"conversation_id": chosen, "page_size": MESSAGES_MAX}
            page = await self.session.call("/messages.list", body, ListPage)
            if chosen != self._thread_wanted:  # the cursor moved meanwhile, and its thread is read as well
                return
            self._open, self._messages = chosen, [message_row(raw) for raw in page.data]
        self._show_thread()
        if self._contact_of != self._open and not self.query_one("#contact").has_class("hidden"):
            await self._load_contact()

    def _show_thread(self) -> None:
        chosen = self._listed.get(self._open or "", self._answered)
        self.query_one("#thread-title", Static).update(title(chosen) if chosen else "")
        content = thread_content(rows.thread(self._messages))
        self.query_one("#thread", EndScroll).show(content, from_end=self._drawn != self._open)
        self._drawn = self._open

    def on_events(self, events: Sequence[ShownEvent]) -> None:
        if any(event.type.startswith(("message.", "conversation.", "metadata.")) for event in events):
            self.reload_soon()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        grid = self.query_one("#list", Grid)
        if self._answered is not None and grid.has_focus and grid.cursor_key != self._answered.id:
            self._close_answer()
        if event.row_key.value and event.row_key.value != self._open:
            self._open_thread()

    @work(exclusive=True, group="thread")
    async def _open_thread(self) -> None:
        await self.tried(self._load_thread())

    # --- answering

    def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        self.action_reply()

    def action_reply(self) -> None:
        chosen = self._needed()
        if chosen is not None:
            answer = self.query_one("#answer", Input)
            if self._drafted != chosen.id:
                answer.value = ""
            self._answered, self._drafted = chosen, chosen.id
            answer.placeholder = f"answer {chosen.name}: Enter sends, Esc leaves"
            self.open_entry(answer)

    def _close_answer(self) -> None:
        """What was written stays for the next answer in this conversation."""
        self._answered = None
        self.query_one("#answer", Input).display = False

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id != "answer":
            super().on_input_submitted(event)
        elif event.value.strip() and self._answered is not None:
            self._send(self._answered, {"canonical": {"type": "text", "text": event.value}}, draft=event.value)
            event.input.value = ""

    def _send(self, chosen: rows.Listed, message: object, *, draft: str = "") -> None:
        """A draft that could not be sent is put back, unless the next one was begun meanwhile."""

        async def send() -> None:
            try:
                await self.post("/messages.send", {"conversation_id": chosen.id, "message": message})
            except (Refused, Unavailable):
                answer = self.query_one("#answer", Input)
                if not answer.value and self._drafted == chosen.id:
                    answer.value = draft
                    answer.cursor_position = len(draft)
                raise

        self.write("", "sent to the log; the thread shows its delivery", send)

    def key_escape(self) -> None:
        if self._answered is not None:
            self._close_answer()
            self.focus_main()
            self._open_thread()  # of the row under the cursor, if that is another one now
        else:
            super().key_escape()

    @work(group="dialog")
    async def action_template(self) -> None:
        chosen = self._needed()
        if chosen is None:
            return
        found = await self.tried(self.session.call("/templates.list", {"source": chosen.source}, Documents))
        templates = {str(each["id"]): each for each in (found.data if found else [])}
        if not templates:
            self.notify(f"there are no templates for {chosen.source}", severity="warning")
            return
        names = [(key, str(each.get("name", key))) for key, each in templates.items()]
        answer = await self.app.push_screen_wait(Choose("Answer with which template?", names))
        if answer is not None:
            self._send(chosen, templates[answer].get("content"))

    async def action_trace(self) -> None:
        chosen = self._chosen
        if chosen is not None:
            await self.host.trace(conversation_id=chosen.id)

    # --- changing

    def action_state(self) -> None:
        chosen = self._needed()
        if chosen is None:
            return
        wanted = "CLOSED" if chosen.state != "CLOSED" else rows.OPEN
        body = {"conversation_id": chosen.id, "state": wanted}
        self.write(
            f"Set the state of the conversation with {chosen.name} to {wanted}?",
            f"the conversation is {wanted}",
            lambda: self.post("/conversations.set-state", body),
        )

    @work(group="dialog")
    async def action_tag(self) -> None:
        chosen = self._needed()
        if chosen is None:
            return
        found = await self.tried(self.session.call("/tags.list", {}, Documents))
        names = [
            (str(each["id"]), f"{'remove ' if each['id'] in chosen.tags else 'add '}{each.get('name')}")
            for each in (found.data if found else [])
        ]
        if not names:
            self.notify("there are no tags: create one with airy tags create", severity="warning")
            return
        tag = await self.app.push_screen_wait(Choose(f"Tags of {chosen.name}", names))
        if tag is not None:
            path = "/conversations.untag" if tag in chosen.tags else "/conversations.tag"
            body = {"conversation_id": chosen.id, "tag_id": tag}
            self.write("", "the tags are changed", lambda: self.post(path, body))

    def action_mark_read(self) -> None:
        chosen = self._needed()
        if chosen is not None:
            body = {"conversation_id": chosen.id}
            self.write("", "marked as read", lambda: self.post("/conversations.mark-read", body))

    def action_resend(self) -> None:
        chosen = self._needed()
        failed = rows.resendable(self._messages) if chosen and chosen.id == self._open else None
        if chosen is None:
            return
        if failed is None:
            self.notify("no message of the shown thread failed", severity="warning")
            return
        self.write(
            f"Send the failed message to {chosen.name} again? It arrives twice if the provider had taken it.",
            "queued again",
            lambda: self.post("/messages.resend", {"message_id": failed}),
        )

    # --- the contact

    @work(group="dialog")
    async def action_contact(self) -> None:
        pane = self.query_one("#contact", Static)
        pane.toggle_class("hidden")
        if not pane.has_class("hidden"):
            await self.tried(self._load_contact())

    async def _load_contact(self) -> None:
        """That of the thread. Nothing is shown meanwhile: the one before is another person."""
        wanted, pane = self._open, self.query_one("#contact", Static)
        self._contact_of, contact = wanted, {}
        pane.border_title = "contact"
        pane.update("")
        if wanted is not None:
            contact = await self.session.call("/contacts.info", {"conversation_id": wanted}, dict[str, Any])
        if wanted != self._contact_of:
            return
        lines = [
            Content.assemble(Content.styled(f"{label}\n", "$foreground-muted"), f"{value}\n")
            for label, value in rows.contact_lines(contact)
        ]
        pane.update(Content("\n").join(lines) if lines else "nothing is known")


def cells(each: rows.Listed) -> tuple[Content | str, ...]:
    name = Content.styled(each.name, "bold" if each.unread else "")
    unread = Content.styled(str(each.unread), "bold $accent") if each.unread else ""
    symbol = f"{rows.SYMBOLS.get(each.delivery, '←')} " if each.ours else ""
    said = Content.assemble(Content.styled(symbol, rows.STATE_STYLES.get(each.delivery, "")), each.said)
    return name, Content.styled(each.source, "$foreground-muted"), unread, each.at, said


def title(chosen: rows.Listed) -> Content:
    tags = "".join(f" #{tag[:8]}" for tag in chosen.tags)
    state = Content.styled(f" {chosen.state} ", "$success" if chosen.state != "CLOSED" else "$foreground-muted")
    return Content.assemble(
        Content.styled(f" {chosen.name}", "bold $primary"),
        Content.styled(f" {chosen.source}", "$foreground-muted"),
        state,
        tags,
    )


def thread_content(lines: Sequence[rows.ThreadLine]) -> Content:
    parts = []
    for line in lines:
        mark = Content.styled(f"{line.at} ", "$foreground-muted")
        if line.ours:
            note = Content.styled(f"  {line.note}", line.style)
            parts.append(
                Content.assemble(mark, Content.styled("← ", "$primary"), Content.styled(line.text, "$primary"), note)
            )
        else:
            parts.append(Content.assemble(mark, Content.styled("→ ", "$accent"), line.text))
    return Content("\n").join(parts) if parts else Content.styled("no messages", "$foreground-muted")
