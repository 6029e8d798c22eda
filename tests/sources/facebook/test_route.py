"""What a webhook means does not depend on how, when or how often it is told; and no bytes can break the router."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.bus.record import Record
from airy.errors import Undecodable
from airy.model import ids
from airy.model.fact import EventNoted, Fact, MessageReceived, ReactionChanged, ReceiptReported
from airy.model.fold import fold
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import AccountKey, Routed
from tests.kit.contracts.source import raw_record, written
from tests.kit.fold import DictState
from tests.kit.providers import WIRES

PAGE, PERSON = "204918377001", "6120000000000001"
SOURCE = WIRES["facebook"].source()
CHANNEL = WIRES["facebook"].channel(PAGE)
CONNECTED = ConnectedChannels([CHANNEL])


def element(**nodes: object) -> dict[str, object]:
    return {"sender": {"id": PERSON}, "recipient": {"id": PAGE}, "timestamp": 1735689600987, **nodes}


def envelope(*elements: object, **entry: object) -> dict[str, object]:
    return {"object": "page", "entry": [{"id": PAGE, "time": 1735689601123, "messaging": list(elements), **entry}]}


def route(document: object) -> Routed:
    body = document if isinstance(document, bytes) else written(document)
    return SOURCE.route(raw_record(SOURCE, body), CONNECTED)


def only(document: object) -> Fact:
    (fact,) = route(document).facts
    return fact


def test_worked_example() -> None:
    """The ids that a migration relies on."""
    fact = only(envelope(element(message={"mid": "m_AbC-001", "text": "Is the rye bread back?"})))
    assert fact.channel_id == "6f973ffe-278a-5633-ab33-c1b7e8e83f1d"
    assert fact.conversation_id == "cf154b30-934f-5b40-be6b-6f0a6a8b9d32"
    assert fact.id == "204dbadf-3875-5fa5-8c20-279c22b79554"


def test_the_cause_is_the_request_or_else_the_record() -> None:
    body = written(envelope(element(message={"mid": "m", "text": "x"})))
    headers = (("request-id", b"r-7"),)
    named = Record("source.facebook.events", 3, 14, b"", body, headers, 1)
    unnamed = Record("source.facebook.events", 3, 14, b"", body, (), 1)
    causes = [SOURCE.route(record, CONNECTED).facts[0].cause for record in (named, unnamed)]
    assert causes == ["r-7", "source.facebook.events[3]@14"]


def test_a_message_is_the_same_in_whatever_envelope() -> None:
    """Batched with others, at another time, in standby, with the element's keys in another order."""
    one = element(message={"mid": "m_1", "text": "x"})
    turned = dict(reversed(one.items()))
    told = [
        envelope(one),
        envelope(element(read={"watermark": 1735689600500}), one),
        envelope(one, time=9),
        envelope(messaging=[], standby=[one]),
        envelope(turned),
    ]
    facts = [[fact.id for fact in route(document).facts if isinstance(fact, MessageReceived)] for document in told]
    assert facts == [[ids.message_id(CHANNEL.id, "m_1")]] * 5


@pytest.mark.parametrize("timestamp", [1735689600, 32472144000000, None])
def test_a_mention_ends_a_day_after_a_time_that_can_be(timestamp: int | None) -> None:
    message = {"mid": "m", "attachments": [{"type": "story_mention", "payload": {"url": "https://cdn.example/1"}}]}
    fact = only(envelope(element(message=message, timestamp=timestamp)))
    assert isinstance(fact, MessageReceived)
    (story,) = msgspec.json.decode(fact.canonical)
    assert story["expires_at_ms"] == fact.at_ms + 86_400_000


def test_without_a_message_id_key_order_is_no_difference_but_time_is() -> None:
    one = element(message={"text": "x", "nlp": {"a": 1, "b": 2}})
    turned = element(message={"nlp": {"b": 2, "a": 1}, "text": "x"})
    later = one | {"timestamp": 1735689600988}
    first, second, third = (only(envelope(thing)).id for thing in (one, turned, later))
    assert first == second != third


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"reaction": {"mid": "m", "action": "react", "emoji": "x"}}, {"reaction": {"mid": "m", "action": "unreact"}}),
        (
            {"reaction": {"mid": "m", "action": "react", "emoji": "x"}},
            {"reaction": {"mid": "n", "action": "react", "emoji": "x"}},
        ),
        ({"delivery": {"mids": ["m"]}}, {"delivery": {"mids": ["n"]}}),
        ({"delivery": {"watermark": 1735689600500}}, {"read": {"watermark": 1735689600500}}),
        ({"read": {"watermark": 1735689600500}}, {"read": {"watermark": 1735689600600}}),
        ({"message_edit": {"mid": "m", "num_edit": 1}}, {"message_edit": {"mid": "m", "num_edit": 2}}),
        ({"message": {"mid": "m", "is_deleted": True}}, {"message_edit": {"mid": "m", "num_edit": 1}}),
        ({"referral": {"ref": "a"}}, {"referral": {"ref": "b"}}),
        ({"optin": {"ref": "a"}}, {"referral": {"ref": "a"}}),
    ],
)
def test_different_news_are_different_facts(one: dict[str, object], other: dict[str, object]) -> None:
    assert only(envelope(element(**one))).id != only(envelope(element(**other))).id


