"""The router: raw webhooks of one source become facts. A transform: everything it decides is in the source's `route`.

At least once: what it reads again after a crash makes the same facts with the same ids, which the fold ignores.
Accounts nobody has connected are parked with their bytes (see unpark.py); bytes nobody can read are dead-lettered.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import anyio

from airy import topics
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.loops import origin, transform
from airy.bus.record import Emit, Record
from airy.bus.table import Table
from airy.model.entity import Channel
from airy.sources.api import Routed, Source
from airy.trace import trace_id_of

REASON_CHARS_MAX = 200


def facts_of(source: Source, record: Record, channels: Mapping[str, Channel]) -> list[Emit]:
    """The facts of one raw webhook, as records keyed by conversation. Raises `Undecodable`."""
    return _facts(source.route(record, channels), record)


def _facts(routed: Routed, record: Record) -> list[Emit]:
    trace = tuple((name, value) for name, value in record.headers if name in {"traceparent", "request-id"})
    return [
        topics.EVENTS.emit(fact.conversation_id, fact, headers=(("id", fact.id.encode()), *trace))
        for fact in routed.facts
    ]


def dead_letter(record: Record, reason: str, attempts: int) -> Emit:
    """`record` as it came, with why and from where, for `dlq.<topic>`."""
    key = record.key.decode("utf-8", "replace")
    return topics.dead_letters(record.topic).emit(key, record.value or b"", headers=origin(record, reason, attempts))


class Router:
    def __init__(self, bus: Bus, source: Source, *, counts: Counter[str] | None = None) -> None:
        self._bus = bus
        self._source = source
        self._parked = topics.parked_events(source.name)
        self._channels: Table[Channel] = Table(topics.CHANNELS, listener=self._heard)
        self._accounts: dict[str, Channel] = {}  # connected channels by provider account
        self._account_of: dict[str, str] = {}  # by channel id
        self._doubtful: list[Record] = []  # parked in this batch
        self._counts = Counter[str]() if counts is None else counts
        self._dead: list[tuple[Record, str]] = []  # of this batch, and why

    async def run(self, ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._channels.run, self._bus, _Quiet(ctx))
            await self._channels.caught_up_to(await self._bus.ends([topics.CHANNELS]))
            await transform(
                self._bus,
                ctx,
                [topics.source_events(self._source.name)],
                group=f"sources.{self._source.name}.router",
                step=self._step,
                dead_letter=self._dead_letter,
                after=partial(self._after, ctx),
            )
            tasks.cancel_scope.cancel()

    def _heard(self, key: str, channel: Channel | None) -> None:
        """A channel came, changed or went. One at a time: gathering all of them again is quadratic at the start."""
        account = self._account_of.pop(key, "")
        held = self._accounts.get(account)
        if held is not None and held.id == key:
            del self._accounts[account]
        if channel is not None and channel.connected and channel.source == self._source.name:
            self._accounts[channel.source_channel_id] = channel
            self._account_of[key] = channel.source_channel_id

    def _step(self, record: Record) -> Sequence[Emit]:
        self._counts["routed"] += 1
        routed = self._source.route(record, self._accounts)
        emits = _facts(routed, record)
        if routed.unknown_accounts:
            self._doubtful.append(record)
            self._counts["parked"] += 1
            headers = (*record.headers, ("origin", f"{record.topic}/{record.partition}/{record.offset}".encode()))
            emits += [self._parked.emit(account, record.value, headers=headers) for account in routed.unknown_accounts]
        if routed.rest:
            emits.append(self._dead_letter(record, "; ".join(routed.rest), 1))
        return emits

    def _dead_letter(self, record: Record, reason: str, attempts: int) -> Emit:
        self._counts["dead_lettered"] += 1
        self._dead.append((record, reason[:REASON_CHARS_MAX]))
        return dead_letter(record, reason, attempts)

    async def _after(self, ctx: Context) -> Sequence[Emit] | None:
        dead, self._dead = self._dead, []
        if dead:
            record, reason = dead[0]
            ctx.log.warning("webhooks.dead_lettered", webhooks=len(dead), reason=reason, **_about(record))
        if self._doubtful:
            ctx.log.info("webhooks.parked", webhooks=len(self._doubtful), **_about(self._doubtful[0]))
        return await self._look_again()

    async def _look_again(self) -> Sequence[Emit] | None:
        """What was parked is durable now: whatever was connected before that is ours to route."""
        if not self._doubtful:
            return None
        doubtful, self._doubtful = self._doubtful, []
        await self._channels.caught_up_to(await self._bus.ends([topics.CHANNELS]))
        return [emit for record in doubtful for emit in facts_of(self._source, record, self._accounts)]


def _about(record: Record) -> dict[str, object]:
    """What a log line about a raw webhook names."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "trace_id": trace_id_of(record.header("traceparent") or ""),
    }


class _Quiet:
    """The table's beat: alive like the router, but not what makes it ready."""

    def __init__(self, ctx: Context) -> None:
        self.draining = ctx.draining
        self.progress = ctx.progress
        self.waiting = ctx.waiting

    def ready(self) -> None:
        pass
