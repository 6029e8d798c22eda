"""Dead letters of the log: list, inspect, replay, discard.

A dead letter topic is read when it is needed, the last `SCAN_OFFSETS_MAX` offsets of each partition: dead letters are
rare, and no store folds them. Replaying appends the original record to its topic and then a resolution to the dead
letter topic. A crash in between leaves the dead letter open; replaying it again is harmless, because facts are ignored
by id and raw webhooks yield the same facts again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import anyio
import structlog
from msgspec import Struct
from msgspec.structs import replace

from airy import topics
from airy.bus.api import Bus
from airy.bus.dead_letter import Outcome, Resolution, StoredDeadLetter, decode, replay_record, resolution_record
from airy.bus.record import Position, Record, TopicPartition
from airy.bus.topic import Topic
from airy.clock import Clock
from airy.commands.errors import NotFound
from airy.errors import Unavailable
from airy.trace import trace_id_of

SCAN_OFFSETS_MAX = 2_500  # of one partition: bounds the memory of a scan
SCAN_S = 30.0
FETCH_S = 1.0
AT_ONCE_MAX = 100  # replayed or discarded by one call

State = Literal["open", "replayed", "discarded"]
Result = Literal["replayed", "discarded", "already_replayed", "already_discarded"]

log = structlog.get_logger("airy.commands")


class DeadLetterSummary(Struct, frozen=True, kw_only=True):
    """A dead letter without key, headers and value."""

    id: str
    position: Position
    key: str
    reason: str
    attempts: int
    first_seen_ms: int
    dead_lettered_at_ms: int
    trace_id: str  # empty without one
    size_bytes: int
    stored_at: Position
    state: State = "open"
    resolved_at_ms: int | None = None
    resolved_by: str = ""  # id of the caller; empty: unknown
    resolution_reason: str = ""

    @property
    def sort_key(self) -> tuple[int, str]:
        return self.dead_lettered_at_ms, self.id


class DeadLetterList(Struct, frozen=True):
    """Newest first. Not `complete`: older dead letters exist that were not read."""

    letters: Sequence[DeadLetterSummary]
    complete: bool


class DeadLetterOutcome(Struct, frozen=True):
    id: str
    result: Result
    position: Position | None = None  # of the replayed record


class DeadLetterCommands:
    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._one_scan = anyio.Lock()  # bounds memory and load however many callers list

    async def find_all(self, topic: str | None = None, state: State | None = None) -> DeadLetterList:
        """The dead letters of records of `topic`, or all. Raises `NotFound` for a topic without dead letters."""
        if topic is None:
            read: Iterable[Topic[bytes]] = topics.DEAD_LETTERS
        else:
            read = [_dead_letter_topic(topic, "topic")]
        found, complete = await self._scan(read)
        letters = [
            letter
            for letter in found
            if (topic is None or letter.position.topic == topic) and (state is None or letter.state == state)
        ]
        letters.sort(key=lambda letter: letter.sort_key, reverse=True)
        return DeadLetterList(letters, complete)

    async def get(self, letter_id: str) -> tuple[DeadLetterSummary, StoredDeadLetter]:
        """A dead letter with its content. Raises `NotFound`."""
        [summary] = await self._summaries([letter_id])
        return summary, (await self._load([summary]))[summary.id]

    async def replay(self, letter_ids: Sequence[str], *, actor: str) -> Sequence[DeadLetterOutcome]:
        """Replay up to `AT_ONCE_MAX` dead letters, in the order of the original records. `actor`: id of the caller.

        Raises `NotFound` before anything is appended.
        """
        return await self._resolve(letter_ids, "replayed", actor, "")

    async def discard(self, letter_ids: Sequence[str], *, actor: str, reason: str = "") -> Sequence[DeadLetterOutcome]:
        """Mark up to `AT_ONCE_MAX` dead letters as discarded. Raises `NotFound` before anything is appended."""
        return await self._resolve(letter_ids, "discarded", actor, reason)

    async def _resolve(
        self, letter_ids: Sequence[str], outcome: Outcome, actor: str, reason: str
    ) -> Sequence[DeadLetterOutcome]:
        summaries = await self._summaries(letter_ids)
        unresolved = [summary for summary in summaries if summary.state == "open"]
        loaded = await self._load(sorted(unresolved, key=lambda summary: summary.position))
        positions = await self._replay(list(loaded.values())) if outcome == "replayed" else {}
        if loaded:
            await self._bus.publish(
                [resolution_record(letter, outcome, actor=actor, reason=reason) for letter in loaded.values()]
            )
        for letter in loaded.values():
            if outcome == "replayed":
                log.info("dead_letter.replayed", id=letter.id, reason=letter.reason, actor=actor)
            else:
                log.info("dead_letter.discarded", id=letter.id, reason=letter.reason, actor=actor, because=reason)
        return [_outcome(summary, outcome, positions.get(summary.id)) for summary in summaries]

    async def _replay(self, letters: Sequence[StoredDeadLetter]) -> Mapping[str, Position]:
        now_ms = self._clock.now_ms()
        records = [replay_record(letter, _original_topic(letter), now_ms) for letter in letters]
        positions = await self._bus.publish(records) if records else []
        return {letter.id: position for letter, position in zip(letters, positions, strict=True)}

    async def _summaries(self, letter_ids: Sequence[str]) -> Sequence[DeadLetterSummary]:
        wanted = dict.fromkeys(letter_ids)
        read = {topic.name: topic for each in wanted for topic in [_dead_letter_topic(each.partition("/")[0], "id")]}
        found, _ = await self._scan(read.values())
        by_id = {letter.id: letter for letter in found}
        for each in wanted:
            if each not in by_id:
                raise NotFound(f"there is no dead letter {each[:128]}", field="id")
        return [by_id[each] for each in wanted]

    async def _load(self, summaries: Sequence[DeadLetterSummary]) -> dict[str, StoredDeadLetter]:
        """The dead letters by id, in the order of `summaries`."""
        loaded = {}
        for summary in summaries:
            tp, offset = summary.stored_at.topic_partition, summary.stored_at.offset
            found: list[Record] = []
            await self._read({tp: offset}, {tp: offset + 1}, found.append)
            letter = decode(found[0]) if found else None
            if not isinstance(letter, StoredDeadLetter):
                raise NotFound(f"the dead letter {summary.id} is no longer in the log", field="id")
            loaded[summary.id] = letter
        return loaded

    async def _scan(self, read: Iterable[Topic[bytes]]) -> tuple[list[DeadLetterSummary], bool]:
        letters: list[DeadLetterSummary] = []
        complete = True
        async with self._one_scan:
            for topic in read:
                found, whole = await self._scan_topic(topic)
                letters += found
                complete = complete and whole
        return letters, complete

    async def _scan_topic(self, topic: Topic[bytes]) -> tuple[list[DeadLetterSummary], bool]:
        begins, ends = await self._bus.beginning_offsets([topic]), await self._bus.end_offsets([topic])
        starts = {tp: max(begins[tp], end - SCAN_OFFSETS_MAX) for tp, end in ends.items()}
        complete = all(starts[tp] == begins[tp] for tp in starts)
        letters: dict[str, DeadLetterSummary] = {}
        resolutions: dict[str, Resolution] = {}

        def take(record: Record) -> None:
            found = decode(record)
            if isinstance(found, Resolution):
                resolutions.setdefault(found.id, found)
            else:  # the first of those that several processes wrote
                letters.setdefault(found.id, _summary(found))

        await self._read(starts, ends, take)
        return [_resolved(letter, resolutions.get(letter.id)) for letter in letters.values()], complete

    async def _read(
        self,
        starts: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        take: Callable[[Record], None],
    ) -> None:
        """Take the records from `starts` to `ends`. Raises `Unavailable` if the log does not return them in time."""
        with anyio.move_on_after(SCAN_S):
            async with self._bus.tail(starts) as tail:
                while any(tail.position(tp) < ends[tp] for tp in starts):
                    for record in await tail.fetch(records_max=500, wait_s=FETCH_S):
                        if record.offset < ends[record.topic_partition]:
                            take(record)
            return
        raise Unavailable(f"the dead letters could not be read within {SCAN_S:g} s")


def _dead_letter_topic(topic: str, field: str) -> Topic[bytes]:
    found = topics.dead_letters_of(topic)
    if found is None:
        raise NotFound(f"there are no dead letters of {topic[:128]!r}", field=field)
    return found


def _original_topic(letter: StoredDeadLetter) -> Topic[bytes]:
    found = topics.BY_NAME.get(letter.position.topic)
    if found is None:
        raise NotFound(f"there is no topic {letter.position.topic!r} to replay {letter.id} to", field="id")
    return found


def _summary(letter: StoredDeadLetter) -> DeadLetterSummary:
    traceparents = [value for name, value in letter.headers if name == "traceparent"]
    return DeadLetterSummary(
        id=letter.id,
        position=letter.position,
        key=letter.key.decode("utf-8", "backslashreplace"),
        reason=letter.reason,
        attempts=letter.attempts,
        first_seen_ms=letter.first_seen_ms,
        dead_lettered_at_ms=letter.dead_lettered_at_ms,
        trace_id=trace_id_of(traceparents[-1].decode("latin-1")) if traceparents else "",
        size_bytes=len(letter.value or b""),
        stored_at=letter.stored_at,
    )


def _resolved(letter: DeadLetterSummary, resolution: Resolution | None) -> DeadLetterSummary:
    if resolution is None:
        return letter
    return replace(
        letter,
        state=resolution.outcome,
        resolved_at_ms=resolution.at_ms,
        resolved_by=resolution.actor,
        resolution_reason=resolution.reason,
    )


def _outcome(summary: DeadLetterSummary, outcome: Outcome, position: Position | None) -> DeadLetterOutcome:
    if summary.state == "open":
        return DeadLetterOutcome(summary.id, outcome, position)
    return DeadLetterOutcome(summary.id, "already_replayed" if summary.state == "replayed" else "already_discarded")
