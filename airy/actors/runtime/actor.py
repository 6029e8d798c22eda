"""An actor: private state, one task, one owner.

Not a base class: anything with this method is an actor, and it needs nothing but its context. It learns of
the world through `ctx`, of others through addresses and topics, and never handles its own restart.
"""

from typing import Protocol

from airy.actors.runtime.context import Context


class Actor(Protocol):
    async def run(self, ctx: Context) -> None:
        """Return: done. Raise: crash. Cancelled: told to stop, after `ctx.draining` was given its time."""
        ...
