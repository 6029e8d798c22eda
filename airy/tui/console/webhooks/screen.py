"""Webhooks: subscriptions with their health above, dead deliveries or attempts of the chosen one below; test, replay
and subscription by key.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec import Struct
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Static

from airy.tui.console.event_feed import ShownEvent
from airy.tui.console.grid import Grid
from airy.tui.console.inspect_screen import Inspect, curl
from airy.tui.console.view import ConsoleView
from airy.tui.console.webhooks import cells, rows

DELIVERIES_MAX = 100  # shown, of a webhook
ATTEMPTS_MAX = 50  # likewise
COUNTED_MAX = 20  # webhooks whose dead deliveries are counted
STATS_MAX = 100  # webhooks whose figures are read


class WebhookList(Struct, frozen=True):
    data: list[rows.ListedWebhook]


class StatsList(Struct, frozen=True):
    data: list[rows.WebhookStats]


class AttemptList(Struct, frozen=True):
    data: list[rows.ListedAttempt]


class DeliveryPagination(Struct, frozen=True):
    total: int = 0


class DeliveryPage(Struct, frozen=True):
    data: list[rows.ListedDelivery]
    pagination_data: DeliveryPagination = DeliveryPagination()


class WebhooksView(ConsoleView):
    NAME = "webhooks"
    RELOAD_S = 5.0
    FILTER = "words of the name, the address, the health, the status or the events"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "show the webhook, the dead delivery or the attempt"),
        Binding("a", "attempts", "show attempts or dead deliveries"),
        Binding("t", "test", "send a test event now"),
        Binding("p", "replay", "replay the dead delivery, or all of the webhook"),
        Binding("o", "status", "subscribe or unsubscribe"),
        Binding("c", "copy", "copy as curl"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._webhooks: dict[str, rows.ListedWebhook] = {}
        self._stats: dict[str, rows.WebhookStats] = {}
        self._dead: dict[str, int] = {}  # dead deliveries by webhook
        self._deliveries: dict[str, rows.ListedDelivery] = {}
        self._attempts: dict[str, rows.ListedAttempt] = {}
        self._shown: rows.Lower = "dead deliveries"
        self._open: str | None = None  # the webhook whose dead deliveries or attempts are shown

    def body(self) -> ComposeResult:
        yield Grid(cells.LIST, empty="no webhook matches", id="webhooks")
        yield Static(id="deliveries-title", classes="view-state", markup=False)
        yield Grid(cells.DEAD, empty="no dead deliveries", id="deliveries")
        attempts = Grid(cells.ATTEMPTS, empty="no attempts yet: t sends a test event", id="attempts")
        attempts.display = False
        yield attempts

    # --- reading

    async def load(self) -> None:
        found = (await self.session.call("/webhooks.list", {}, WebhookList)).data
        self._webhooks = {each.id: each for each in found}
        self._show_webhooks()
        self._dead = {each.id: (await self._page(each.id, 1)).pagination_data.total for each in found[:COUNTED_MAX]}
        body = {"ids": [each.id for each in found[:STATS_MAX]]}
        self._stats = {each.id: each for each in (await self.session.call("/webhooks.stats", body, StatsList)).data}
        self._show_webhooks()
        await self._load_lower()

    async def _page(self, webhook_id: str, page_size: int) -> DeliveryPage:
        body = {"id": webhook_id, "page_size": page_size}
        return await self.session.call("/webhooks.dead-letters", body, DeliveryPage)

    def on_events(self, events: Sequence[ShownEvent]) -> None:
        if any(event.type.startswith("webhook.") for event in events):
            self.reload_soon()

    def apply_filter(self, text: str) -> None:
        self.filter_text = text
        self._show_webhooks()

    def _show_webhooks(self) -> None:
        wanted = self.filter_text.lower().split()
        found = [
            each
            for each in self._webhooks.values()
            if all(word in each.words(rows.health_of(each, self._stats.get(each.id))) for word in wanted)
        ]
        self._list.show(
            (each.id, cells.webhook_cells(each, self._dead.get(each.id), self._stats.get(each.id))) for each in found
        )

    async def _load_lower(self) -> None:
        """A table that is read late does not replace the one that was chosen since."""
        self._open, shown = self._list.cursor_key, self._shown
        chosen = (self._open, shown)
        webhook = self._webhooks.get(self._open or "")
        if shown == "attempts":
            found = [] if webhook is None else await self._read_attempts(webhook.id)
            if chosen != (self._list.cursor_key, self._shown):
                return
            self._attempts = {each.key: each for each in found}
            self._lower.show((each.key, cells.attempt_cells(each)) for each in found)
            count = f"the last {len(found)}"
        else:
            page = DeliveryPage([]) if webhook is None else await self._page(webhook.id, DELIVERIES_MAX)
            if chosen != (self._list.cursor_key, self._shown):
                return
            self._deliveries = {each.delivery_id: each for each in page.data}
            self._lower.show((each.delivery_id, cells.delivery_cells(each)) for each in page.data)
            count = cells.counted(len(page.data), page.pagination_data.total)
        title = cells.lower_title(webhook, self._shown, count, self._stats.get(webhook.id)) if webhook else ""
        self.query_one("#deliveries-title", Static).update(title)

    async def _read_attempts(self, webhook_id: str) -> list[rows.ListedAttempt]:
        body = {"id": webhook_id, "page_size": ATTEMPTS_MAX}
        return (await self.session.call("/webhooks.attempts", body, AttemptList)).data

    @property
    def _list(self) -> Grid:
        return self.query_one("#webhooks", Grid)

    @property
    def _lower(self) -> Grid:
        return self.query_one("#attempts" if self._shown == "attempts" else "#deliveries", Grid)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.data_table is self._list and event.row_key.value and event.row_key.value != self._open:
            self._open_lower()

    @work(exclusive=True, group="deliveries")
    async def _open_lower(self) -> None:
        await self.tried(self._load_lower())

    def action_attempts(self) -> None:
        self._show_lower("dead deliveries" if self._shown == "attempts" else "attempts")

    def _show_lower(self, lower: rows.Lower) -> None:
        had_focus = self.focused is self._lower
        self._lower.display = False
        self._shown = lower
        self._lower.display = True
        if had_focus:
            self.set_focus(self._lower)
        self._open_lower()

    # --- the row of the focused table

    def _delivery(self) -> rows.ListedDelivery | None:
        """The dead delivery under the cursor, if its table has the focus."""
        shown = self._shown == "dead deliveries" and self.focused is self._lower
        return self._deliveries.get(self._lower.cursor_key or "") if shown else None

    def _attempt(self) -> rows.ListedAttempt | None:
        """The attempt under the cursor, if its table has the focus."""
        shown = self._shown == "attempts" and self.focused is self._lower
        return self._attempts.get(self._lower.cursor_key or "") if shown else None

    def _webhook(self) -> rows.ListedWebhook | None:
        return self._webhooks.get(self.selected_key() or "")

    async def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        await self.action_inspect()

    async def action_inspect(self) -> None:
        delivery, attempt, webhook = self._delivery(), self._attempt(), self._webhook()
        if delivery is not None:
            title = f"{delivery.event} {delivery.delivery_id}"
            await self.app.push_screen(Inspect(title, delivery.body, self._command()))
        elif attempt is not None:
            title = f"attempt {attempt.attempt} of {attempt.event} {attempt.event_id}"
            await self.app.push_screen(Inspect(title, msgspec.to_builtins(attempt), self._command()))
        elif webhook is not None and self.focused is self._list:
            figures = self._stats.get(webhook.id)
            shown = {**cells.document(webhook), **({"stats": msgspec.to_builtins(figures)} if figures else {})}
            await self.app.push_screen(Inspect(f"webhook {webhook.title}", shown, self._command()))

    def action_copy(self) -> None:
        if self._webhook() is not None:
            self.app.copy_to_clipboard(self._command())
            self.notify("the command, without the token, is on the clipboard of the terminal")

    def _command(self) -> str:
        """Reads what is under the cursor."""
        if self.focused is self._list:
            return curl(self.session.url, "/webhooks.info", {"id": self._list.cursor_key})
        if self._shown == "attempts":
            return curl(self.session.url, "/webhooks.attempts", {"id": self._open, "page_size": ATTEMPTS_MAX})
        return curl(self.session.url, "/webhooks.dead-letters", {"id": self._open, "page_size": DELIVERIES_MAX})

    # --- changing

    @work(group="write")
    async def action_test(self) -> None:
        """Without a question: nothing here changes, and the endpoint gets one event that says that it is a test."""
        webhook = self._webhook()
        if not self.session.writes:
            self.refuse_write()
        elif webhook is not None:
            found = await self.tried(self.session.call("/webhooks.test", {"id": webhook.id}, rows.ListedAttempt))
            if found is not None:
                said, good = rows.sentence_of_test(webhook.title, found), found.outcome == "delivered"
                self.notify(said, severity="information" if good else "error", markup=False)
                self._show_lower("attempts")

    def action_replay(self) -> None:
        delivery, webhook = self._delivery(), self._webhook()
        if webhook is None:
            return
        if not self._dead.get(webhook.id, len(self._deliveries)):
            self.notify(f"{webhook.title} has no dead deliveries", severity="warning", markup=False)
            return
        if delivery is not None:
            body = {"delivery_id": delivery.delivery_id}
            question = f"Send {delivery.event} to {webhook.title} again, with the same id and the same bytes?"
        else:
            body = {"id": webhook.id}
            total = self._dead.get(webhook.id, len(self._deliveries))
            deliveries = "dead delivery" if total == 1 else f"{total:,} dead deliveries"
            question = f"Send the {deliveries} of {webhook.title} again? A call replays at most 100."
        self.write(question, "queued again", lambda: self.post("/webhooks.replay", body))

    def action_status(self) -> None:
        webhook = self._webhook()
        if webhook is None:
            return
        if webhook.status == rows.SUBSCRIBED:
            self.write(
                f"Unsubscribe {webhook.title}? Events are not delivered to {webhook.url} from now on.",
                f"{webhook.title} is unsubscribed",
                lambda: self.post("/webhooks.unsubscribe", {"id": webhook.id}),
            )
        else:
            self.write(
                f"Subscribe {webhook.title} again? New events are delivered to {webhook.url}.",
                f"{webhook.title} is subscribed",
                lambda: self.post("/webhooks.update", {"id": webhook.id, "status": rows.SUBSCRIBED}),
            )
