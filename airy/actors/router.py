"""Turns the raw webhooks of one source into facts. A transform: all decisions are in the source's `route`.

At least once: a webhook read again after a crash yields the same facts with the same ids, which the fold ignores.
Webhooks of accounts without a connected channel are parked (see parked_replayer.py), undecodable ones dead-lettered.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import anyio

from airy import topics
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.dead_letter import make_dead_letter
from airy.bus.loops import transform
from airy.bus.record import ProducerRecord, Record
from airy.bus.table import Table
from airy.model.entity import Channel
from airy.sources.api import Routed, Source
from airy.trace import trace_id_of

REASON_CHARS_MAX = 200


def facts_of(source: Source, record: Record, channels: Mapping[str, Channel]) -> list[ProducerRecord]:
    """The facts of one raw webhook, as records keyed by conversation. Raises `Undecodable`."""
    return _facts(source.route(record, channels), record)


def _facts(routed: Routed, record: Record) -> list[ProducerRecord]:
    trace = tuple((name, value) for name, value in record.headers if name in {"traceparent", "request-id"})
    return [
        topics.EVENTS.record(fact.conversation_id, fact, headers=(("id", fact.id.encode()), *trace))
        for fact in routed.facts
    ]


def dead_letter(record: Record, reason: str, attempts: int) -> ProducerRecord:
    """The record for `dlq.<topic>`: the record as received, with reason and origin."""
    return make_dead_letter(topics.dead_letters(record.topic), record, reason, attempts)


class Router:
    def __init__(self, bus: Bus, source: Source, *, counts: Counter[str] | None = None) -> None:
        self._bus = bus
        self._source = source
        self._parked = topics.parked_events(source.name)
        self._channels: Table[Channel] = Table(topics.CHANNELS, listener=self._on_channel)
        self._accounts: dict[str, Channel] = {}  # provider account → connected channel
        self._account_of: dict[str, str] = {}  # channel id → provider account
        self._parked_in_batch: list[Record] = []  # of this batch
        self._counts = Counter[str]() if counts is None else counts
        self._dead_lettered: list[tuple[Record, str]] = []  # of this batch, with the reason

    async def run(self, ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._channels.run, self._bus, _ChannelTableLifecycle(ctx))
            await self._channels.wait_until(await self._bus.end_offsets([topics.CHANNELS]))
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

    def _on_channel(self, key: str, channel: Channel | None) -> None:
        """Update the accounts incrementally: rebuilding them per channel would be quadratic at start-up."""
        account = self._account_of.pop(key, "")
        held = self._accounts.get(account)
        if held is not None and held.id == key:
            del self._accounts[account]
        if channel is not None and channel.connected and channel.source == self._source.name:
            self._accounts[channel.source_channel_id] = channel
            self._account_of[key] = channel.source_channel_id

    def _step(self, record: Record) -> Sequence[ProducerRecord]:
        self._counts["routed"] += 1
        routed = self._source.route(record, self._accounts)
        outputs = _facts(routed, record)
        if routed.unknown_accounts:
            self._parked_in_batch.append(record)
            self._counts["parked"] += 1
            headers = (*record.headers, ("origin", f"{record.topic}/{record.partition}/{record.offset}".encode()))
            outputs += [
                self._parked.record(account, record.value, headers=headers) for account in routed.unknown_accounts
            ]
        if routed.rest:
            outputs.append(self._dead_letter(record, "; ".join(routed.rest), 1))
        return outputs

    def _dead_letter(self, record: Record, reason: str, attempts: int) -> ProducerRecord:
        self._counts["dead_lettered"] += 1
        self._dead_lettered.append((record, reason[:REASON_CHARS_MAX]))
        return dead_letter(record, reason, attempts)

    async def _after(self, ctx: Context) -> Sequence[ProducerRecord] | None:
        dead, self._dead_lettered = self._dead_lettered, []
        if dead:
            record, reason = dead[0]
            ctx.log.warning("webhooks.dead_lettered", webhooks=len(dead), reason=reason, **_about(record))
        if self._parked_in_batch:
            ctx.log.info("webhooks.parked", webhooks=len(self._parked_in_batch), **_about(self._parked_in_batch[0]))
        return await self._route_parked_again()

    async def _route_parked_again(self) -> Sequence[ProducerRecord] | None:
        """The parked copies are durable now; route those whose account was connected before that."""
        if not self._parked_in_batch:
            return None
        doubtful, self._parked_in_batch = self._parked_in_batch, []
        await self._channels.wait_until(await self._bus.end_offsets([topics.CHANNELS]))
        return [fact for record in doubtful for fact in facts_of(self._source, record, self._accounts)]


def _about(record: Record) -> dict[str, object]:
    """Fields of a log line about a raw webhook."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "trace_id": trace_id_of(record.header("traceparent") or ""),
    }


class _ChannelTableLifecycle:
    """The lifecycle of the table: shares the router's progress and draining, but does not make it ready."""

    def __init__(self, ctx: Context) -> None:
        self.draining = ctx.draining
        self.progress = ctx.progress
        self.waiting = ctx.waiting

    def ready(self) -> None:
        pass
