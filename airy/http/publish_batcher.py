"""Batches concurrent publishes of one record each.

A publish costs about the same for one record as for a few dozen, and so does a commit to disk. While none is in
flight, a record is published at once; records that arrive meanwhile are published together when it ends. No record is
delayed to fill a batch. A batch fails as a whole: every request in it gets the error its record alone would have got.
"""

import anyio

from airy.bus.api import Bus
from airy.bus.record import ProducerRecord
from airy.errors import Refused, Unavailable

RECORDS_MAX = 256
BYTES_MAX = 1_048_576


class _PublishBatch:
    """Published by the request that opened it, its leader."""

    __slots__ = ("bytes", "done", "error", "records", "turn")

    def __init__(self) -> None:
        self.records: list[ProducerRecord] = []
        self.bytes = 0
        self.turn = anyio.Event()  # the leader may publish
        self.done = anyio.Event()  # the batch is published, or failed with `error`
        self.error: Exception | None = None


class PublishBatcher:
    """At most one publish in flight; batches in the order in which they were opened."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._in_flight = False
        self._waiting: list[_PublishBatch] = []  # the last one is open

    async def publish(self, record: ProducerRecord) -> None:
        """Return once `record` is durable. Raises what `Bus.publish` raises."""
        if not self._in_flight:
            self._in_flight = True
            try:
                await self._bus.publish([record])
            finally:
                self._start_next()
            return
        batch = self._join(record)
        if batch.records[0] is record:
            await self._lead(batch)
        else:
            await batch.done.wait()
        if isinstance(batch.error, Refused) and len(batch.records) > 1:
            await self._bus.publish([record])  # another record of the batch may be the refused one
        elif batch.error is not None:
            raise batch.error

    def _join(self, record: ProducerRecord) -> _PublishBatch:
        size = len(record.value or b"")
        batch = self._waiting[-1] if self._waiting else None
        if batch is None or len(batch.records) >= RECORDS_MAX or batch.bytes + size > BYTES_MAX:
            batch = _PublishBatch()
            self._waiting.append(batch)
        batch.records.append(record)
        batch.bytes += size
        return batch

    async def _lead(self, batch: _PublishBatch) -> None:
        try:
            await batch.turn.wait()
            self._waiting.remove(batch)
            await self._bus.publish(batch.records)
        except Exception as error:  # noqa: BLE001 - every request of the batch raises it
            batch.error = error
        except BaseException:
            batch.error = Unavailable("the server is stopping")
            raise
        finally:
            if batch in self._waiting:
                self._waiting.remove(batch)
            batch.done.set()
            if batch.turn.is_set():
                self._start_next()

    def _start_next(self) -> None:
        if self._waiting:
            self._waiting[0].turn.set()
        else:
            self._in_flight = False
