"""The poller: sees what changed, asks for no more than that, holds no more than is shown."""

import pytest

from airy.client import Client
from airy.secret import Secret
from airy.tui.picture import CONVERSATIONS_MAX, MESSAGES_MAX, Health
from airy.tui.poll import COUNTS_EVERY, Poller, parse_metrics
from tests.kit.instance import Instance

URL = "http://127.0.0.1:8080"


def poller(instance: Instance, token: str | None = None) -> Poller:
    return Poller(Client(instance, URL, Secret(token) if token else None))


async def test_the_picture_shows_conversations_by_activity_with_their_messages_in_order() -> None:
    instance = Instance()
    instance.conversation("a", "Ada", unread=2)
    instance.conversation("b", "Bob")
    instance.message("a", "a1", {"message": {"text": "hello"}})
    instance.message("b", "b1", {"message": {"text": "hi"}})
    instance.message("a", "a2", {"text": "hello back"}, from_contact=False, state="pending")

    picture = await poller(instance).poll()

    assert [(talk.name, talk.unread) for talk in picture.talks] == [("Ada", 2), ("Bob", 0)]
    assert [(line.text, line.inbound, line.state) for line in picture.talks[0].lines] == [
        ("hello", True, ""),
        ("hello back", False, "pending"),
    ]
    assert picture.conversations == 2
    assert picture.health == Health(ready=True)


async def test_messages_are_only_asked_for_where_something_changed() -> None:
    instance = Instance()
    for name in ("a", "b", "c"):
        instance.conversation(name, name)
        instance.message(name, f"{name}1", {"text": "x"})
    polling = poller(instance)

    await polling.poll()
    assert instance.asked["/messages.list"] == 3
    await polling.poll()
    assert instance.asked["/messages.list"] == 3
    instance.message("b", "b2", {"text": "y"})
    picture = await polling.poll()

    assert instance.asked["/messages.list"] == 4
    assert picture.talks[0].lines[-1].text == "y"


async def test_a_receipt_for_an_older_message_is_seen_and_then_left_alone() -> None:
    """It changes no conversation entry, so messages in flight are looked at until they are settled."""
    instance = Instance()
    instance.conversation("a", "Ada")
    instance.message("a", "m1", {"text": "one"}, from_contact=False)
    instance.message("a", "m2", {"message": {"text": "two"}})
    polling = poller(instance)
    await polling.poll()

    instance.receipt("a", "m1", "read")
    picture = await polling.poll()

    assert picture.talks[0].lines[0].state == "read"
    before = instance.asked["/messages.list"]
    await polling.poll()
    assert instance.asked["/messages.list"] == before


async def test_an_instance_that_is_down_leaves_the_last_picture_and_says_so() -> None:
    instance = Instance()
    instance.conversation("a", "Ada")
    polling = poller(instance)
    await polling.poll()

    instance.down = True
    lost = await polling.poll()
    instance.down = False
    found = await polling.poll()

    assert lost.lost == "127.0.0.1: connection refused"
    assert [talk.name for talk in lost.talks] == ["Ada"]
    assert found.lost == ""


async def test_a_wrong_token_is_told_in_the_words_of_the_api() -> None:
    picture = await poller(Instance(token="right"), "wrong").poll()

    assert picture.lost == "/conversations.list answered 403: forbidden"


async def test_what_is_kept_is_bounded_by_what_is_shown() -> None:
    instance = Instance()
    polling = poller(instance)
    for number in range(100):
        instance.conversation(str(number), f"contact {number}")
        for each in range(6):
            instance.message(str(number), f"{number}.{each}", {"text": "x"})
        picture = await polling.poll()

    assert len(picture.talks) == CONVERSATIONS_MAX == len(polling._seen)
    assert all(len(talk.lines) == MESSAGES_MAX for talk in picture.talks)
    assert picture.conversations == 100


async def test_counts_are_asked_for_every_few_rounds() -> None:
    instance = Instance()
    instance.counts = {"airy_messages": 7.0}
    polling = poller(instance)

    for _ in range(COUNTS_EVERY * 2):
        picture = await polling.poll()

    assert picture.counts == (("messages", 7),)
    assert instance.asked["/metrics"] == 2


async def test_processes_are_counted_where_there_are_several() -> None:
    alone, many = Instance(), Instance()
    alone.counts = {"airy_processes": 1.0, "airy_processes_silent": 0.0}
    many.counts = {"airy_processes": 8.0, "airy_processes_silent": 1.0}

    assert (await poller(alone).poll()).counts == ()
    assert (await poller(many).poll()).counts == (("processes", 8), ("silent", 1))


async def test_what_it_waits_for_is_shown_while_it_is_not_ready() -> None:
    instance = Instance()
    instance.waiting_for = {"store": "folding 12000 records"}

    picture = await poller(instance).poll()

    assert picture.health == Health(ready=False, words="store: folding 12000 records")


@pytest.mark.parametrize(
    ("text", "samples"),
    [("", {}), ("# TYPE a counter\na 1\n", {"a": 1.0}), ('b{what="c d"} 2.5\n', {'b{what="c d"}': 2.5})],
)
def test_metrics_are_read_as_they_are_exposed(text: str, samples: dict[str, float]) -> None:
    assert parse_metrics(text) == samples
