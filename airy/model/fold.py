"""The fold: the one function that turns facts into conversations, messages and changes.

It depends on the state and the fact only, so whoever folds a log gets the same, bit for bit. A fact is
accepted, and then numbered, or it makes no difference; told again, at any later point, it makes no difference
either.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

from msgspec import Struct

from airy.model import fact as facts
from airy.model import fold_conversation, fold_message, fold_receipt, fold_send
from airy.model.change import Change
from airy.model.fact import Fact
from airy.model.state import FoldState
from airy.model.step import Step, fresh


class Folded(Struct, frozen=True, gc=False):
    accepted: bool
    changes: tuple[Change, ...] = ()


REJECTED = Folded(accepted=False)

F = TypeVar("F", bound=Fact)


class Rule(NamedTuple):
    apply: Callable[[Step, Fact], bool]  # decides, changes, and returns whether it accepts
    opens: bool  # may be the first we hear of a conversation


def _rule(apply: Callable[[Step, F], bool], *, opens: bool) -> Rule:
    return Rule(cast("Callable[[Step, Fact], bool]", apply), opens)  # the table's key sees to the kind


RULES: dict[type[Fact], Rule] = {
    facts.MessageReceived: _rule(fold_message.received, opens=True),
    facts.MessageEchoed: _rule(fold_message.echoed, opens=True),
    facts.MessageQueued: _rule(fold_message.queued, opens=True),
    facts.ResendRequested: _rule(fold_send.resend_requested, opens=False),
    facts.SendStarted: _rule(fold_send.started, opens=False),
    facts.SendSucceeded: _rule(fold_send.succeeded, opens=False),
    facts.SendFailed: _rule(fold_send.failed, opens=False),
    facts.SendUnknown: _rule(fold_send.unknown, opens=False),
    facts.ReceiptReported: _rule(fold_receipt.reported, opens=True),
    facts.MessageEdited: _rule(fold_message.edited, opens=True),
    facts.MessageDeleted: _rule(fold_message.deleted, opens=True),
    facts.ReactionChanged: _rule(fold_message.reacted, opens=True),
    facts.MetadataChanged: _rule(fold_conversation.metadata_changed, opens=False),
    facts.ProfileResolved: _rule(fold_conversation.profile_resolved, opens=False),
    facts.ProfileRefetchRequested: _rule(fold_conversation.profile_refetch_requested, opens=False),
    facts.ConversationRead: _rule(fold_conversation.read, opens=False),
    facts.TagAdded: _rule(fold_conversation.tag_added, opens=False),
    facts.TagRemoved: _rule(fold_conversation.tag_removed, opens=False),
    facts.StateChanged: _rule(fold_conversation.state_changed, opens=False),
    facts.HandoverChanged: _rule(fold_conversation.handover_changed, opens=True),
    facts.EventNoted: _rule(fold_conversation.event_noted, opens=True),
}


def fold(state: FoldState, fact: Fact) -> Folded:
    """Fold one fact into the conversation that `state` holds."""
    memorable = _memorable(fact)
    if memorable and state.seen(fact.id):
        return REJECTED
    rule = RULES[type(fact)]
    conversation = state.conversation()
    allowed = rule.opens or (conversation is not None and conversation.visible)
    step = Step(state, conversation or fresh(fact), fact.at_ms)
    accepted = allowed and rule.apply(step, fact)
    if memorable:
        state.remember(fact.id, accepted=accepted)
    return Folded(accepted, step.finish()) if accepted else REJECTED


def _memorable(fact: Fact) -> bool:
    """Whether its id has to be kept. Not for facts that carry their own memory: they are by far the most."""
    if isinstance(fact, facts.MessageReceived):
        return False  # its message stays
    if isinstance(fact, facts.ReceiptReported):
        return bool(fact.provider_ids)  # watermarks only rise
    if isinstance(fact, facts.EventNoted):
        return fact.referral is not None
    return True
