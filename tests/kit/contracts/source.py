"""What every source keeps, run over its folder of recorded payloads.

A fixture is one webhook and what it means: `payload` (written the way providers write: compact, ASCII) or `body` (exact
text), the accounts that are connected, and the facts expected. Of a fact's content a fixture names the part of the
payload it must equal byte for byte (`content_at`), or its exact text (`content`).
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct

from airy import topics
from airy.bus.record import Record
from airy.errors import Undecodable
from airy.http_client import Response
from airy.model import ids
from airy.model.conversation import Conversation, Message
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.model.fact import Fact
from airy.sources.api import Accepted, Call, Denied, Failed, Lost, Routed, Sent, Source

RECEIVED_MS = 1_735_689_999_000
HTTP_HEADERS = list[tuple[bytes, bytes]]

TOKEN = "EAAChannelTokenThatMustStayInHeaders"


class Fixture(Struct, frozen=True, forbid_unknown_fields=True):
    about: str
    connected: list[str]
    payload: dict[str, object] | None = None
    body: str | None = None
    facts: list[dict[str, object]] = []
    unknown_accounts: list[str] = []
    rest: list[str] = []
    undecodable: str | None = None  # what the reason says

    @property
    def bytes(self) -> bytes:
        return written(self.payload) if self.body is None else self.body.encode("utf-8", "surrogateescape")


def written(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def load(folder: Path) -> dict[str, Fixture]:
    """`json` and not msgspec reads the files: a body that is not UTF-8 is written with lone surrogates."""
    return {path.stem: msgspec.convert(json.loads(path.read_text()), Fixture) for path in sorted(folder.glob("*.json"))}


def raw_record(source: Source, body: bytes, *, offset: int = 0, timestamp_ms: int = RECEIVED_MS) -> Record:
    """A webhook as the router reads it."""
    topic = topics.source_events(source.name)
    return Record(topic.name, topic.partition("account"), offset, b"account", body, (), timestamp_ms)


def shown(fact: Fact) -> dict[str, object]:
    """A fact as fixtures write it down; `cause` says where a record was, which no fixture knows."""
    told: dict[str, object] = msgspec.json.decode(msgspec.json.encode(fact))
    told.pop("cause", None)
    content = getattr(fact, "content", None)
    if isinstance(content, Raw):
        told["content"] = bytes(content).decode("utf-8", "surrogateescape")
    return told


def expected(fixture: Fixture) -> list[dict[str, object]]:
    wanted = []
    for fact in fixture.facts:
        told = dict(fact)
        if "content_at" in told:
            part: object = fixture.payload
            for step in str(told.pop("content_at")).split("."):
                part = part[int(step)] if isinstance(part, list) else part[step]  # type: ignore[index]
            told["content"] = written(part).decode()
        wanted.append(told)
    return wanted


def outbound(content: object = None) -> Message:
    text = {"text": "Yes, from Thursday on."} if content is None else content
    return Message(
        id="0c0d2b3f-6a1e-4f55-9f0a-1b2c3d4e5f60",
        conversation_id="c",
        channel_id="h",
        source="s",
        sequence=1,
        content=Raw(msgspec.json.encode(text)),
        from_contact=False,
        sender_id="agent",
        sent_at_ms=RECEIVED_MS,
        updated_at_ms=RECEIVED_MS,
        delivery=DeliveryState.PENDING,
    )


def conversation(**known: object) -> Conversation:
    return Conversation(
        id="c",
        channel_id="h",
        source="s",
        created_at_ms=RECEIVED_MS,
        updated_at_ms=RECEIVED_MS,
        **({"participant_id": "6120000000000001"} | known),  # type: ignore[arg-type]
    )


class SourceContract(ABC):
    """Subclass as `TestContract`, with a `source`, its `folder` of fixtures and a way to sign."""

    source: Source
    folder: Path

    @abstractmethod
    def signed(self, body: bytes) -> HTTP_HEADERS:
        """The headers the provider would send with `body`."""

    @abstractmethod
    def forged(self, body: bytes) -> HTTP_HEADERS:
        """Well-formed headers for `body`, made without the secret."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "fixture" in metafunc.fixturenames:
            found = load(self.folder)
            assert found, f"no fixtures in {self.folder}"
            metafunc.parametrize("fixture", list(found.values()), ids=list(found))

    def channels(self, accounts: Sequence[str]) -> Mapping[str, Channel]:
        return {
            account: Channel(
                id=ids.channel_id(self.source.name, account),
                source=self.source.name,
                source_channel_id=account,
                connected=True,
            )
            for account in accounts
        }

    def routed(self, fixture: Fixture, **where: int) -> Routed:
        return self.source.route(raw_record(self.source, fixture.bytes, **where), self.channels(fixture.connected))

    # --- recorded payloads

    def test_means_what_its_fixture_says(self, fixture: Fixture) -> None:
        if fixture.undecodable is not None:
            with pytest.raises(Undecodable, match=re.escape(fixture.undecodable)):
                self.routed(fixture)
            return
        routed = self.routed(fixture)
        assert [shown(fact) for fact in routed.facts] == expected(fixture)
        assert routed.unknown_accounts == fixture.unknown_accounts
        assert routed.rest == fixture.rest

    def test_told_again_elsewhere_and_later_it_is_the_same_facts(self, fixture: Fixture) -> None:
        if fixture.undecodable is not None:
            return
        first = self.routed(fixture)
        again = self.routed(fixture, offset=77, timestamp_ms=RECEIVED_MS + 3_600_000)
        assert [fact.id for fact in again.facts] == [fact.id for fact in first.facts]
        assert msgspec.json.encode(self.routed(fixture).facts) == msgspec.json.encode(first.facts)

    def test_facts_survive_the_log(self, fixture: Fixture) -> None:
        """What the router writes, the store can read, content included."""
        if fixture.undecodable is not None:
            return
        for fact in self.routed(fixture).facts:
            written = topics.EVENTS.record(fact.conversation_id, fact)
            stored = Record(written.topic, written.partition, 0, written.key, written.value, (), 0)
            back = topics.EVENTS.decode(stored)
            assert msgspec.json.encode(back) == msgspec.json.encode(fact)
            assert isinstance(msgspec.json.decode(msgspec.json.encode(back)), dict)

    def test_without_a_channel_nothing_is_lost(self, fixture: Fixture) -> None:
        """Whatever would be a fact is parked under its account instead."""
        if fixture.undecodable is not None:
            return
        routed = self.source.route(raw_record(self.source, fixture.bytes), {})
        accounts = {account for account in fixture.connected if self._uses(fixture, account)}
        assert routed.facts == []
        assert accounts <= set(routed.unknown_accounts)

    def _uses(self, fixture: Fixture, account: str) -> bool:
        channel = ids.channel_id(self.source.name, account)
        return any(fact["channel_id"] == channel for fact in fixture.facts)

    def test_torn_anywhere_it_is_undecodable_or_routed(self, fixture: Fixture) -> None:
        whole = fixture.bytes
        for end in range(0, len(whole), max(1, len(whole) // 40)):
            try:
                routed = self.source.route(raw_record(self.source, whole[:end]), self.channels(fixture.connected))
            except Undecodable:
                continue
            assert isinstance(routed, Routed)

    # --- signatures

    def test_a_signed_webhook_is_accepted(self, fixture: Fixture) -> None:
        body = fixture.bytes
        assert isinstance(self.source.verify(self.signed(body), body), Accepted)

    def test_signed_headers_may_be_spelled_in_any_case(self) -> None:
        headers = [(name.upper(), text) for name, text in self.signed(b"{}")]
        assert isinstance(self.source.verify(headers, b"{}"), Accepted)

    def test_one_changed_byte_is_refused(self) -> None:
        headers = self.signed(b'{"a":1}')
        assert self._status(headers, b'{"a":2}') == 403

    def test_a_forged_signature_is_refused(self) -> None:
        assert self._status(self.forged(b"{}"), b"{}") == 403

    def test_no_signature_is_refused(self) -> None:
        assert self._status([(b"content-type", b"application/json")], b"{}") == 401

    def test_a_signature_given_twice_is_refused(self) -> None:
        assert self._status(self.signed(b"{}") * 2, b"{}") == 403
        assert self._status([*self.forged(b"{}"), *self.signed(b"{}")], b"{}") == 403

    @pytest.mark.parametrize("junk", [b"", b"=", b"sha256=", b"sha256=zz", b"\xff\xfe", b"x" * 10_000])
    def test_a_malformed_signature_is_refused(self, junk: bytes) -> None:
        headers = [(name, junk) for name, _ in self.signed(b"{}")]
        assert self._status(headers, b"{}") == 403

    def _status(self, headers: HTTP_HEADERS, body: bytes) -> int | None:
        verdict = self.source.verify(headers, body)
        return verdict.status if isinstance(verdict, Denied) else None

    # --- sending

    def test_a_call_keeps_the_token_out_of_the_address_and_the_body(self) -> None:
        call = self.source.encode(outbound(), conversation(), TOKEN, RECEIVED_MS)
        assert isinstance(call, Call)
        assert TOKEN not in call.url
        assert TOKEN.encode() not in (call.body or b"")

    def test_a_message_without_a_recipient_is_not_found(self) -> None:
        failed = self.source.encode(outbound(), None, TOKEN, RECEIVED_MS)
        assert isinstance(failed, Failed)
        assert failed.kind == "not_found"

    @pytest.mark.parametrize("content", [None, 5, "text", [], {}, {"text": ""}, {"text": 5}, {"bogus": True}])
    def test_what_is_no_message_is_invalid_and_says_why(self, content: object) -> None:
        message = outbound()
        message.content = Raw(msgspec.json.encode(content))
        failed = self.source.encode(message, conversation(), TOKEN, RECEIVED_MS)
        assert isinstance(failed, Failed)
        assert failed.kind == "invalid"
        assert failed.error
        assert failed.again_s is None

    @given(
        status=st.integers(100, 599),
        body=st.binary(max_size=200)
        | st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["error", "code", "message", "message_id", "error_subcode"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=8,
        ).map(msgspec.json.encode),
        headers=st.dictionaries(st.sampled_from(["retry-after", "x-app-usage"]), st.text(max_size=6)),
    )
    @settings(max_examples=200)
    def test_every_answer_has_a_meaning(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        outcome = self.source.interpret(Response(status, headers, body), RECEIVED_MS)
        assert isinstance(outcome, Sent | Failed | Lost)
        if isinstance(outcome, Sent):
            assert 200 <= status < 300

    @pytest.mark.parametrize("body", [b"", b"{", b"<html>ok</html>", b"[]", b"{}", b'{"message_id":'])
    def test_success_without_a_receipt_is_lost(self, body: bytes) -> None:
        assert isinstance(self.source.interpret(Response(200, {}, body), RECEIVED_MS), Lost)
