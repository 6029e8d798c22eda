"""The fold: the one function that turns facts into conversations, messages and changes.

It depends on the state and the fact only, so every process that folds a log gets the same result, bit for bit. A fact
is accepted, and then numbered, or rejected without effect. A duplicate has no effect, however late it arrives.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

from msgspec import Struct

from airy.model import fact as facts
from airy.model import fold_conversation, fold_identity, fold_message, fold_receipt, fold_send, fold_visitor
from airy.model.change import Change
from airy.model.fact import Fact
from airy.model.fold_context import FoldContext, new_conversation
from airy.model.fold_state import FoldState


class Folded(Struct, frozen=True, gc=False):
    accepted: bool
    changes: tuple[Change, ...] = ()


REJECTED = Folded(accepted=False)

FOLD_VERSION = 13
"""Raise it with every change after which the same log folds to other rows or changes: stores are rebuilt then. A test
compares the digest of a seeded log with the one recorded for this version.
"""

F = TypeVar("F", bound=Fact)


class Rule(NamedTuple):
    apply: Callable[[FoldContext, Fact], bool]  # returns whether it accepts; changes nothing before it has decided
    may_create: bool  # whether the fact may be the first of a conversation
    deduplicate: Callable[[Fact], bool]  # whether its id has to be stored, because nothing else stops a duplicate


def _always(_: Fact) -> bool:
    return True


def _never(_: Fact) -> bool:
    return False  # what it creates is stored under an id of its own


def _unless_it_is_a_watermark(fact: facts.ReceiptReported) -> bool:
    """A watermark only rises, so repeating it changes nothing, unless its bound is the arrival of that repetition."""
    return bool(fact.provider_ids) or bool(fact.watermark_written)


def _if_it_has_a_referral(fact: facts.EventNoted) -> bool:
    return fact.referral is not None  # no other event is accepted


def _rule(
    apply: Callable[[FoldContext, F], bool], *, may_create: bool, deduplicate: Callable[[F], bool] = _always
) -> Rule:
    """The key in `RULES` fixes the kind of fact both functions get."""
    return Rule(
        cast("Callable[[FoldContext, Fact], bool]", apply), may_create, cast("Callable[[Fact], bool]", deduplicate)
    )


RULES: dict[type[Fact], Rule] = {
    facts.MessageReceived: _rule(fold_message.received, may_create=True, deduplicate=_never),
    facts.MessageEchoed: _rule(fold_message.echoed, may_create=True),
    facts.MessageQueued: _rule(fold_message.queued, may_create=True),
    facts.MessageDeferred: _rule(fold_message.deferred, may_create=True, deduplicate=_never),
    facts.ResendRequested: _rule(fold_send.resend_requested, may_create=False),
    facts.CancelRequested: _rule(fold_send.cancel_requested, may_create=True),  # of a message that waits for it
    facts.SendStarted: _rule(fold_send.started, may_create=False),
    facts.SendSucceeded: _rule(fold_send.succeeded, may_create=False),
    facts.SendFailed: _rule(fold_send.failed, may_create=True),  # likewise
    facts.SendUnknown: _rule(fold_send.unknown, may_create=False),
    facts.ReceiptReported: _rule(fold_receipt.reported, may_create=True, deduplicate=_unless_it_is_a_watermark),
    facts.MessageEdited: _rule(fold_message.edited, may_create=True),
    facts.MessageDeleted: _rule(fold_message.deleted, may_create=True),
    facts.ReactionChanged: _rule(fold_message.reacted, may_create=True),
    facts.MetadataChanged: _rule(fold_conversation.metadata_changed, may_create=False),
    facts.ProfileResolved: _rule(fold_conversation.profile_resolved, may_create=False),
    facts.ProfileRefetchRequested: _rule(fold_conversation.profile_refetch_requested, may_create=False),
    facts.ConversationRead: _rule(fold_conversation.read, may_create=False),
    facts.TagAdded: _rule(fold_conversation.tag_added, may_create=False),
    facts.TagRemoved: _rule(fold_conversation.tag_removed, may_create=False),
    facts.StateChanged: _rule(fold_conversation.state_changed, may_create=False),
    facts.HandoverChanged: _rule(fold_conversation.handover_changed, may_create=True),
    facts.IdentityChanged: _rule(fold_identity.identity_changed, may_create=True),
    facts.EventNoted: _rule(fold_conversation.event_noted, may_create=True, deduplicate=_if_it_has_a_referral),
    facts.ResumeTokenUsed: _rule(fold_visitor.resume_token_used, may_create=False),
    facts.ResumeTokensRevoked: _rule(fold_visitor.resume_tokens_revoked, may_create=False),
}


def fold(state: FoldState, fact: Fact) -> Folded:
    """Fold one fact into the conversation that `state` holds."""
    rule = RULES[type(fact)]
    deduplicated = rule.deduplicate(fact)
    if deduplicated and state.seen(fact.id):
        return REJECTED
    conversation = state.conversation()
    allowed = rule.may_create or (conversation is not None and conversation.visible)
    context = FoldContext(state, conversation or new_conversation(fact), fact)
    accepted = allowed and rule.apply(context, fact)
    if deduplicated:
        state.mark_seen(fact.id, accepted=accepted)
    return Folded(accepted, context.finish()) if accepted else REJECTED