@pytest.mark.parametrize("counts", [("1", "2", "3"), (1.0, 2.0, 3.0), (None, None, None), (0, 0, 0), (1.0, 1.0, 1.0)])
def test_of_three_edits_the_last_counts_however_meta_counts_them(counts: tuple[object, ...]) -> None:
    state, facts = DictState(), route(envelope(element(message={"mid": "m", "text": "first"}))).facts
    for nth, count in enumerate(counts):
        edit = {"mid": "m", "text": f"edit {nth}"} | ({} if count is None else {"num_edit": count})
        facts += route(envelope(element(message_edit=edit) | {"timestamp": 1735689600988 + nth})).facts
    for fact in facts:
        assert fold(state, fact).accepted
    (message,) = state.messages()
    assert msgspec.json.decode(message.content)["message"]["text"] == "edit 2"


def test_a_sample_of_the_test_button_without_its_envelope_is_noted() -> None:
    change = {"field": "messages", "value": {"sender": {"id": "12334"}, "message": {"mid": "random_mid"}}}
    for document in (change, {"sample": change}):
        routed = route(document)
        assert (routed.facts, routed.unknown, routed.unreadable) == ([], [], [])
        assert len(routed.noted) == 1
    assert route({"field": "messages", "value": {"sender": {"id": PERSON}}}).unreadable


def test_the_same_news_of_two_people_are_different_facts() -> None:
    mine = element(read={"watermark": 1735689600500})
    theirs = mine | {"sender": {"id": "6120000000000002"}}
    assert only(envelope(mine)).id != only(envelope(theirs)).id


def test_a_bounded_watermark_and_the_whole_one_are_two_facts() -> None:
    """The clock went back before the first arrived: the bound covers fewer messages than the repetition."""
    at_ms = 1735689600500
    body = written(envelope(element(read={"watermark": at_ms})))
    early, late = (
        SOURCE.route(raw_record(SOURCE, body, timestamp_ms=arrived_ms), CONNECTED).facts[0]
        for arrived_ms in (at_ms - 1_000, at_ms + 1_000)
    )
    assert isinstance(early, ReceiptReported)
    assert isinstance(late, ReceiptReported)
    assert (early.watermark_ms, late.watermark_ms) == (at_ms - 1_000, at_ms)
    assert early.id != late.id


def test_reacting_twice_at_different_times_is_two_facts() -> None:
    first = element(reaction={"mid": "m", "action": "react", "emoji": "x"})
    assert only(envelope(first)).id != only(envelope(first | {"timestamp": 2})).id


@pytest.mark.parametrize(
    ("spelled", "emoji"),
    [
        ("\\u{1F600}", "😀"),
        ("\\u{2764}\\u{FE0F}", "❤️"),
        ("❤️", "❤️"),
        ("😀", "😀"),
        ("\\u2764\\uFE0F", "❤️"),
        ("\\ud83d\\ude00", "😀"),
        ("\\u{1F468}\\u{200D}\\u{1F469}", "👨‍👩"),
        ("\\u{FFFFFFF}", "\U0010ffff"),
        ("ok", "ok"),
        ("\\ud83d", "�"),
    ],
)
def test_emoji_are_understood_however_they_are_spelled(spelled: str, emoji: str) -> None:
    fact = only(envelope(element(reaction={"mid": "m", "action": "react", "reaction": "other", "emoji": spelled})))
    assert isinstance(fact, ReactionChanged)
    assert fact.emoji == emoji


def test_a_reaction_without_an_emoji_is_its_name() -> None:
    fact = only(envelope(element(reaction={"mid": "m", "action": "react", "reaction": "love"})))
    assert isinstance(fact, ReactionChanged)
    assert fact.emoji == "love"


def test_a_page_that_reacts_is_the_actor_in_the_contacts_conversation() -> None:
    told = element(reaction={"mid": "m", "action": "react", "emoji": "x"}) | {
        "sender": {"id": PAGE},
        "recipient": {"id": PERSON},
    }
    fact = only(envelope(told))
    assert isinstance(fact, ReactionChanged)
    assert (fact.actor, fact.conversation_id) == (PAGE, ids.conversation_id(CHANNEL.id, PERSON))


