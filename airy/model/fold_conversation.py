"""Rules for the conversation itself: metadata, profile, reading, tags, state, and who owns the thread.

What a client asks for needs a conversation that clients can see; what a provider tells may be the first we
hear of it.
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
from airy.model.step import Step

NAME = "contact.display_name"
AVATAR = "contact.avatar_url"
FETCH_STATE = "contact.fetch_state"
REFERRAL = "source.referral"
TAGS_MAX = 200  # of one conversation
DERIVED = frozenset({"unread_count", "tags", "state"})  # shown as metadata, but not set as metadata
DERIVED_OF_MESSAGES = frozenset({"error", "source", "reaction", "user_read"})


def metadata_changed(step: Step, fact: MetadataChanged) -> bool:
    if any(map(metadata.too_long, fact.set)):
        return False
    return _of_message(step, fact) if fact.subject == "message" else _of_conversation(step, fact)


def _of_message(step: Step, fact: MetadataChanged) -> bool:
    message = step.state.message(fact.subject_id)
    if message is None or message.deleted:
        return False
    wanted = {key: raw for key, raw in fact.set.items() if _top(key) not in DERIVED_OF_MESSAGES}
    unwanted = [key for key in fact.remove if _top(key) not in DERIVED_OF_MESSAGES]
    after = metadata.changed(message.metadata, wanted, unwanted)
    if after is None or len(after) > metadata.KEYS_MAX:
        return False
    step.annotate(message)
    message.metadata = after
    return True


def _of_conversation(step: Step, fact: MetadataChanged) -> bool:
    conversation = step.conversation
    if fact.subject_id != conversation.id:
        return False
    wanted = {key: raw for key, raw in fact.set.items() if _top(key) not in DERIVED}
    after = metadata.changed(conversation.metadata, wanted, fact.remove)
    final = conversation.metadata if after is None else after
    if len(final) > metadata.KEYS_MAX:
        return False
    # a value that a person set, even to what it was, is theirs from now on
    kept = [key for key in conversation.profile_keys if key in final and key not in wanted]
    if after is None and kept == conversation.profile_keys:
        return False
    conversation.metadata, conversation.profile_keys = final, kept
    step.metadata_changed = after is not None
    return True


def _top(key: str) -> str:
    return key.partition(".")[0]


def profile_resolved(step: Step, fact: ProfileResolved) -> bool:
    conversation = step.conversation
    said = {NAME: fact.display_name, AVATAR: fact.avatar_url} if fact.found else {}
    news = {
        key: metadata.value(text)
        for key, text in said.items()
        if text is not None and (key in conversation.profile_keys or key not in conversation.metadata)
    }
    news[FETCH_STATE] = metadata.value("ok" if fact.found else "failed")
    after = metadata.changed(conversation.metadata, news, ())
    if after is None:
        return False
    conversation.metadata = after
    conversation.profile_keys = [
        key for key in (NAME, AVATAR) if key in news or (key in conversation.profile_keys and key in after)
    ]
    step.metadata_changed = True
    return True


def profile_refetch_requested(step: Step, _fact: ProfileRefetchRequested) -> bool:
    return _replace_metadata(step, {}, (FETCH_STATE,))


def read(step: Step, _fact: ConversationRead) -> bool:
    conversation = step.conversation
    if conversation.unread_count == 0:
        return False
    conversation.unread_count = 0
    conversation.read_sequence = step.sequence
    step.metadata_changed = True
    return True


def tag_added(step: Step, fact: TagAdded) -> bool:
    if fact.tag_id in step.conversation.tags or len(step.conversation.tags) >= TAGS_MAX:
        return False
    step.conversation.tags.append(fact.tag_id)
    step.metadata_changed = True
    return True


def tag_removed(step: Step, fact: TagRemoved) -> bool:
    if fact.tag_id not in step.conversation.tags:
        return False
    step.conversation.tags.remove(fact.tag_id)
    step.metadata_changed = True
    return True


def state_changed(step: Step, fact: StateChanged) -> bool:
    if fact.state == step.conversation.state:
        return False
    step.conversation.state = fact.state
    step.metadata_changed = True
    return True


def handover_changed(step: Step, fact: HandoverChanged) -> bool:
    """Only passing and taking change who owns the thread; the latest by the provider's time counts."""
    conversation = step.conversation
    if fact.action not in {"pass", "take"}:
        return False
    now = (conversation.handover_at_ms, conversation.handover_owner or "")
    if (fact.at_ms, fact.owner or "") <= now:
        return False
    conversation.handover_at_ms, conversation.handover_owner = fact.at_ms, fact.owner
    return True


def event_noted(step: Step, fact: EventNoted) -> bool:
    """Everything stays in the log; only a referral becomes state, the latest by the provider's time."""
    conversation = step.conversation
    if fact.referral is None:
        return False
    held = metadata.text(conversation.metadata, REFERRAL) or ""
    if (fact.at_ms, fact.referral) <= (conversation.referral_at_ms, held):
        return False
    conversation.referral_at_ms = fact.at_ms
    _replace_metadata(step, {REFERRAL: metadata.value(fact.referral)}, ())
    return True


def _replace_metadata(step: Step, settings: metadata.Flat, removals: tuple[str, ...]) -> bool:
    after = metadata.changed(step.conversation.metadata, settings, removals)
    if after is None:
        return False
    step.conversation.metadata = after
    step.metadata_changed = True
    return True
