"""What the fold of a fact may look up, as a pure function of the fact.

A store that reads over a network loads the needs of a batch before it folds, because the fold looks up synchronously
(`FoldState`). Every fact also needs its conversation, that conversation's last message, and whether the fact's id was
seen. The reference store of the test kit folds with nothing else loaded, so a look-up that is missing here fails there.
"""

from collections.abc import Callable
from typing import NamedTuple

from airy.model import fact as facts
from airy.model.fact import Fact


class FoldNeeds(NamedTuple):
    message_ids: tuple[str, ...] = ()
    provider_ids: tuple[str, ...] = ()  # messages by the provider's id
    open_until_ms: int | None = None  # outbound messages dispatched up to here, which a watermark may change
    may_delete: bool = False  # then the newest message that remains is needed


NOTHING = FoldNeeds()


def _message(
    fact: facts.MessageReceived
    | facts.MessageQueued
    | facts.MessageDeferred
    | facts.ResendRequested
    | facts.CancelRequested,
) -> FoldNeeds:
    return FoldNeeds((fact.message_id,))


def _attempt(fact: facts.SendStarted | facts.SendFailed | facts.SendUnknown) -> FoldNeeds:
    return FoldNeeds((fact.message_id,))


def _echoed(fact: facts.MessageEchoed) -> FoldNeeds:
    ours = () if fact.our_message_id is None else (fact.our_message_id,)
    return FoldNeeds((fact.message_id, *ours), (fact.provider_id,), may_delete=True)


def _succeeded(fact: facts.SendSucceeded) -> FoldNeeds:
    provider_ids = () if fact.provider_id is None else (fact.provider_id,)
    return FoldNeeds((fact.message_id,), provider_ids, may_delete=True)


def _reported(fact: facts.ReceiptReported) -> FoldNeeds:
    ours = () if fact.our_message_id is None else (fact.our_message_id,)
    return FoldNeeds(ours, tuple(fact.provider_ids), fact.watermark_ms, may_delete=bool(ours))


def _by_provider_id(fact: facts.MessageEdited | facts.ReactionChanged) -> FoldNeeds:
    return FoldNeeds((), (fact.provider_id,))


def _deleted(fact: facts.MessageDeleted) -> FoldNeeds:
    return FoldNeeds((), (fact.provider_id,), may_delete=True)


def _metadata(fact: facts.MetadataChanged) -> FoldNeeds:
    return FoldNeeds((fact.subject_id,))


def _conversation_only(_: Fact) -> FoldNeeds:
    return NOTHING


NEEDS: dict[type[Fact], Callable[..., FoldNeeds]] = {
    facts.MessageReceived: _message,
    facts.MessageEchoed: _echoed,
    facts.MessageQueued: _message,
    facts.MessageDeferred: _message,
    facts.ResendRequested: _message,
    facts.CancelRequested: _message,
    facts.SendStarted: _attempt,
    facts.SendSucceeded: _succeeded,
    facts.SendFailed: _attempt,
    facts.SendUnknown: _attempt,
    facts.ReceiptReported: _reported,
    facts.MessageEdited: _by_provider_id,
    facts.MessageDeleted: _deleted,
    facts.ReactionChanged: _by_provider_id,
    facts.MetadataChanged: _metadata,
    facts.ProfileResolved: _conversation_only,
    facts.ProfileRefetchRequested: _conversation_only,
    facts.ConversationRead: _conversation_only,
    facts.TagAdded: _conversation_only,
    facts.TagRemoved: _conversation_only,
    facts.StateChanged: _conversation_only,
    facts.HandoverChanged: _conversation_only,
    facts.IdentityChanged: _conversation_only,
    facts.EventNoted: _conversation_only,
    facts.ResumeTokenUsed: _conversation_only,
    facts.ResumeTokensRevoked: _conversation_only,
}


def fold_needs(fact: Fact) -> FoldNeeds:
    return NEEDS[type(fact)](fact)
