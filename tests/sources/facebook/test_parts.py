"""A batch of Meta that is too large for one record means the same in parts."""

import json
from collections import defaultdict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.bus.memory import MemoryLimits
from airy.bus.record import Record
from airy.model.fact import Fact, MessageReceived
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import BatchPart, Routed
from airy.sources.catalogue import SOURCES
from airy.sources.meta import parts
from airy.sources.meta.parts import PART_BYTES_MAX, parts_of
from airy.sources.meta.section import MetaSection
from tests.kit.providers import WIRES

PAGE, OTHER, UNKNOWN = "204918377001", "204918377002", "204918377003"
WIRE = WIRES["facebook"]
SOURCE = WIRE.source()
CONNECTED = ConnectedChannels([WIRE.channel(PAGE), WIRE.channel(OTHER)])


def message(number: int, account: str = PAGE, text: str = "ü" * 600) -> dict[str, object]:
    return {
        "sender": {"id": str(6_120_000_000_000_000 + number % 7)},
        "recipient": {"id": account},
        "timestamp": 1_735_689_600_000 + number,
        "message": {"mid": f"m_{number}", "text": text},
    }


def entry(account: str, *elements: object, **members: object) -> dict[str, object]:
    return {"id": account, "time": 1_735_689_601_123, "messaging": list(elements), **members}


def batch(*entries: object) -> bytes:
    return json.dumps({"object": "page", "entry": entries}, ensure_ascii=False).encode()


def routed(body: bytes) -> Routed:
    record = Record("source.facebook.events", 0, 0, b"", body, (("request-id", b"r-1"),), 1_735_689_999_000)
    return SOURCE.route(record, CONNECTED)


def by_conversation(facts: list[Fact]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = defaultdict(list)
    for fact in facts:
        found[fact.conversation_id].append(msgspec.json.encode(fact))
    return found


def assert_means_the_same(body: bytes, split: list[BatchPart]) -> None:
    whole, pieces = routed(body), [routed(part.body) for part in split]
    assert by_conversation([fact for piece in pieces for fact in piece.facts]) == by_conversation(whole.facts)
    assert {key for piece in pieces for key in piece.unknown} == set(whole.unknown)
    assert len([reason for piece in pieces for reason in piece.unreadable]) == len(whole.unreadable)


@pytest.mark.parametrize("per_entry", [1, 50, 5_000], ids=["an entry each", "fifty in an entry", "one entry"])
def test_a_full_batch_means_the_same_in_parts(per_entry: int) -> None:
    body = batch(
        *(
            entry((PAGE, OTHER, UNKNOWN)[first // per_entry % 3], *map(message, range(first, first + per_entry)))
            for first in range(0, 5_000, per_entry)
        )
    )
    assert 5_000_000 < len(body) <= SOURCE.spec.webhook_bytes_max

    split = list(parts_of(body))

    assert max(len(part.body) for part in split) <= PART_BYTES_MAX
    assert all({each["id"] for each in json.loads(part.body)["entry"]} == {part.account} for part in split)
    assert_means_the_same(body, split)


def test_a_body_that_fits_into_one_record_is_stored_unchanged() -> None:
    assert parts_of(batch(entry(PAGE, message(1)))) == ()


def test_a_single_element_is_never_split() -> None:
    big = message(2, text="x" * (PART_BYTES_MAX + 1))

    split = list(parts_of(batch(entry(PAGE, message(1), big, message(3)))))

    assert [len(json.loads(part.body)["entry"][0]["messaging"]) for part in split] == [1, 1, 1]


def test_parts_keep_the_bytes_of_their_elements() -> None:
    odd = b'{"sender": {"id":"6120000000000001"},"message":{"mid":"m_x","text":"\\u00fc \\ud83d\\ude00 1e2","n":1.50}}'
    body = b'{"object":"page","entry":[{"id":"%s","messaging":[%s]}]}'
    body %= (PAGE.encode(), b",".join([odd] * 3_000))

    assert all(odd in part.body for part in parts_of(body))


@pytest.mark.parametrize("damage", [b"\\ud83d", b"\xff", b"[" * 5_000 + b"]" * 5_000])
def test_a_damaged_element_keeps_no_other_from_being_stored(damage: bytes) -> None:
    inner = b'"text":"%s"' if not damage.startswith(b"[") else b'"text":%s'
    broken = b'{"sender":{"id":"6120000000000001"},"message":{"mid":"m_broken",%s}}' % (inner % damage)
    others = json.dumps([message(number) for number in range(500)], ensure_ascii=False).encode()[1:-1]
    body = b'{"object":"page","entry":[{"id":"%s","messaging":[%s,%s]}]}' % (PAGE.encode(), broken, others)

    facts = [fact for part in parts_of(body) for fact in routed(part.body).facts]

    assert {f"m_{number}" for number in range(500)} <= {
        fact.provider_id for fact in facts if isinstance(fact, MessageReceived)
    }


@pytest.mark.parametrize("body", [b"x", b"[]", b"{}", b'{"entry":7}', b'{"entry":[1,'])
def test_what_is_no_envelope_is_stored_as_it_is(body: bytes) -> None:
    assert parts_of(body + b" " * PART_BYTES_MAX) in ((), [])


ELEMENTS: st.SearchStrategy[object] = st.one_of(
    st.builds(message, st.integers(0, 9), st.just(PAGE), st.text(max_size=40)), st.sampled_from([1, None, {}, "x"])
)
LISTED = st.lists(ELEMENTS, max_size=6) | st.sampled_from([{}, 1])
ENTRIES = st.fixed_dictionaries(
    {"id": st.sampled_from([PAGE, OTHER, UNKNOWN, 204918377001])},
    optional={"time": st.integers(0, 9), "messaging": LISTED, "standby": LISTED, "changes": LISTED},
)


@given(st.lists(ENTRIES | st.sampled_from([1, [], {"messaging": []}]), max_size=6))
def test_any_batch_means_the_same_in_parts(entries: list[object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES_MAX", 200)
        body = batch(*entries)
        split = list(parts_of(body))
    if split:
        assert_means_the_same(body, split)


def test_every_source_whose_webhooks_exceed_a_record_gives_parts() -> None:
    """A new source either keeps to the limit of a record or splits its batches."""
    above = {spec.name for spec in SOURCES if spec.webhook_bytes_max > MemoryLimits().record_bytes_max}

    assert above == {spec.name for spec in SOURCES if issubclass(spec.section, MetaSection)}
