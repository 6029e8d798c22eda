"""Rules for the conversation itself: metadata, profile, reading, tags, state, and the owner of the thread.

A client's request needs a conversation that clients can see; a provider's event may create one.
"""

from airy.model import metadata
from airy.model.fact import (
    ConversationRead,
    EventNoted,
    HandoverChanged,
    MetadataChanged,
    ProfileRefetchRequested,
    ProfileResolved,
    StateChanged,
    TagAdded,
    TagRemoved,
)
from airy.model.fold_context import FoldContext

NAME = "contact.display_name"
AVATAR = "contact.avatar_url"
FETCH_STATE = "contact.fetch_state"
REFERRAL = "source.referral"
TAGS_MAX = 200  # per conversation
DERIVED = frozenset({"unread_count", "tags", "state"})  # rendered as metadata, not set as metadata
DERIVED_OF_MESSAGES = frozenset({"error", "source", "reaction", "user_read"})


def metadata_changed(context: FoldContext, fact: MetadataChanged) -> bool:
    if any(map(metadata.too_long, fact.set)):
        return False
    return _of_message(context, fact) if fact.subject == "message" else _of_conversation(context, fact)


def _of_message(context: FoldContext, fact: MetadataChanged) -> bool:
    message = context.state.message(fact.subject_id)
    if message is None or message.deleted or not message.announced:
        return False
    wanted = {key: raw for key, raw in fact.set.items() if _top(key) not in DERIVED_OF_MESSAGES}
    unwanted = [key for key in fact.remove if _top(key) not in DERIVED_OF_MESSAGES]
    after = metadata.changed(message.metadata, wanted, unwanted)
    if after is None or len(after) > metadata.KEYS_MAX:
        return False
    context.before_metadata_change(message)
    message.metadata = after
    return True


def _of_conversation(context: FoldContext, fact: MetadataChanged) -> bool:
    conversation = context.conversation
    if fact.subject_id != conversation.id:
        return False
    wanted = {key: raw for key, raw in fact.set.items() if _top(key) not in DERIVED}
    after = metadata.changed(conversation.metadata, wanted, fact.remove)
    final = conversation.metadata if after is None else after
    if len(final) > metadata.KEYS_MAX:
        return False
    # a value a client set, even unchanged, is not overwritten by the provider's profile any more
    kept = [key for key in conversation.profile_keys if key in final and key not in wanted]
    if after is None and kept == conversation.profile_keys:
        return False
    conversation.metadata, conversation.profile_keys = final, kept
    context.metadata_changed = after is not None
    return True


def _top(key: str) -> str:
    return key.partition(".")[0]


def profile_resolved(context: FoldContext, fact: ProfileResolved) -> bool:
    conversation = context.conversation
    profile = {NAME: fact.display_name, AVATAR: fact.avatar_url} if fact.found else {}
    settings = {
        key: metadata.value(text)
        for key, text in profile.items()
        if text is not None and (key in conversation.profile_keys or key not in conversation.metadata)
    }
    settings[FETCH_STATE] = metadata.value("ok" if fact.found else "failed")
    after = metadata.changed(conversation.metadata, settings, ())
    if after is None:
        return False
    conversation.metadata = after
    conversation.profile_keys = [
        key for key in (NAME, AVATAR) if key in settings or (key in conversation.profile_keys and key in after)
    ]
    context.metadata_changed = True
    return True


def profile_refetch_requested(context: FoldContext, _fact: ProfileRefetchRequested) -> bool:
    return _replace_metadata(context, {}, (FETCH_STATE,))


def read(context: FoldContext, _fact: ConversationRead) -> bool:
    conversation = context.conversation
    if conversation.unread_count == 0:
        return False
    conversation.unread_count = 0
    conversation.read_sequence = context.sequence
    context.metadata_changed = True
    return True


def tag_added(context: FoldContext, fact: TagAdded) -> bool:
    if fact.tag_id in context.conversation.tags or len(context.conversation.tags) >= TAGS_MAX:
        return False
    context.conversation.tags.append(fact.tag_id)
    context.metadata_changed = True
    return True


def tag_removed(context: FoldContext, fact: TagRemoved) -> bool:
    if fact.tag_id not in context.conversation.tags:
        return False
    context.conversation.tags.remove(fact.tag_id)
    context.metadata_changed = True
    return True


def state_changed(context: FoldContext, fact: StateChanged) -> bool:
    conversation = context.conversation
    if fact.state == conversation.state or fact.base not in {None, conversation.state_sequence}:
        return False
    conversation.state, conversation.state_sequence = fact.state, context.sequence
    context.metadata_changed = True
    return True


def handover_changed(context: FoldContext, fact: HandoverChanged) -> bool:
    """Only `pass` and `take` change the owner of the thread: the latest by the provider's time, then by the log."""
    conversation = context.conversation
    if fact.action not in {"pass", "take"}:
        return False
    if fact.at_ms < conversation.handover_at_ms:
        return False
    if (fact.at_ms, fact.owner) == (conversation.handover_at_ms, conversation.handover_owner):
        return False
    conversation.handover_at_ms, conversation.handover_owner = fact.at_ms, fact.owner
    return True


def event_noted(context: FoldContext, fact: EventNoted) -> bool:
    """Only a referral becomes state: the latest by the provider's time, then by the log. Everything else is kept in the
    log alone.
    """
    conversation = context.conversation
    if fact.referral is None:
        return False
    if fact.at_ms < conversation.referral_at_ms:
        return False
    if fact.at_ms == conversation.referral_at_ms and fact.referral == metadata.text(conversation.metadata, REFERRAL):
        return False
    conversation.referral_at_ms = fact.at_ms
    _replace_metadata(context, {REFERRAL: metadata.value(fact.referral)}, ())
    return True


def _replace_metadata(context: FoldContext, settings: metadata.Flat, removals: tuple[str, ...]) -> bool:
    after = metadata.changed(context.conversation.metadata, settings, removals)
    if after is None:
        return False
    context.conversation.metadata = after
    context.metadata_changed = True
    return True
