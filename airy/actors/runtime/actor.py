"""The actor protocol: private state, one task, one supervisor.

Not a base class: any object with this method is an actor. It reaches time, randomness and logging through `ctx`, other
actors through addresses and topics, and never restarts itself.
"""

from typing import Protocol

from airy.actors.runtime.context import Context


class Actor(Protocol):
    async def run(self, ctx: Context) -> None:
        """Return: done. Raise: crash. Cancelled: the supervisor stops it, `drain_s` after `ctx.draining` was set."""
        ...
