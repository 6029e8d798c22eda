"""The fields of the filter language."""

KEYWORDS = frozenset({"id", "channel_id", "source", "tag_ids", "state"})
NUMBERS = frozenset({"unread_count", "created_at", "last_message_at"})
DISPLAY_NAME = "display_name"
METADATA = "metadata."
MESSAGE = "message"
ALIASES = {"*": "id", "metadata.state": "state", "metadata.unread_count": "unread_count"}
KNOWN = KEYWORDS | NUMBERS | {DISPLAY_NAME, MESSAGE}  # besides those of metadata
WRITTEN = KNOWN - {"state"}  # `state` is written `metadata.state`
