"""Several actors as one child: fewer tasks where a process has many small actors that belong together.

It is ready when all are, stalled when one is, and done when all have returned; an error of one ends all.
"""

import anyio

from airy.actors.runtime.actor import Actor
from airy.actors.runtime.context import Context
from airy.actors.runtime.progress import current_mark


class Combined:
    def __init__(self, *actors: Actor) -> None:
        self._actors = actors

    async def run(self, ctx: Context) -> None:
        first, *others = zip(self._actors, ctx.split(len(self._actors)), strict=True)
        async with anyio.create_task_group() as tasks:
            for actor, part in others:
                tasks.start_soon(_run_part, actor, part)
            await _run_part(*first)


async def _run_part(actor: Actor, part: Context) -> None:
    current_mark.set(part.progress_mark)
    await actor.run(part)
