"""The poller: requests only changes and keeps only what is shown."""

import pytest

from airy.api_client import ApiClient
from airy.secret import Secret
from airy.tui.poll import COUNTS_EVERY, Poller, parse_metrics
from airy.tui.view_model import CONVERSATIONS_MAX, MESSAGES_MAX, ReadinessView
from tests.kit.fake_instance import FakeInstance

URL = "http://127.0.0.1:8080"


def poller(instance: FakeInstance, token: str | None = None) -> Poller:
    return Poller(ApiClient(instance, URL, Secret(token) if token else None))


async def test_the_model_lists_conversations_by_activity_with_messages_in_order() -> None:
    instance = FakeInstance()
    instance.conversation("a", "Ada", unread=2)
    instance.conversation("b", "Bob")
    instance.message("a", "a1", {"message": {"text": "hello"}})
    instance.message("b", "b1", {"message": {"text": "hi"}})
    instance.message("a", "a2", {"text": "hello back"}, from_contact=False, state="pending")

    model = await poller(instance).poll()

    assert [(conversation.name, conversation.unread) for conversation in model.rows] == [("Ada", 2), ("Bob", 0)]
    assert [(line.text, line.inbound, line.state) for line in model.rows[0].lines] == [
        ("hello", True, ""),
        ("hello back", False, "pending"),
    ]
    assert model.conversations == 2
    assert model.health == ReadinessView(ready=True)


async def test_messages_are_requested_only_for_changed_conversations() -> None:
    instance = FakeInstance()
    for name in ("a", "b", "c"):
        instance.conversation(name, name)
        instance.message(name, f"{name}1", {"text": "x"})
    polling = poller(instance)

    await polling.poll()
    assert instance.asked["/messages.list"] == 3
    await polling.poll()
    assert instance.asked["/messages.list"] == 3
    instance.message("b", "b2", {"text": "y"})
    model = await polling.poll()

    assert instance.asked["/messages.list"] == 4
    assert model.rows[0].lines[-1].text == "y"


async def test_a_receipt_for_an_older_message_is_shown_and_polling_it_ends() -> None:
    """It changes no conversation entry, so unsettled messages are polled until they settle."""
    instance = FakeInstance()
    instance.conversation("a", "Ada")
    instance.message("a", "m1", {"text": "one"}, from_contact=False)
    instance.message("a", "m2", {"message": {"text": "two"}})
    polling = poller(instance)
    await polling.poll()

    instance.receipt("a", "m1", "read")
    model = await polling.poll()

    assert model.rows[0].lines[0].state == "read"
    before = instance.asked["/messages.list"]
    await polling.poll()
    assert instance.asked["/messages.list"] == before


async def test_an_unreachable_instance_keeps_the_last_model_with_the_error() -> None:
    instance = FakeInstance()
    instance.conversation("a", "Ada")
    polling = poller(instance)
    await polling.poll()

    instance.down = True
    unreachable = await polling.poll()
    instance.down = False
    found = await polling.poll()

    assert unreachable.unreachable == "127.0.0.1: connection refused"
    assert [conversation.name for conversation in unreachable.rows] == ["Ada"]
    assert found.unreachable == ""


async def test_a_wrong_token_shows_the_error_of_the_api() -> None:
    model = await poller(FakeInstance(token="right"), "wrong").poll()

    assert model.unreachable.startswith("/conversations.list answered 403: forbidden: the token is not valid")


async def test_the_poller_keeps_only_what_is_shown() -> None:
    instance = FakeInstance()
    polling = poller(instance)
    for number in range(100):
        instance.conversation(str(number), f"contact {number}")
        for each in range(6):
            instance.message(str(number), f"{number}.{each}", {"text": "x"})
        model = await polling.poll()

    assert len(model.rows) == CONVERSATIONS_MAX == len(polling._seen)
    assert all(len(conversation.lines) == MESSAGES_MAX for conversation in model.rows)
    assert model.conversations == 100


async def test_counts_are_requested_every_few_rounds() -> None:
    instance = FakeInstance()
    instance.counts = {"airy_messages": 7.0}
    polling = poller(instance)

    for _ in range(COUNTS_EVERY * 2):
        model = await polling.poll()

    assert model.counts == (("messages", 7),)
    assert instance.asked["/metrics"] == 2


async def test_process_counts_are_shown_for_several_processes() -> None:
    alone, many = FakeInstance(), FakeInstance()
    alone.counts = {"airy_processes": 1.0, "airy_processes_stale": 0.0}
    many.counts = {"airy_processes": 8.0, "airy_processes_stale": 1.0}

    assert (await poller(alone).poll()).counts == ()
    assert (await poller(many).poll()).counts == (("processes", 8), ("stale", 1))


async def test_waiting_reasons_are_shown_while_not_ready() -> None:
    instance = FakeInstance()
    instance.waiting_for = {"store": "folding 12000 records"}

    model = await poller(instance).poll()

    assert model.health == ReadinessView(ready=False, reasons="store: folding 12000 records")


@pytest.mark.parametrize(
    ("text", "samples"),
    [("", {}), ("# TYPE a counter\na 1\n", {"a": 1.0}), ('b{what="c d"} 2.5\n', {'b{what="c d"}': 2.5})],
)
def test_metrics_are_parsed_from_the_exposition_format(text: str, samples: dict[str, float]) -> None:
    assert parse_metrics(text) == samples
