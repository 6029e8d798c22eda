"""Appends facts and waits until the own store has folded them."""

import anyio

from airy import topics, trace
from airy.actors.fold_progress import WorkProgress
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.record import Position
from airy.bus.record_schema import PartitionHeld
from airy.errors import Unavailable
from airy.model.fact import Fact

RETRY_S = 1.0
FOLD_S = 25.0  # a store that needs longer than this for one record is reported


class FactAppender:
    def __init__(self, bus: Bus, progress: WorkProgress) -> None:
        self._bus = bus
        self._progress = progress

    async def append(self, ctx: Context, *facts: Fact, retry: bool = False) -> None:
        """Those of one partition stay in order.

        With `retry`, an unavailable log is tried until it works; without, raises `Unavailable`.

        A fact that is in the log is waited for without limit, because what follows depends on how it was folded. In a
        held partition nothing follows in this process: raises `PartitionHeld`, and with `retry` returns.
        """
        headers = trace.headers()
        records = [
            topics.EVENTS.record(fact.conversation_id, fact, headers=(("id", fact.id.encode()), *headers))
            for fact in facts
        ]
        while True:
            try:
                positions = await self._bus.publish(records)
                break
            except Unavailable:
                if not retry:
                    raise
                with ctx.waiting():
                    await anyio.sleep(RETRY_S)
        try:
            for position in positions:
                await self._folded(ctx, position)
        except PartitionHeld:
            if not retry:
                raise

    async def _folded(self, ctx: Context, position: Position) -> None:
        while not await self._progress.wait_for_position(position, FOLD_S):
            ctx.log.warning("store.lagging", topic=position.topic, partition=position.partition, offset=position.offset)
            ctx.progress()
