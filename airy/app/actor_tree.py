"""The supervision tree of this process as `airy.model.process_status` has it: bounded, and without secrets. Pure."""

from collections.abc import Callable, Iterator
from typing import Final

from airy.actors.runtime import Snapshot
from airy.model.process_status import ActorStatus, ActorTree

ACTORS_MAX: Final = 200
ERROR_CHARS_MAX: Final = 200


def actor_tree(root: Snapshot, mask: Callable[[str], str]) -> ActorTree:
    """Parents before their children. Of more than `ACTORS_MAX` nodes those that restarted or are not ready are kept
    first. `mask`: an error may quote a secret.
    """
    found = list(_nodes(root))
    order = sorted(range(len(found)), key=lambda index: not _unwell(found[index]))
    kept = sorted(order[:ACTORS_MAX])
    return ActorTree(tuple(_status(found[index], mask) for index in kept), len(found) - len(kept))


def _nodes(node: Snapshot) -> Iterator[Snapshot]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _unwell(node: Snapshot) -> bool:
    return node.phase != "ready" or node.restarts > 0


def _status(node: Snapshot, mask: Callable[[str], str]) -> ActorStatus:
    error = node.unavailable or node.error
    return ActorStatus(
        path=node.path,
        phase=str(node.phase),
        supervises=len(node.children),
        steps=node.steps,
        progress_age_s=round(node.progress_age_s, 3),
        restarts=node.restarts,
        bugs=node.bugs,
        error=mask(error)[:ERROR_CHARS_MAX] if error else None,
        mailbox_used=node.mailbox_used,
        mailbox_capacity=node.mailbox_capacity,
    )
