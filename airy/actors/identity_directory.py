"""The conversations that participants' names belong to: what the store has folded, and what this reader has appended.

Routing looks them up before it derives a conversation's id (`airy/sources/identity.py`). A name that was routed once
has a conversation from then on, and keeps it: the facts of a webhook that is routed again are the same. The look-up
must therefore know everything that was appended for earlier webhooks of the account, which are in one partition:

- what this reader appended for them it remembers, until the store has folded it;
- where it does not continue where it stopped (after a start, a rebalance or an error), another may have appended
  something: it waits until the store holds what the log held at that moment.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import cast

from airy import topics
from airy.actors.fold_progress import FoldProgress, wait_until_current
from airy.bus.api import Bus
from airy.bus.record import Record, TopicPartition
from airy.errors import Unavailable
from airy.model import ids
from airy.model.fact import Fact, IdentityChanged, MessageEchoed, MessageReceived
from airy.model.identity import IdentityKey
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import Channels, IdentifyingSource, WebhookSource
from airy.store.api import IdentityReader
from airy.store.holds import check_not_held

CURRENT_S = 25.0
REMEMBERED_MAX = 20_000  # conversations and aliases; then the store is waited for, and they are forgotten


class IdentityDirectory:
    """One reader's: a router, or one replay of parked webhooks."""

    def __init__(self, bus: Bus, store: IdentityReader, progress: FoldProgress) -> None:
        self._bus = bus
        self._store = store
        self._progress = progress
        self._next: dict[TopicPartition, int] = {}  # the offset after the last record that was prepared
        # what was appended since the store was last waited for: conversations with a message, and aliases
        self._begun: set[str] = set()
        self._aliases: dict[IdentityKey, dict[str, None]] = {}
        self._stored: dict[IdentityKey, tuple[str, ...]] = {}  # of the names of this batch

    async def prepare(self, source: WebhookSource, records: Sequence[Record], channels: ConnectedChannels) -> Channels:
        """`channels`, with the conversations of the names in these records. Raises `PartitionHeld`, `Unavailable`."""
        if not source.spec.identities:
            return channels
        if not self._continue(records) or len(self._begun) + len(self._aliases) > REMEMBERED_MAX:
            await self._wait()
        identities = cast("IdentifyingSource", source).identities
        keys = {key for record in records for key in identities(record, channels)}
        self._stored = await self._store.conversations_of(keys) if keys else {}
        return KnownIdentities(channels, self)

    def _continue(self, records: Sequence[Record]) -> bool:
        continues = True
        for record in records:
            continues = continues and self._next.get(record.topic_partition) == record.offset
            self._next[record.topic_partition] = record.offset + 1
        return continues

    async def _wait(self) -> None:
        if not await wait_until_current(self._bus, self._progress, [topics.EVENTS], CURRENT_S):
            self._next.clear()
            check_not_held(self._progress.held, topics.EVENTS)
            raise Unavailable(f"the store did not fold the events within {CURRENT_S:g} s")
        self._begun.clear()
        self._aliases.clear()

    def learn(self, facts: Iterable[Fact]) -> None:
        """What these facts will say about names once they are folded."""
        for fact in facts:
            if isinstance(fact, MessageReceived | MessageEchoed):
                self._begun.add(fact.conversation_id)
            elif isinstance(fact, IdentityChanged):
                for name in fact.aliases:
                    self._aliases.setdefault(IdentityKey(fact.channel_id, name), {})[fact.conversation_id] = None

    def conversations(self, key: IdentityKey) -> tuple[str, ...]:
        """In the order of `IdentityReader.conversations_of`."""
        derived = ids.conversation_id(key.channel_id, key.name)
        begun = (derived,) if derived in self._begun else ()
        return tuple(dict.fromkeys((*begun, *self._stored.get(key, ()), *self._aliases.get(key, ()))))


class KnownIdentities:
    """`Channels` that also know names."""

    def __init__(self, channels: ConnectedChannels, directory: IdentityDirectory) -> None:
        self.by_account = channels.by_account
        self._directory = directory

    def conversations(self, key: IdentityKey) -> Collection[str]:
        return self._directory.conversations(key)
