"""Clients of events that reconnect through any replica miss no change and receive none twice.

`EVENT_SEEDS` is the number of seeds, `AIRY_SEED` the first; `make events SEEDS=2000` runs more. A failing seed prints
the command that replays it.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from airy.actors import change_feed, feed_position
from airy.actors.broadcaster import Broadcaster
from airy.actors.feed_position import FeedPosition, LastChange, position_at
from airy.actors.feed_subscriber import FeedMark, Subscriber
from tests.sim.event_history import EventHistory, Received
from tests.sim.event_simulation import EventSimulation
from tests.sim.seeded_histories import SeededHistories, by_name

HISTORIES = SeededHistories(EventSimulation, "EVENT_SEEDS", __file__)
FAST_SEEDS = 8
PLANTED_SEEDS_MAX = 40

pytestmark = pytest.mark.timeout(600)


def test_no_change_is_missed_or_doubled_in_a_few_histories() -> None:
    HISTORIES.check(range(FAST_SEEDS))


@pytest.mark.slow
@pytest.mark.parametrize("block", HISTORIES.blocks)
def test_no_change_is_missed_or_doubled(block: int) -> None:
    HISTORIES.check_block(block)


@pytest.mark.slow
def test_histories_contain_the_cases_the_rule_is_about() -> None:
    """Sessions that continued with events, resyncs, slow clients, and replicas that were behind a position."""
    histories = [client.history for seed in range(24) for client in HISTORIES.simulate(seed).event_clients]

    assert sum(history.resumed for history in histories) > 100
    assert sum(history.resyncs for history in histories) > 5
    assert sum(history.unavailable for history in histories) > 5
    assert sum(history.slow for history in histories) > 0
    assert sum(len(stretch.events) for history in histories for stretch in history.stretches) > 1_000


# --- planted bugs: the rule must find each of them


def repeat_what_the_client_has(patch: pytest.MonkeyPatch) -> None:
    """A client that is ahead of the broadcaster is not recognised."""
    patch.setattr(change_feed._Subscription, "_is_seen", lambda self, item: False)


def join_without_reading_the_rest(patch: pytest.MonkeyPatch) -> None:
    """What the broadcaster handed out between the last read of the store and the join is not read."""

    async def join(self: Any, joined: FeedPosition) -> None:
        self._ahead, self._position = {}, joined

    patch.setattr(change_feed._Subscription, "_read_up_to", join)


def stop_behind_the_event_that_did_not_fit(patch: pytest.MonkeyPatch) -> None:
    """A subscriber whose queue is full continues after the event that was not queued."""
    stop = Broadcaster._stop

    def late(self: Broadcaster, subscriber: Subscriber, at: FeedPosition | None) -> None:
        stop(self, subscriber, at and self._position)

    patch.setattr(Broadcaster, "_stop", late)


def forget_how_much_of_a_record_was_delivered(patch: pytest.MonkeyPatch) -> None:
    """Between two changes of one record, a position is that before the record."""
    patch.setattr(FeedPosition, "after", lambda self, index: (self.offsets[index], -1))


def take_the_first_change_of_a_record_for_all(patch: pytest.MonkeyPatch) -> None:
    with_change = FeedPosition.with_change

    def complete(self: FeedPosition, index: int, stored: Any, *, complete: bool) -> FeedPosition:
        return with_change(self, index, stored, complete=True)

    patch.setattr(FeedPosition, "with_change", complete)


def continue_where_changes_were_pruned(patch: pytest.MonkeyPatch) -> None:
    async def nothing_pruned(_store: Any) -> dict[Any, int]:
        return {}

    patch.setattr("airy.store.sqlite.SqliteStore.pruned_below", nothing_pruned)


def wait_for_no_fold(patch: pytest.MonkeyPatch) -> None:
    """A process that has not folded a position takes it for its own."""

    async def folded(_self: Any, _position: FeedPosition) -> bool:
        return True

    async def recognised(*_: Any) -> bool:
        return True

    patch.setattr(change_feed._Subscription, "_folded", folded)
    patch.setattr(change_feed._Subscription, "_recognised", recognised)
    patch.setattr(change_feed._Subscription, "_is_seen", lambda self, item: False)


def send_positions_before_what_is_queued(patch: pytest.MonkeyPatch) -> None:
    """A position overtakes the events in front of it."""
    offer = Subscriber.offer

    def overtaking(self: Subscriber, item: Any) -> bool:
        if not isinstance(item, FeedMark):
            return offer(self, item)
        self.mailbox._data.messages.appendleft(item)
        return True

    patch.setattr(Subscriber, "offer", overtaking)


PLANTED = by_name(
    repeat_what_the_client_has,
    join_without_reading_the_rest,
    stop_behind_the_event_that_did_not_fit,
    forget_how_much_of_a_record_was_delivered,
    take_the_first_change_of_a_record_for_all,
    continue_where_changes_were_pruned,
    wait_for_no_fold,
    send_positions_before_what_is_queued,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    HISTORIES.must_find(PLANTED[name], monkeypatch, seeds_max=PLANTED_SEEDS_MAX)


# --- the rule itself

TP = feed_position.PARTITIONS[0]
LOG = [Received(TP, (offset, nth), f"{offset}-{nth}") for offset in range(1, 4) for nth in range(2)]
EXPECTED = {tp: LOG if tp == TP else [] for tp in feed_position.PARTITIONS}


def history(*events: Received, start: int = 0) -> EventHistory:
    made = EventHistory()
    made.connect()
    made.mark(False, position_at({TP: start}))
    for event in events:
        made.add(event)
    return made


def after_a_resync(before: list[Received], start: FeedPosition, after: list[Received]) -> EventHistory:
    made = history(*before)
    made.connect()
    made.mark(True, start)
    for event in after:
        made.add(event)
    return made


INSIDE_A_RECORD = FeedPosition(position_at({TP: 2}).offsets, LastChange(0, 2, 0, 0))

WRONG: Mapping[str, EventHistory] = {
    "a missed event": history(*LOG[:2], *LOG[3:]),
    "a missed last event": history(*LOG[:-1]),
    "a repeated event": history(*LOG[:3], *LOG[2:]),
    "events out of order": history(LOG[1], LOG[0], *LOG[2:]),
    "an unknown event": history(*LOG, Received(TP, (9, 0), "9-0")),
    "an event before the first position": history(*LOG, start=2),
    "a gap before a resync": after_a_resync([LOG[0], LOG[2]], position_at({TP: 3}), LOG[4:]),
    "a resync that repeats": after_a_resync(LOG[:4], position_at({TP: 2}), LOG[2:]),
    "a missed event after a resync": after_a_resync(LOG[:2], position_at({TP: 2}), LOG[3:]),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_deviation_is_a_violation(name: str) -> None:
    assert WRONG[name].violations(EXPECTED) != []


@pytest.mark.parametrize(
    "possible",
    [
        history(*LOG),
        history(*LOG[2:], start=2),
        after_a_resync(LOG[:1], position_at({TP: 3}), LOG[4:]),
        after_a_resync(LOG[:4], position_at({TP: 2}), LOG[4:]),
        after_a_resync(LOG[:1], INSIDE_A_RECORD, LOG[3:]),
    ],
)
def test_a_possible_history_has_no_violation(possible: EventHistory) -> None:
    assert possible.violations(EXPECTED) == []