def test_what_names_no_contact_stays_with_the_page() -> None:
    fact = only(envelope({"timestamp": 1, "policy_enforcement": {"action": "warning"}}))
    assert isinstance(fact, EventNoted)
    assert fact.conversation_id == ids.conversation_id(CHANNEL.id, PAGE)


def test_instagram_is_another_kind_even_where_a_page_has_the_same_id() -> None:
    routed = route(envelope(element(message={"mid": "m", "text": "x"})) | {"object": "instagram"})
    assert routed == Routed([], [AccountKey("instagram", PAGE)], [])


def test_repaired_content_is_still_json() -> None:
    body = written(envelope(element(message={"mid": "m", "text": "x"}))).replace(b'"x"', b'"\xff\\ud800\x01"')
    fact = only(body)
    assert isinstance(fact, MessageReceived)
    assert fact.headers == {"content.repaired": "true"}
    assert msgspec.json.decode(fact.content)["message"]["text"] == "\ufffd\ufffd\x01"


def test_a_thousand_events_in_one_webhook_are_a_thousand_facts() -> None:
    many = [element(message={"mid": f"m_{number}", "text": "x" * 20}) for number in range(1000)]
    routed = route(envelope(*many))
    assert len({fact.id for fact in routed.facts}) == 1000
    assert [fact.provider_id for fact in routed.facts if isinstance(fact, MessageReceived)][::333] == [
        "m_0",
        "m_333",
        "m_666",
        "m_999",
    ]


def test_a_tombstone_is_undecodable() -> None:
    with pytest.raises(Undecodable):
        SOURCE.route(Record("source.facebook.events", 0, 0, b"", None, (), 1), ConnectedChannels())


# --- nothing breaks it

NODES = (
    "message",
    "postback",
    "reaction",
    "delivery",
    "read",
    "message_edit",
    "optin",
    "referral",
    "app_roles",
    "pass_thread_control",
    "take_thread_control",
    "request_thread_control",
    "account_linking",
    "field",
    "value",
)
NAMES = (
    *NODES,
    "sender",
    "recipient",
    "timestamp",
    "id",
    "mid",
    "mids",
    "text",
    "is_echo",
    "is_deleted",
    "app_id",
    "metadata",
    "emoji",
    "action",
    "watermark",
    "num_edit",
    "ref",
    "quick_reply",
    "payload",
    "reply_to",
    "user_ref",
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from([PAGE, PERSON, "unreact", "\\u{ZZ}", "\\u{D800}"])
    | st.just("0c0d2b3f-6a1e-4f55-9f0a-1b2c3d4e5f60")
)
THINGS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
ENDS = st.dictionaries(st.just("id"), st.sampled_from([PAGE, PERSON]) | SCALARS, max_size=1) | SCALARS
ELEMENTS = st.fixed_dictionaries(
    {},
    optional={
        "sender": ENDS,
        "recipient": ENDS,
        "timestamp": SCALARS,
        **dict.fromkeys(NODES, THINGS),
    },
)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from([PAGE, "888"]) | SCALARS,
        "time": SCALARS,
        "messaging": st.lists(ELEMENTS | THINGS, max_size=3) | SCALARS,
        "standby": st.lists(ELEMENTS, max_size=2) | SCALARS,
        "changes": THINGS,
    },
)
ENVELOPES = st.fixed_dictionaries(
    {
        "object": st.sampled_from(["page", "page", "instagram"]) | SCALARS,
        "entry": st.lists(ENTRIES | SCALARS, max_size=3) | SCALARS,
    }
)


def check(body: bytes) -> None:
    record = raw_record(SOURCE, body)
    try:
        routed = SOURCE.route(record, CONNECTED)
    except Undecodable:
        return
    assert msgspec.json.encode(SOURCE.route(record, CONNECTED)) == msgspec.json.encode(routed)
    for fact in routed.facts:
        stored = msgspec.json.decode(msgspec.json.encode(fact), type=Fact)
        assert 0 < stored.at_ms < 253_402_300_800_000
        assert "\0" not in "".join(value for value in msgspec.structs.asdict(fact).values() if isinstance(value, str))


@given(ENVELOPES)
def test_any_shape_is_routed_or_undecodable(document: object) -> None:
    check(json.dumps(document).encode())


@given(ENVELOPES, st.data())
def test_any_damage_is_routed_or_undecodable(document: object, data: st.DataObject) -> None:
    """Bytes flipped, cut out and put in, anywhere."""
    body = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body)))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([rb"\ud83d", b'"', b"{", b"]", b"\\", b"1e999"])
        )
    check(bytes(body))


@given(st.binary(max_size=300))
def test_any_bytes_are_routed_or_undecodable(body: bytes) -> None:
    check(body)
