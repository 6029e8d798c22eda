"""Channels: a list with the health of each, connect by a form, disconnect."""

from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec import Struct
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable

from airy.tui.channel_disconnect import disconnect_channel
from airy.tui.console import format as shown
from airy.tui.console.channels import rows
from airy.tui.console.channels.form import ConnectForm
from airy.tui.console.dialogs import Choose
from airy.tui.console.event_feed import ShownEvent
from airy.tui.console.grid import Column, Grid
from airy.tui.console.inspect_screen import Inspect, curl
from airy.tui.console.view import ConsoleView
from airy.tui.view_model import clean

LIST = (
    Column("state", 14),
    Column("source", 16, keep=7),
    Column("name", 22, keep=6),
    Column("account", 18, keep=4),
    Column("last in", 14, keep=5),
    Column("last out", 14, keep=5),
    Column("problem", keep=8),
    Column("address to paste", 40, keep=1),
)


class ChannelList(Struct, frozen=True):
    data: list[rows.ListedChannel]


class ChannelsView(ConsoleView):
    NAME = "channels"
    RELOAD_S = 30.0
    FILTER = "words of the source, the account, the name or the problem"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "show the channel"),
        Binding("n", "connect", "connect a channel"),
        Binding("D", "disconnect", "disconnect", key_display="D"),
        Binding("c", "copy", "copy as curl"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._channels: dict[str, rows.ListedChannel] = {}

    def body(self) -> ComposeResult:
        yield Grid(LIST, empty="none: n connects one", id="channels")

    # --- reading

    async def load(self) -> None:
        found = (await self.session.call("/channels.list", {}, ChannelList)).data
        self._channels = {each.id: each for each in sorted(found, key=lambda each: (each.source, each.name, each.id))}
        self._show()

    def on_events(self, events: Sequence[ShownEvent]) -> None:
        if any(event.type.startswith("channel.") for event in events):
            self.reload_soon()

    def apply_filter(self, text: str) -> None:
        self.filter_text = text
        self._show()

    def _show(self) -> None:
        wanted = self.filter_text.lower().split()
        found = [each for each in self._channels.values() if all(word in each.words for word in wanted)]
        self.query_one("#channels", Grid).show((each.id, cells(each)) for each in found)

    async def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        await self.action_inspect()

    async def action_inspect(self) -> None:
        channel = self._selected()
        if channel is not None:
            await self.app.push_screen(Inspect(channel.title, document(channel), self._command(channel)))

    def action_copy(self) -> None:
        channel = self._selected()
        if channel is not None:
            self.app.copy_to_clipboard(self._command(channel))
            self.notify("the command, without the token, is on the clipboard of the terminal")

    def _command(self, channel: rows.ListedChannel) -> str:
        return curl(self.session.url, "/channels.info", {"channel_id": channel.id})

    def _selected(self) -> rows.ListedChannel | None:
        return self._channels.get(self.selected_key() or "")

    # --- changing

    @work(group="dialog")
    async def action_connect(self) -> None:
        if not self.session.writes:
            self.refuse_write()
            return
        api = await self.tried(self.session.client.get("/schema/openapi.json", dict[str, Any]))
        kinds = {kind.name: kind for kind in rows.connect_kinds(api or {"paths": {}})}
        if not kinds:
            if api is not None:
                self.notify("no source that connects channels is enabled on this instance", severity="warning")
            return
        options = [(kind.name, kind.title) for kind in kinds.values()]
        chosen = await self.app.push_screen_wait(Choose("Connect which kind of channel?", options))
        if chosen is None:
            return
        path = kinds[chosen].path

        async def connect(given: dict[str, str]) -> rows.ConnectAnswer:
            return await self.session.call(path, given, rows.ConnectAnswer)

        answer = await self.app.push_screen_wait(ConnectForm(kinds[chosen], connect))
        if answer is None:
            return
        self.notify("the channel is connected")
        if answer.instructions:
            left = {"instructions": answer.instructions, "settings": answer.settings}
            await self.app.push_screen(Inspect("Connected: left to do at the provider", left))
        self.reload()

    def action_disconnect(self) -> None:
        channel = self._selected()
        if channel is not None:
            self.write(
                f"Disconnect {channel.title}? Its messages are not received or sent any more; conversations stay.",
                f"{channel.title} is disconnected",
                lambda: disconnect_channel(self.session.client, channel.id, channel.source),
            )


def cells(channel: rows.ListedChannel) -> Sequence[Content | str]:
    symbol, style, word = channel.state
    return (
        Content.styled(f"{symbol} {word}", style),
        Content.styled(clean(channel.source), "$secondary"),
        Content.styled(channel.name, "bold"),
        Content.styled(clean(channel.source_channel_id), "$foreground-muted"),
        shown.date_and_time(channel.last_inbound_at or ""),
        shown.date_and_time(channel.last_outbound_at or ""),
        Content.styled(channel.said, style if word == rows.FAILING else "$foreground-muted"),
        Content.styled(clean(channel.webhook_url or ""), "$foreground-muted"),
    )


def document(channel: rows.ListedChannel) -> dict[str, object]:
    return {
        "id": channel.id,
        "source": channel.source,
        "source_channel_id": channel.source_channel_id,
        "connected": channel.connected,
        "last_inbound_at": channel.last_inbound_at,
        "last_outbound_at": channel.last_outbound_at,
        "webhook_url": channel.webhook_url,
        "metadata": channel.metadata,
    }
