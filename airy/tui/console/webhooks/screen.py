"""Webhooks: subscriptions above, the dead deliveries of the chosen one below, replay and subscription by key."""

from collections.abc import Sequence
from typing import ClassVar

from msgspec import Struct
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable, Static

from airy.tui.console import format as shown
from airy.tui.console.grid import Column, Grid
from airy.tui.console.inspect_screen import Inspect, curl
from airy.tui.console.view import ConsoleView
from airy.tui.console.webhooks import rows
from airy.tui.view_model import clean

DELIVERIES_MAX = 100  # shown, of a webhook
COUNTED_MAX = 20  # webhooks whose dead deliveries are counted
LIST = (
    Column("status", 14),
    Column("name", 20, keep=6),
    Column("dead", 5, "right", keep=7),
    Column("address", keep=8),
    Column("events", 26, keep=3),
)
DEAD = (
    Column("died", 14, keep=7),
    Column("event", 22, keep=6),
    Column("tries", 5, "right", keep=5),
    Column("reason"),
)


class WebhookList(Struct, frozen=True):
    data: list[rows.ListedWebhook]


class DeliveryPagination(Struct, frozen=True):
    total: int = 0


class DeliveryPage(Struct, frozen=True):
    data: list[rows.ListedDelivery]
    pagination_data: DeliveryPagination = DeliveryPagination()


class WebhooksView(ConsoleView):
    NAME = "webhooks"
    RELOAD_S = 10.0
    FILTER = "words of the name, the address, the status or the events"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "show the webhook or the dead delivery"),
        Binding("p", "replay", "replay the dead delivery, or all of the webhook"),
        Binding("o", "status", "subscribe or unsubscribe"),
        Binding("c", "copy", "copy as curl"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._webhooks: dict[str, rows.ListedWebhook] = {}
        self._dead: dict[str, int] = {}  # dead deliveries by webhook
        self._deliveries: dict[str, rows.ListedDelivery] = {}
        self._open: str | None = None  # the webhook whose dead deliveries are shown

    def body(self) -> ComposeResult:
        yield Grid(LIST, empty="no webhook matches", id="webhooks")
        yield Static(id="deliveries-title", classes="view-state", markup=False)
        yield Grid(DEAD, empty="no dead deliveries", id="deliveries")

    # --- reading

    async def load(self) -> None:
        found = (await self.session.call("/webhooks.list", {}, WebhookList)).data
        self._webhooks = {each.id: each for each in found}
        self._dead = {each.id: (await self._page(each.id, 1)).pagination_data.total for each in found[:COUNTED_MAX]}
        self._show_webhooks()
        await self._load_deliveries()

    async def _page(self, webhook_id: str, page_size: int) -> DeliveryPage:
        body = {"id": webhook_id, "page_size": page_size}
        return await self.session.call("/webhooks.dead-letters", body, DeliveryPage)

    def apply_filter(self, text: str) -> None:
        self.filter_text = text
        self._show_webhooks()

    def _show_webhooks(self) -> None:
        wanted = self.filter_text.lower().split()
        found = [each for each in self._webhooks.values() if all(word in each.words for word in wanted)]
        self._list.show((each.id, webhook_cells(each, self._dead.get(each.id))) for each in found)

    async def _load_deliveries(self) -> None:
        self._open = self._list.cursor_key
        page = DeliveryPage([]) if self._open is None else await self._page(self._open, DELIVERIES_MAX)
        self._deliveries = {each.delivery_id: each for each in page.data}
        self._lower.show((each.delivery_id, delivery_cells(each)) for each in page.data)
        webhook = self._webhooks.get(self._open or "")
        self.query_one("#deliveries-title", Static).update(
            deliveries_title(webhook, len(page.data), page.pagination_data.total) if webhook else ""
        )

    @property
    def _list(self) -> Grid:
        return self.query_one("#webhooks", Grid)

    @property
    def _lower(self) -> Grid:
        return self.query_one("#deliveries", Grid)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.data_table is self._list and event.row_key.value and event.row_key.value != self._open:
            self._open_deliveries()

    @work(exclusive=True, group="deliveries")
    async def _open_deliveries(self) -> None:
        await self.tried(self._load_deliveries())

    # --- the row of the focused table

    def _delivery(self) -> rows.ListedDelivery | None:
        """The dead delivery under the cursor, if its table has the focus."""
        return self._deliveries.get(self._lower.cursor_key or "") if self.focused is self._lower else None

    def _webhook(self) -> rows.ListedWebhook | None:
        return self._webhooks.get(self.selected_key() or "")

    async def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        await self.action_inspect()

    async def action_inspect(self) -> None:
        delivery, webhook = self._delivery(), self._webhook()
        if delivery is not None:
            title = f"{delivery.event} {delivery.delivery_id}"
            await self.app.push_screen(Inspect(title, delivery.body, self._command()))
        elif webhook is not None and self.focused is self._list:
            await self.app.push_screen(Inspect(f"webhook {webhook.title}", webhook_document(webhook), self._command()))

    def action_copy(self) -> None:
        if self._webhook() is not None:
            self.app.copy_to_clipboard(self._command())
            self.notify("the command, without the token, is on the clipboard of the terminal")

    def _command(self) -> str:
        """Reads what is under the cursor."""
        if self.focused is self._lower:
            return curl(self.session.url, "/webhooks.dead-letters", {"id": self._open, "page_size": DELIVERIES_MAX})
        return curl(self.session.url, "/webhooks.info", {"id": self._list.cursor_key})

    # --- changing

    def action_replay(self) -> None:
        delivery, webhook = self._delivery(), self._webhook()
        if webhook is None:
            return
        if not self._deliveries:
            self.notify(f"{webhook.title} has no dead deliveries", severity="warning", markup=False)
            return
        if delivery is not None:
            body = {"delivery_id": delivery.delivery_id}
            question = f"Send {delivery.event} to {webhook.title} again, with the same id and the same bytes?"
        else:
            body = {"id": webhook.id}
            total = self._dead.get(webhook.id, len(self._deliveries))
            question = f"Send the {total:,} dead deliveries of {webhook.title} again? A call replays at most 100."
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


def webhook_cells(webhook: rows.ListedWebhook, dead: int | None) -> Sequence[Content | str]:
    symbol, style = rows.STATUS_STYLES.get(webhook.status, ("?", ""))
    return (
        Content.styled(f"{symbol} {webhook.status}", style),
        Content.styled(clean(webhook.name or ""), "bold"),
        Content.styled(shown.count(dead), "bold $error" if dead else "$foreground-muted"),
        clean(webhook.url),
        Content.styled(webhook.said, "$foreground-muted"),
    )


def delivery_cells(delivery: rows.ListedDelivery) -> Sequence[Content | str]:
    return (
        shown.date_and_time(delivery.died_at),
        Content.styled(clean(delivery.event), "$secondary"),
        shown.count(delivery.attempts),
        Content.styled(clean(delivery.reason), "$error"),
    )


def deliveries_title(webhook: rows.ListedWebhook, listed: int, total: int) -> Content:
    count = f"{total:,}" if listed == total else f"{listed:,} of {total:,}"
    return Content.assemble(
        Content.styled(" dead deliveries of ", "$foreground-muted"),
        Content.styled(webhook.title, "bold $primary"),
        Content.styled(f" · {count} · Tab changes the table", "$foreground-muted"),
    )


def webhook_document(webhook: rows.ListedWebhook) -> dict[str, object]:
    return {
        "id": webhook.id,
        "name": webhook.name,
        "status": webhook.status,
        "url": webhook.url,
        "events": webhook.events,
    }
