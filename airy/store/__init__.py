"""The store: the read model of the log. `airy.store.api` is the port with its guarantees, `factory` makes an engine."""

from airy.store.api import Applied, ConversationView, Page, Store, StoredChange, Work, WorkKind

__all__ = ["Applied", "ConversationView", "Page", "Store", "StoredChange", "Work", "WorkKind"]
