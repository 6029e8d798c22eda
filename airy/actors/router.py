"""Turns the raw webhooks of one source into facts. A transform: all decisions are in the source's `route`.

At least once: a webhook read again after a crash yields the same facts with the same ids, which the fold ignores.
Webhooks of accounts without a connected channel are parked (see parked_replayer.py), undecodable ones dead-lettered;
what says nothing to keep, such as a receipt for no message, is counted and logged. A webhook that brings events of
another source's kind is handed over: appended to that source's events, once.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial

from airy import topics
from airy.actors.channel_directory import ChannelDirectory
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.dead_letter import make_dead_letter
from airy.bus.loops import MakeDeadLetter, apply_step, transform
from airy.bus.origin import origin_header
from airy.bus.record import ProducerRecord, Record
from airy.sources.api import AccountKey, Channels, Routed, WebhookSource
from airy.sources.catalogue import BY_KIND
from airy.trace import trace_id_of

REASON_CHARS_MAX = 200
HANDED_OVER = "handed-over-by"
"""The header of a record that another source's router appended; its value is that source."""


def facts_of(routed: Routed, record: Record) -> list[ProducerRecord]:
    """The facts of one raw webhook, as records keyed by conversation, with the position of the webhook."""
    kept = tuple((name, value) for name, value in record.headers if name in {"traceparent", "request-id"})
    origin = origin_header(record)
    return [
        topics.EVENTS.record(fact.conversation_id, fact, headers=(("id", fact.id.encode()), *kept, origin))
        for fact in routed.facts
    ]


def outputs_of(routed: Routed, record: Record, dead_letter: MakeDeadLetter) -> list[ProducerRecord]:
    """The facts of one raw webhook, and a dead letter if it has parts that cannot be read."""
    outputs = facts_of(routed, record)
    if routed.unreadable:
        outputs.append(dead_letter(record, "; ".join(routed.unreadable), 1))
    return outputs


def dead_letter(record: Record, reason: str, attempts: int) -> ProducerRecord:
    """The record for `dlq.<topic>`: the record as received, with reason and origin."""
    return make_dead_letter(topics.dead_letters(record.topic), record, reason, attempts)


class Router:
    def __init__(
        self, bus: Bus, source: WebhookSource, directory: ChannelDirectory, *, counts: Counter[str] | None = None
    ) -> None:
        self._bus = bus
        self._source = source
        self._directory = directory
        self._identities = directory.identities()
        self._channels = directory.channels  # of this batch
        self._lookup: Channels = self._channels  # likewise, with the names in its records
        self._name = source.spec.name
        self._parked = topics.parked_events(self._name)
        self._parked_in_batch: list[Record] = []  # of this batch
        self._counts = Counter[str]() if counts is None else counts
        self._dead_lettered: list[tuple[Record, str]] = []  # of this batch, with the reason
        self._noted: list[tuple[Record, str]] = []  # likewise: webhooks with parts that say nothing to keep

    async def run(self, ctx: Context) -> None:
        await transform(
            self._bus,
            ctx,
            [topics.source_events(self._name)],
            group=topics.source_group(self._name, "router"),
            step=self._step,
            dead_letter=self._dead_letter,
            before=self._before,
            after=partial(self._after, ctx),
        )

    async def _before(self, records: Sequence[Record]) -> None:
        self._channels = await self._directory.refresh()
        self._lookup = await self._identities.prepare(self._source, records, self._channels)

    def _route(self, record: Record) -> Routed:
        routed = self._source.route(record, self._lookup)
        self._identities.learn(routed.facts)
        return routed

    def _step(self, record: Record) -> Sequence[ProducerRecord]:
        self._counts["routed"] += 1
        routed = self._route(record)
        outputs = facts_of(routed, record)
        parked = [key.account for key in routed.unknown if self._source.spec.kind(key.kind) is not None]
        if parked:
            self._parked_in_batch.append(record)
            self._counts["parked"] += 1
            headers = (*record.headers, origin_header(record))
            outputs += [
                self._parked.record(account, record.value, headers=headers, timestamp_ms=record.timestamp_ms)
                for account in parked
            ]
        if routed.noted:
            self._counts["noted"] += 1
            self._noted.append((record, "; ".join(routed.noted)[:REASON_CHARS_MAX]))
        unreadable = list(routed.unreadable)
        for key in routed.unknown:
            if self._source.spec.kind(key.kind) is None:
                outputs += self._hand_over(record, key, unreadable)
        if unreadable:
            outputs.append(self._dead_letter(record, "; ".join(unreadable), 1))
        return outputs

    def _hand_over(self, record: Record, key: AccountKey, unreadable: list[str]) -> list[ProducerRecord]:
        """Only to a source that expects events of this webhook: access lists allow no other, and a refused write
        would hold up all webhooks of this source.
        """
        owner = BY_KIND.get(key.kind)
        if owner is None or self._name not in owner.arrives_with or record.header(HANDED_OVER) is not None:
            unreadable.append(
                f"{key.account}: events of {key.kind} accounts are not taken at the webhook of {self._name}"
            )
            return []
        self._counts["handed_over"] += 1
        headers = (*record.headers, (HANDED_OVER, self._name.encode()))
        events = topics.source_events(owner.name)
        return [events.record(key.account, record.value, headers=headers, timestamp_ms=record.timestamp_ms)]

    def _dead_letter(self, record: Record, reason: str, attempts: int) -> ProducerRecord:
        self._counts["dead_lettered"] += 1
        self._dead_lettered.append((record, reason[:REASON_CHARS_MAX]))
        return dead_letter(record, reason, attempts)

    async def _after(self, ctx: Context) -> None:
        parked, self._parked_in_batch = self._parked_in_batch, []
        if parked:
            ctx.log.info("webhooks.parked", webhooks=len(parked), **_about(parked[0]))
            await self._route_again(parked)
        noted, self._noted = self._noted, []
        if noted:
            record, reason = noted[0]
            ctx.log.info("webhooks.noted", webhooks=len(noted), reason=reason, **_about(record))
        dead, self._dead_lettered = self._dead_lettered, []
        if dead:
            record, reason = dead[0]
            ctx.log.warning("webhooks.dead_lettered", webhooks=len(dead), reason=reason, **_about(record))

    async def _route_again(self, parked: Sequence[Record]) -> None:
        """The parked copies are durable now; route those whose account was connected before that."""
        channels = await self._directory.current()
        if channels is self._channels:  # no channel was written meanwhile
            return
        self._lookup = await self._identities.prepare(self._source, parked, channels)

        def step(record: Record) -> Sequence[ProducerRecord]:
            return outputs_of(self._route(record), record, self._dead_letter)

        await apply_step(self._bus, parked, step, self._dead_letter)


def _about(record: Record) -> dict[str, object]:
    """Fields of a log line about a raw webhook."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "trace_id": trace_id_of(record.header("traceparent") or ""),
    }
