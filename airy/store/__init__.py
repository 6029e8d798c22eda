"""The store: the read model of the log. What it promises is in `airy.store.api`; here is the engine that keeps it."""

from airy.store.api import Applied, ConversationView, Page, Published, Store, Work, WorkKind
from airy.store.sqlite import SqliteStore

__all__ = ["Applied", "ConversationView", "Page", "Published", "SqliteStore", "Store", "Work", "WorkKind"]
