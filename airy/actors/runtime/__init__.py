"""Actor runtime: supervision trees, restarts, health and mailboxes. Import from here, not from its modules."""

from airy.actors.runtime.actor import Actor
from airy.actors.runtime.address import Address
from airy.actors.runtime.backoff import Backoff
from airy.actors.runtime.combined import Combined
from airy.actors.runtime.context import Context
from airy.actors.runtime.failure import Crashed, TimedOut, TreeFailed
from airy.actors.runtime.mailbox import Mailbox
from airy.actors.runtime.phase import Phase
from airy.actors.runtime.request import Request
from airy.actors.runtime.snapshot import Snapshot
from airy.actors.runtime.spec import Child, Restart, Strategy, Supervision
from airy.actors.runtime.tree import Tree, run_tree

__all__ = [
    "Actor",
    "Address",
    "Backoff",
    "Child",
    "Combined",
    "Context",
    "Crashed",
    "Mailbox",
    "Phase",
    "Request",
    "Restart",
    "Snapshot",
    "Strategy",
    "Supervision",
    "TimedOut",
    "Tree",
    "TreeFailed",
    "run_tree",
]
