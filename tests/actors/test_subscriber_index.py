"""Candidates for a change are exactly the subscribers that may want it, and nothing is kept of those that left."""

from random import Random

from airy.actors.feed_subscriber import FeedLimits, FeedScope, Subscriber
from airy.actors.subscriber_index import SubscriberIndex
from airy.model.change import Change, ChangeKind

CONVERSATIONS = ("a", "b", "c")


def change(lane: str) -> Change:
    return Change(id="c", kind=ChangeKind.MESSAGE_CREATED, lane=lane, sequence=1, at_ms=1, body=b"{}")


def test_a_change_finds_everything_whose_scope_contains_it() -> None:
    random, index = Random(7), SubscriberIndex()
    joined: list[Subscriber] = []
    for _ in range(500):
        if joined and random.random() < 0.4:
            index.discard(joined.pop(random.randrange(len(joined))))
        else:
            followed = frozenset(random.sample(CONVERSATIONS, random.randrange(3)))
            joined.append(Subscriber(FeedScope(conversations=followed), FeedLimits()))
            index.add(joined[-1])
        assert list(index) == joined
        for lane in (*CONVERSATIONS, "none"):
            wanted = [each for each in joined if each.scope.contains(change(lane))]
            assert set(index.candidates(change(lane))) == set(wanted)
    for each in joined:
        index.discard(each)
        index.discard(each)
    assert (len(index), index._of_conversation) == (0, {})
