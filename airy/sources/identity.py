"""Participants with several names at the provider, and names that change: the conversation stays. Pure.

A conversation's id derives from the first name it was seen under. An event that shows another name beside a known one,
or says that one replaced another, makes an alias of it, and facts of an alias belong to the same conversation. Which
conversations a name has is looked up before (`Channels.conversations`); a name keeps the one it was given first.
"""

from collections.abc import Sequence

from msgspec import Struct

from airy.model import ids
from airy.model.entity import Channel
from airy.model.fact import Fact, IdentityChanged
from airy.model.identity import IdentityKey
from airy.sources import payload
from airy.sources.api import Channels
from airy.sources.fact_origin import FactOrigin, fact_origin


class ResolvedIdentity(Struct, frozen=True, kw_only=True):
    """What the names of one participant lead to."""

    channel: Channel
    names: tuple[str, ...]  # best first
    conversation_id: str
    aliases: tuple[str, ...]  # of the names, those the conversation does not have yet
    others: tuple[str, ...]  # further conversations of these names, found to be of the same contact by this event

    def about(self, at_ms: int, cause: str) -> FactOrigin:
        return fact_origin(self.channel, self.names[0], at_ms, cause, conversation_id=self.conversation_id)

    def facts(self, at_ms: int, cause: str, *, answer_to: str | None = None) -> list[Fact]:
        """What is new about the names; to be appended after the fact that begins the conversation.

        `answer_to`: the name that replaced the former one. Without it, the best name replaces one that was known before
        it.
        """
        if answer_to is None and self.names[0] in self.aliases:
            answer_to = self.names[0]
        if not self.aliases and answer_to is None:
            return []
        changed = IdentityChanged(
            id=self._derived(self.conversation_id, self.aliases, answer_to, self.others),
            aliases=self.aliases,
            participant_id=answer_to,
            same_contact=self.others[0] if self.others else None,
            **self.about(at_ms, cause),
        )
        return [changed, *(self._linked(other, at_ms, cause) for other in self.others)]

    def _linked(self, other: str, at_ms: int, cause: str) -> IdentityChanged:
        return IdentityChanged(
            id=self._derived(other, self.conversation_id),
            same_contact=self.conversation_id,
            **fact_origin(self.channel, self.names[0], at_ms, cause, conversation_id=other),
        )

    def _derived(self, *parts: object) -> str:
        return ids.derive(self.channel.id, f"identity:{payload.canonical(parts)}")


def resolve(
    channel: Channel, names: Sequence[str], channels: Channels, *, conversation_id: str | None = None
) -> ResolvedIdentity:
    """`names`: at least one, each once, the best first. `conversation_id`: theirs, if the event itself says it."""
    known = {name: tuple(channels.conversations(IdentityKey(channel.id, name))) for name in names}
    derived = {name: ids.conversation_id(channel.id, name) for name in names}
    found = conversation_id or next((each[0] for each in known.values() if each), derived[names[0]])
    return ResolvedIdentity(
        channel=channel,
        names=tuple(names),
        conversation_id=found,
        aliases=tuple(name for name in names if found not in known[name] and derived[name] != found),
        others=tuple(dict.fromkeys(each[0] for each in known.values() if each and found not in each)),
    )
