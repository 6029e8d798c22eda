"""Queries that fail instead of returning stale results: a held partition is behind, and stays behind."""

from collections.abc import Collection, Mapping
from typing import Any

from airy import topics
from airy.bus.record import TopicPartition
from airy.bus.record_schema import Hold
from airy.bus.topic import Topic
from airy.model.contact_view import ContactView
from airy.model.conversation import Message
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import ApiToken, Channel, CustomSource, Tag, Template, User, Webhook
from airy.model.identity import IdentityKey
from airy.store.api import ChannelActivity, ConversationView, FoldedMessage, Page, StoreQueries
from airy.store.holds import check_not_held


class GuardedQueries:
    """`StoreQueries` over `store`. Raises `PartitionHeld` where the result depends on a partition of `held`, which is a
    live view: where an id is unknown, the unread records may contain it.
    """

    def __init__(self, store: StoreQueries, held: Mapping[TopicPartition, Hold]) -> None:
        self._store = store
        self._held = held

    async def accepted(self, conversation_id: str, fact_id: str) -> bool:
        check_not_held(self._held, topics.EVENTS, conversation_id)
        return await self._store.accepted(conversation_id, fact_id)

    async def entity_accepted(self, topic: Topic[Any], entity_id: str, write_id: str) -> bool:
        check_not_held(self._held, topic, entity_id)
        return await self._store.entity_accepted(topic, entity_id, write_id)

    async def channels(self, *, source: str | None = None, connected_only: bool = True) -> list[Channel]:
        check_not_held(self._held, topics.CHANNELS)
        return await self._store.channels(source=source, connected_only=connected_only)

    async def channel(self, channel_id: str) -> Channel | None:
        check_not_held(self._held, topics.CHANNELS, channel_id)
        return await self._store.channel(channel_id)

    async def channel_activity(self, channel_ids: Collection[str]) -> dict[str, ChannelActivity]:
        return await self._store.channel_activity(channel_ids)  # of what is folded: it is shown, and decides nothing

    async def conversation(self, conversation_id: str) -> ConversationView | None:
        check_not_held(self._held, topics.EVENTS, conversation_id)
        view = await self._store.conversation(conversation_id)
        check_not_held(self._held, topics.CHANNELS, view.channel.id if view else None)
        return view

    async def conversations(
        self, *, filters: str | None, cursor: str | None, page_size: int | None
    ) -> Page[ConversationView]:
        check_not_held(self._held, topics.EVENTS)
        check_not_held(self._held, topics.CHANNELS)
        return await self._store.conversations(filters=filters, cursor=cursor, page_size=page_size)

    async def message(self, message_id: str) -> Message | None:
        message = await self._store.message(message_id)
        check_not_held(self._held, topics.EVENTS, message.conversation_id if message else None)
        return message

    async def folded_messages(self, message_ids: Collection[str]) -> list[FoldedMessage]:
        found = await self._store.folded_messages(message_ids)
        if not found:
            check_not_held(self._held, topics.EVENTS)
        for each in found:
            check_not_held(self._held, topics.EVENTS, each.message.conversation_id)
        return found

    async def named_by_provider(self, provider_id: str) -> list[str]:
        check_not_held(self._held, topics.EVENTS)
        return await self._store.named_by_provider(provider_id)

    async def messages(self, conversation_id: str, *, cursor: str | None, page_size: int | None) -> Page[Message]:
        check_not_held(self._held, topics.EVENTS, conversation_id)
        return await self._store.messages(conversation_id, cursor=cursor, page_size=page_size)

    async def conversations_of(self, keys: Collection[IdentityKey]) -> dict[IdentityKey, tuple[str, ...]]:
        check_not_held(self._held, topics.EVENTS)
        return await self._store.conversations_of(keys)

    async def tags(self) -> list[Tag]:
        check_not_held(self._held, topics.TAGS)
        return await self._store.tags()

    async def tag(self, tag_id: str) -> Tag | None:
        check_not_held(self._held, topics.TAGS, tag_id)
        return await self._store.tag(tag_id)

    async def templates(self, source: str) -> list[Template]:
        check_not_held(self._held, topics.TEMPLATES)
        return await self._store.templates(source)

    async def template(self, template_id: str) -> Template | None:
        check_not_held(self._held, topics.TEMPLATES, template_id)
        return await self._store.template(template_id)

    async def webhooks(self) -> list[Webhook]:
        check_not_held(self._held, topics.WEBHOOKS)
        return await self._store.webhooks()

    async def webhook(self, webhook_id: str) -> Webhook | None:
        check_not_held(self._held, topics.WEBHOOKS, webhook_id)
        return await self._store.webhook(webhook_id)

    async def api_tokens(self) -> list[ApiToken]:
        check_not_held(self._held, topics.API_TOKENS)
        return await self._store.api_tokens()

    async def api_token(self, token_id: str) -> ApiToken | None:
        check_not_held(self._held, topics.API_TOKENS, token_id)
        return await self._store.api_token(token_id)

    async def custom_sources(self) -> list[CustomSource]:
        check_not_held(self._held, topics.CUSTOM_SOURCES)
        return await self._store.custom_sources()

    async def custom_source(self, source_id: str) -> CustomSource | None:
        check_not_held(self._held, topics.CUSTOM_SOURCES, source_id)
        return await self._store.custom_source(source_id)

    async def users(self, *, cursor: str | None, page_size: int | None) -> Page[User]:
        check_not_held(self._held, topics.USERS)
        return await self._store.users(cursor=cursor, page_size=page_size)

    async def user(self, user_id: str) -> User | None:
        check_not_held(self._held, topics.USERS, user_id)
        return await self._store.user(user_id)

    async def contact(self, contact_id: str) -> ContactView | None:
        return self._readable(await self._store.contact(contact_id))

    async def contact_of(self, conversation_id: str) -> ContactView | None:
        check_not_held(self._held, topics.CONTACTS)
        check_not_held(self._held, topics.EVENTS, conversation_id)
        return await self._store.contact_of(conversation_id)

    async def contact_version(self, contact_id: str) -> int:
        check_not_held(self._held, topics.CONTACTS)
        return await self._store.contact_version(contact_id)

    async def contacts(self, *, cursor: str | None, page_size: int | None) -> Page[ContactView]:
        check_not_held(self._held, topics.CONTACTS)
        check_not_held(self._held, topics.EVENTS)
        return await self._store.contacts(cursor=cursor, page_size=page_size)

    def _readable(self, view: ContactView | None) -> ContactView | None:
        check_not_held(self._held, topics.CONTACTS)
        for conversation_id in [None] if view is None else view.contact.conversations:
            check_not_held(self._held, topics.EVENTS, conversation_id)
        return view

    async def dead_deliveries(
        self, *, webhook_id: str | None = None, cursor: str | None, page_size: int | None
    ) -> Page[DeadDelivery]:
        check_not_held(self._held, topics.DEAD_DELIVERIES)
        return await self._store.dead_deliveries(webhook_id=webhook_id, cursor=cursor, page_size=page_size)

    async def dead_deliveries_of(self, delivery_id: str) -> list[DeadDelivery]:
        check_not_held(self._held, topics.DEAD_DELIVERIES)
        return await self._store.dead_deliveries_of(delivery_id)

    async def pending_replays(self, *, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]:
        check_not_held(self._held, topics.DEAD_DELIVERIES)
        return await self._store.pending_replays(after=after, replays_max=replays_max)

    async def expired_dead_deliveries(self, *, keep_max: int, before_ms: int, deliveries_max: int) -> list[str]:
        check_not_held(self._held, topics.DEAD_DELIVERIES)
        return await self._store.expired_dead_deliveries(
            keep_max=keep_max, before_ms=before_ms, deliveries_max=deliveries_max
        )
