"""The store: the read model of the log. `airy.store.api` is the port with its guarantees; the engine is SQLite."""

from airy.store.api import Applied, ConversationView, Page, Store, StoredChange, Work, WorkKind
from airy.store.sqlite import SqliteStore

__all__ = ["Applied", "ConversationView", "Page", "SqliteStore", "Store", "StoredChange", "Work", "WorkKind"]
