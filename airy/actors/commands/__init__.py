"""The write side: a request becomes facts or entities, is published, and is answered with what became of
it.

Not the rules: those are the fold's, because only the log's order can decide between rivals. Commands check
what a caller should hear at once (no such conversation, a disconnected channel) and leave everything that
could race to the log.
"""

from airy.actors.commands.annotations import MetadataCommands, Subject
from airy.actors.commands.channels import Accounts, ChannelCommands, Page
from airy.actors.commands.conversations import ConversationCommands
from airy.actors.commands.dead import DeadCommands
from airy.actors.commands.entities import TagCommands, TemplateCommands
from airy.actors.commands.messages import MessageCommands
from airy.actors.commands.outcome import Conflict, Forbidden, Unconfirmed, Unknown
from airy.actors.commands.webhooks import Signed, Subscription, WebhookCommands
from airy.actors.commands.writer import Cause, Done, Reached, Writer
from airy.addresses import ANYWHERE, Reach
from airy.seal import Sealer
from airy.store.api import Store

__all__ = [
    "Accounts",
    "Cause",
    "Commands",
    "Conflict",
    "Done",
    "Forbidden",
    "Page",
    "Reached",
    "Signed",
    "Subject",
    "Subscription",
    "Unconfirmed",
    "Unknown",
    "Writer",
]


class Commands:
    """All commands, over one set of ports."""

    def __init__(
        self,
        writer: Writer,
        store: Store,
        sealer: Sealer,
        facebook: Accounts,
        *,
        message_ttl_s: float = 900.0,
        reach: Reach = ANYWHERE,
    ) -> None:
        self.channels = ChannelCommands(writer, store, sealer, facebook)
        self.conversations = ConversationCommands(writer, store)
        self.dead = DeadCommands(writer, store)
        self.messages = MessageCommands(writer, store, message_ttl_s=message_ttl_s)
        self.metadata = MetadataCommands(writer, store)
        self.tags = TagCommands(writer, store)
        self.templates = TemplateCommands(writer, store)
        self.webhooks = WebhookCommands(writer, store, sealer, reach=reach)
