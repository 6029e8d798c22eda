"""Signals to contacts that leave no trace in the log: that an answer is being written.

The process that is asked calls the provider itself: what is over after seconds must not wait for the log and a
connector. Calls are limited per conversation and per channel, in each process, to a part of what a channel may send.
Nothing that happens to them matters to the caller.
"""

from collections.abc import Callable

import structlog

from airy.commands.channel_secrets import ChannelSecrets
from airy.commands.channels import SourceOf
from airy.commands.errors import NotFound
from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.rate_limit import RateLimiter, RateLimits
from airy.sources.api import Target
from airy.sources.catalogue import kind_of
from airy.sources.provider_pauses import ProviderPauses
from airy.sources.signalling import signal
from airy.store.api import StoreQueries

CONVERSATION = RateLimits(requests_per_s=1 / 3, burst=1)  # providers show a signal for 5 to 25 s
CHANNEL = RateLimits(requests_per_s=5.0, burst=10)
MESSAGES_MAX = 50

log = structlog.get_logger("airy.signals")


class SignalCommands:
    def __init__(
        self,
        store: StoreQueries,
        secrets: ChannelSecrets,
        source_of: SourceOf,
        http: HttpClient,
        pauses: ProviderPauses,
        now_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._source_of = source_of
        self._http = http
        self._pauses = pauses
        self._now_ms = now_ms
        self._conversations = RateLimiter(CONVERSATION)
        self._channels = RateLimiter(CHANNEL)

    async def typing(self, conversation_id: str) -> None:
        """Raises `NotFound`. Returns without a call where there is nothing to show, or was not long ago."""
        view = await self._store.conversation(conversation_id)
        if view is None:
            raise NotFound(f"there is no conversation {conversation_id}", field="conversation_id")
        channel, source = view.channel, self._source_of(view.channel.source)
        if source is None or not kind_of(channel.source).capabilities.typing or not channel.connected:
            return
        if self._pauses.resumes_in_s(source.spec.name):
            return
        if self._conversations.take(conversation_id) or self._channels.take(channel.id):
            return
        provider_id = await self._last_provider_id(conversation_id)
        try:
            credentials = self._secrets.unseal_all(channel)
            target = Target(channel=channel, conversation=view.conversation, credentials=credentials)
            await signal(
                self._http, source, target, lambda signals, to: signals.typing(to, provider_id), self._now_ms()
            )
        except (Unavailable, Refused) as error:
            log.info("signal.failed", signal="typing", conversation_id=conversation_id, error=str(error))

    async def _last_provider_id(self, conversation_id: str) -> str | None:
        """Of the contact's newest message."""
        page = await self._store.messages(conversation_id, cursor=None, page_size=MESSAGES_MAX)
        return next((each.provider_id for each in page.items if each.from_contact and each.provider_id), None)
