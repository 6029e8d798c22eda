"""The rule for names: a conversation gets aliases, and another name that is answered to.

Aliases only grow, so that a webhook that is routed again is routed to the same conversation. The name to answer to is
the latest by the provider's time, then by the log.
"""

from airy.model import ids, metadata
from airy.model.fact import IdentityChanged
from airy.model.fold_context import FoldContext

ALIASES_MAX = 64  # per conversation; the oldest are dropped
SAME_CONTACT = "source.same_contact"
"""The metadata key for another conversation of the same contact; the latest, if there are several."""


def identity_changed(context: FoldContext, fact: IdentityChanged) -> bool:
    conversation = context.conversation
    new = [name for name in dict.fromkeys(fact.aliases) if not _is_known(context, fact.channel_id, name)]
    renamed = fact.participant_id if _renames(context, fact) else None
    linked = fact.same_contact
    if linked == metadata.text(conversation.metadata, SAME_CONTACT):
        linked = None
    if not new and renamed is None and linked is None:
        return False
    if not conversation.channel_id:
        conversation.channel_id, conversation.source = fact.channel_id, fact.source
    conversation.aliases |= dict.fromkeys(new, fact.at_ms)
    for name in list(conversation.aliases)[:-ALIASES_MAX]:
        del conversation.aliases[name]
    if renamed is not None:
        conversation.participant_id, conversation.participant_at_ms = renamed, fact.at_ms
    if linked is not None:
        _link(context, linked)
    return True


def _is_known(context: FoldContext, channel_id: str, name: str) -> bool:
    """Of the name that the conversation's id derives from, no alias is needed."""
    conversation = context.conversation
    return name in conversation.aliases or ids.conversation_id(channel_id, name) == conversation.id


def _renames(context: FoldContext, fact: IdentityChanged) -> bool:
    conversation = context.conversation
    if fact.participant_id in {None, conversation.participant_id}:
        return False
    return conversation.participant_id is None or fact.at_ms >= conversation.participant_at_ms


def _link(context: FoldContext, conversation_id: str) -> None:
    after = metadata.changed(context.conversation.metadata, {SAME_CONTACT: metadata.value(conversation_id)}, ())
    if after is not None:
        context.conversation.metadata = after
        context.metadata_changed = True
