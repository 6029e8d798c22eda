"""The messaging window: how long a provider allows free-form replies, counted from the contact's last message."""

from airy.model.conversation import Conversation


def extended(conversation: Conversation, until_ms: int | None) -> int | None:
    """The later of both ends. Messages may arrive in any order, and an older one never shortens the window."""
    if until_ms is None:
        return conversation.window_until_ms
    if conversation.window_until_ms is None:
        return until_ms
    return max(conversation.window_until_ms, until_ms)


def is_open(conversation: Conversation, now_ms: int) -> bool:
    """True too where the provider has no window."""
    return conversation.window_until_ms is None or now_ms < conversation.window_until_ms
