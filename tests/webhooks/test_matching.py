"""Which webhooks receive a change."""

import pytest

from airy import topics
from airy.bus.record import Position, TopicPartition
from airy.errors import Refused
from airy.model.change import Change, ChangeKind
from airy.model.entity import Webhook
from airy.store.api import StoredChange
from airy.webhooks.matching import Matcher, canonical, check_events, subscription_start, wants

EVENTS = topics.EVENTS.name


def webhook(name: str = "a", **more: object) -> Webhook:
    return Webhook(id=name, url="https://a.example.com/", **{"status": "Subscribed", **more})  # type: ignore[arg-type]


def published(
    kind: ChangeKind = ChangeKind.MESSAGE_CREATED, *, offset: int = 0, partition: int = 0, at_ms: int = 0
) -> StoredChange:
    change = Change(id="id", kind=kind, lane="lane", sequence=1, at_ms=at_ms, body=b"{}")
    return StoredChange(Position(EVENTS, partition, offset), 0, change)


@pytest.mark.parametrize("name", ["message.created", "MESSAGE_CREATED", "message_created", " Message.Created "])
def test_names_are_read_as_the_original_read_them(name: str) -> None:
    assert canonical(name) == "message.created"
    assert check_events([name, "message.created"]) == ("message.created",)
    assert wants(webhook(events=(name,)), "message.created")


@pytest.mark.parametrize("name", ["", "message", "message.createdd", "message created"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        check_events(["tag.updated", name])
    assert refused.value.field == "events"


def test_names_that_were_accepted_but_never_sent_are_still_accepted() -> None:
    assert check_events(["metadata.item", "component_updated"]) == ("metadata.item", "component.updated")


@pytest.mark.parametrize("kind", ChangeKind)
def test_no_events_means_all_and_some_means_those(kind: ChangeKind) -> None:
    matcher = Matcher([webhook("all"), webhook("some", events=("tag.updated",)), webhook("off", status="Unsubscribed")])
    expected = ("all", "some") if kind is ChangeKind.TAG_UPDATED else ("all",)
    assert matcher.recipients(published(kind)) == expected


def test_a_subscription_starts_at_its_offset_in_each_partition() -> None:
    ends = {TopicPartition(EVENTS, partition): 10 * partition for partition in range(topics.EVENTS.partitions)}
    matcher = Matcher([webhook(since=subscription_start(ends), subscribed_at_ms=1_000)])
    for partition, offset, reached in ((0, 0, True), (1, 9, False), (1, 10, True), (15, 149, False), (15, 150, True)):
        for at_ms in (0, 999, 1_000, 2_000):
            found = matcher.recipients(published(partition=partition, offset=offset, at_ms=at_ms))
            assert found == (("a",) if reached else ())


def test_a_webhook_without_start_offsets_receives_every_change() -> None:
    assert Matcher([webhook()]).recipients(published()) == ("a",)
    assert Matcher([webhook(since={EVENTS: (5,)})]).recipients(published(partition=3)) == ("a",)


def test_end_offsets_become_the_start_of_a_subscription() -> None:
    ends = {TopicPartition("b", 1): 5, TopicPartition("b", 0): 4, TopicPartition("a", 0): 3}
    assert subscription_start(ends) == {"a": (3,), "b": (4, 5)}
