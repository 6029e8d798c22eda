"""What every source keeps, run over its folder of recorded payloads and against its provider.

A fixture is one webhook and what it means: `payload` (written the way providers write: compact, ASCII), `form` (names
and values) or `body` (exact text), the accounts that are connected, and what is expected. Of a fact's content a fixture
names the part of the payload it must equal byte for byte (`content_at`; empty: all of it; `form`: the form as text), or
its exact text (`content`); `canonical` is what that content says in common terms.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote_plus, urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct

from airy import topics
from airy.bus.record import Record
from airy.clock import LoopClock
from airy.errors import Refused, Unavailable, Undecodable
from airy.http_client import Response
from airy.model.conversation import Conversation, Message
from airy.model.delivery_state import DeliveryState
from airy.model.fact import (
    Fact,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageReceived,
    ProfileResolved,
    ReactionChanged,
    ReceiptReported,
)
from airy.model.fold import fold
from airy.secret import Secret
from airy.sources import calling, canonical
from airy.sources.accounts import ConnectedChannels
from airy.sources.api import (
    Accepted,
    AccountKey,
    Call,
    Checked,
    Denied,
    Failed,
    Installation,
    Lost,
    Routed,
    Sent,
    Target,
    WebhookRequest,
    WebhookSource,
)
from airy.sources.spec import Capabilities
from tests.kit.fold import DictState
from tests.kit.providers.base import PUBLIC_URL, Headers, Webhook, Wire
from tests.kit.scripted_provider import Act, ScriptedProvider, delivery_states

SAMPLES: dict[str, dict[str, object]] = {  # of each canonical content that can be sent, as plain as it can be
    "text": {"type": "text", "text": "Grüße"},
    **{
        kind: {"type": "media", "kind": kind, "url": "https://cdn.example.net/1"}
        for kind in ("image", "video", "audio", "voice", "file", "sticker")
    },
    "location": {"type": "location", "latitude": 52.5, "longitude": 13.4},
    "contacts": {"type": "contacts", "contacts": [{"name": "Ines Kuhn", "phones": ["+4915112345678"]}]},
    "card": {
        "type": "card",
        "title": "Rye bread",
        "subtitle": "fresh",
        "image": "https://cdn.example.net/1.jpg",
        "buttons": [{"title": "Order", "payload": "RYE"}],
    },
    "carousel": {
        "type": "carousel",
        "cards": [
            {
                "title": title,
                "subtitle": "fresh",
                "image": f"https://cdn.example.net/{title}.jpg",
                "buttons": [{"title": "Order", "payload": title}],
            }
            for title in ("Rye", "Spelt")
        ],
    },
    "choice": {
        "type": "choice",
        "text": "When?",
        "options": [{"title": "Now", "payload": "NOW"}, {"title": "Later", "payload": "LATER"}],
    },
    "template": {"type": "template", "name": "order_ready", "language": "en"},
}
_CARD = {
    "title": "mark-title",
    "subtitle": "mark-subtitle",
    "image": "https://cdn.example.net/mark-image",
    "url": "https://shop.example.net/mark-url",
    "buttons": [{"title": "mark-button", "payload": "mark-payload"}],
}
_PERSON = {"name": "mark-name", "phones": ["+4915100001"]}
_FILE = {"type": "media", "url": "https://cdn.example.net/mark-url", "caption": "mark-caption"}
_FILES: list[dict[str, object]] = [
    {**_FILE, "kind": kind, **more}
    for kind in ("image", "video", "audio", "voice", "file", "sticker")
    for more in ({}, {"size": 1_000})
]
DETAILED: list[dict[str, object]] = [  # contents in which each part has a mark
    *_FILES,
    {"type": "location", "latitude": 52.5, "longitude": 13.4, "name": "mark-name"},
    {"type": "location", "latitude": 52.5, "longitude": 13.4, "address": "mark-address"},
    {"type": "location", "latitude": 52.5, "longitude": 13.4, "name": "mark-name", "address": "mark-address"},
    {"type": "contacts", "contacts": [_PERSON]},
    {"type": "contacts", "contacts": [_PERSON | {"phones": ["+4915100001", "+4915100002"]}]},
    {"type": "contacts", "contacts": [_PERSON | {"emails": ["mark-email@example.net"]}]},
    {"type": "contacts", "contacts": [_PERSON, {"name": "mark-other", "phones": ["+4915100003"]}]},
    {"type": "card", **_CARD},
    {"type": "card", "title": "mark-title"},
    {"type": "card", **_CARD, "buttons": [{"title": "mark-button", "payload": "https://x.org/mark-to", "kind": "url"}]},
    {"type": "card", **_CARD, "buttons": []},
    {"type": "carousel", "cards": [_CARD, {"title": "mark-second"}]},
    {"type": "choice", "text": "mark-text", "options": [{"title": "mark-first"}, {"title": "mark-second"}]},
    {
        "type": "choice",
        "text": "mark-text",
        "options": [{"title": "mark-it", "payload": "+4915100001", "kind": "call"}],
    },
]
MARK = re.compile(r"mark-[a-z]+|4915\d+")
UPDATES = {MessageEdited: "edit", MessageDeleted: "deletion", ReactionChanged: "reaction"}

RECEIVED_MS = 1_735_689_999_000
HTTP_HEADERS = Headers

TOKEN = "EAAChannelTokenThatMustStayInHeaders"
DAMAGE = [rb"\ud83d", b'"', b"{", b"]", b"\\", b"1e999", b"", b"\xff", b"%ff", b"&", b"%00", b"\0", b"null", b"-1"]
JUNK = [b"", b"=", b"sha256=", b"sha256=zz", b"\xff\xfe", b"x" * 10_000]


class Fixture(Struct, frozen=True, forbid_unknown_fields=True):
    about: str
    connected: list[str]
    account: str = ""  # whose webhook it is, where the body does not say; empty: the first one connected
    payload: dict[str, object] | None = None
    form: dict[str, str] | None = None
    body: str | None = None
    headers: dict[str, str] = {}  # kept by ingress
    facts: list[dict[str, Any]] = []
    unknown: list[tuple[str, str]] = []  # kind and account
    unreadable: list[str] = []
    noted: list[str] = []
    undecodable: str | None = None  # what the reason says

    @property
    def bytes(self) -> bytes:
        if self.form is not None:
            return urlencode(self.form).encode()
        return written(self.payload) if self.body is None else self.body.encode("utf-8", "surrogateescape")

    @property
    def owner(self) -> str:
        return self.account or (self.connected[0] if self.connected else "")


def written(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def load(folder: Path) -> dict[str, Fixture]:
    """`json` and not msgspec reads the files: a body that is not UTF-8 is written with lone surrogates."""
    return {path.stem: msgspec.convert(json.loads(path.read_text()), Fixture) for path in sorted(folder.glob("*.json"))}


def raw_record(
    source: Any,
    body: bytes,
    *,
    account: str = "account",
    headers: dict[str, str] | None = None,
    offset: int = 0,
    timestamp_ms: int = RECEIVED_MS,
) -> Record:
    """A webhook as the router reads it."""
    name = source.spec.name if hasattr(source, "spec") else source.name
    topic = topics.source_events(name)
    kept = tuple((each, value.encode()) for each, value in (headers or {}).items())
    return Record(topic.name, topic.partition("account"), offset, account.encode(), body, kept, timestamp_ms)


def shown(fact: Fact) -> dict[str, object]:
    """A fact as fixtures write it down; `cause` says where a record was and `arrived_at_ms` when, which no fixture
    knows.
    """
    told: dict[str, object] = msgspec.json.decode(msgspec.json.encode(fact))
    told.pop("cause", None)
    told.pop("arrived_at_ms", None)
    content = getattr(fact, "content", None)
    if isinstance(content, Raw):
        told["content"] = bytes(content).decode("utf-8", "surrogateescape")
    return told


def expected(fixture: Fixture) -> list[dict[str, object]]:
    wanted = []
    for fact in fixture.facts:
        told = dict(fact)
        path = told.pop("content_at", None)
        if path == "form":
            told["content"] = written(fixture.bytes.decode()).decode()
        elif path is not None:
            part: Any = fixture.payload
            for step in filter(None, str(path).split(".")):
                part = part[int(step)] if isinstance(part, list) else part[step]
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


def of_every_fixture(law: Callable[["SourceContract", Fixture], None]) -> Callable[["SourceContract"], None]:
    """One test of a law that holds for every fixture: pytest takes longer to run a test than such a law."""

    def test(contract: "SourceContract") -> None:
        for name, fixture in load(contract.folder).items():
            try:
                law(contract, fixture)
            except BaseException as error:
                error.add_note(f"fixture {name}")
                raise

    test.__doc__ = law.__doc__
    return test


class SourceContract:
    """Subclass as `TestContract`, with the provider's side and the folder of fixtures."""

    wire: Wire
    folder: Path

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "fixture" in metafunc.fixturenames:
            found = load(self.folder)
            assert found, f"no fixtures in {self.folder}"
            metafunc.parametrize("fixture", list(found.values()), ids=list(found))
        if "kind" in metafunc.fixturenames:
            metafunc.parametrize("kind", list(self.wire.accounts))

    @property
    def source(self) -> WebhookSource:
        return self.wire.source()

    def routed(self, fixture: Fixture, **record: int) -> Routed:
        return self._route(fixture.bytes, fixture, self.wire.connected(*fixture.connected), **record)

    def _route(self, body: bytes, fixture: Fixture, channels: ConnectedChannels, **record: Any) -> Routed:
        return self.source.route(
            raw_record(self.source, body, account=fixture.owner, headers=fixture.headers, **record), channels
        )

    # --- recorded payloads

    def test_means_what_its_fixture_says(self, fixture: Fixture) -> None:
        """FB-3, F3, TW-2."""
        if fixture.undecodable is not None:
            with pytest.raises(Undecodable, match=re.escape(fixture.undecodable)):
                self.routed(fixture)
            return
        routed = self.routed(fixture)
        assert [shown(fact) for fact in routed.facts] == expected(fixture)
        assert routed.unknown == [AccountKey(*key) for key in fixture.unknown]
        assert routed.unreadable == fixture.unreadable
        assert routed.noted == fixture.noted
        messages = [fact for fact in routed.facts if isinstance(fact, MessageReceived | MessageEchoed)]
        assert all((fact.arrived_at_ms or fact.at_ms) == RECEIVED_MS for fact in messages)

    @of_every_fixture
    def test_canonical_content_follows_from_the_content(self, fixture: Fixture) -> None:
        if fixture.undecodable is not None:
            return
        messages = [
            fact
            for fact in self.routed(fixture).facts
            if isinstance(fact, MessageReceived | MessageEchoed | MessageEdited)
        ]
        for fact in messages:
            contents = self.source.canonical(msgspec.json.decode(fact.content))
            assert bytes(fact.canonical) == bytes(canonical.encode(contents))
            assert msgspec.json.decode(fact.canonical, type=canonical.Contents) == contents

    @of_every_fixture
    def test_delivered_again_elsewhere_and_later_it_is_the_same_facts(self, fixture: Fixture) -> None:
        if fixture.undecodable is not None:
            return
        first = self.routed(fixture)
        again = self.routed(fixture, offset=77, timestamp_ms=RECEIVED_MS + 3_600_000)
        assert [fact.id for fact in again.facts] == [fact.id for fact in first.facts]
        assert msgspec.json.encode(self.routed(fixture).facts) == msgspec.json.encode(first.facts)

    @of_every_fixture
    def test_five_deliveries_equal_one(self, fixture: Fixture) -> None:
        if fixture.undecodable is not None:
            return
        once, often = (
            self._folded(fixture, [RECEIVED_MS + 60_000 * number for number in range(times)]) for times in (1, 5)
        )
        assert often == once

    def _folded(self, fixture: Fixture, times_ms: Sequence[int]) -> dict[str, bytes]:
        """The state of every conversation after deliveries at these times."""
        states: dict[str, DictState] = {}
        for number, at_ms in enumerate(times_ms):
            for fact in self.routed(fixture, offset=number, timestamp_ms=at_ms).facts:
                fold(states.setdefault(fact.conversation_id, DictState()), fact)
        return {name: state.snapshot() for name, state in states.items()}

    @of_every_fixture
    def test_facts_survive_the_log(self, fixture: Fixture) -> None:
        """What the router writes, the store can read, content included."""
        if fixture.undecodable is not None:
            return
        for fact in self.routed(fixture).facts:
            emit = topics.EVENTS.record(fact.conversation_id, fact)
            stored = Record(emit.topic, emit.partition, 0, emit.key, emit.value, (), 0)
            back = topics.EVENTS.decode(stored)
            assert msgspec.json.encode(back) == msgspec.json.encode(fact)
            assert isinstance(msgspec.json.decode(msgspec.json.encode(back)), dict)

    @of_every_fixture
    def test_without_a_channel_nothing_is_lost(self, fixture: Fixture) -> None:
        """What would be a fact is reported under its account instead, so that it can be parked."""
        if fixture.undecodable is not None:
            return
        routed = self._route(fixture.bytes, fixture, ConnectedChannels())
        owners = {self.wire.channel(account).id: account for account in fixture.connected}
        used = {owners[fact["channel_id"]] for fact in fixture.facts}
        assert routed.facts == []
        assert {AccountKey(self.wire.kind_of(account), account) for account in used} <= set(routed.unknown)

    @of_every_fixture
    def test_torn_anywhere_it_is_undecodable_or_routed(self, fixture: Fixture) -> None:
        whole = fixture.bytes
        for end in range(0, len(whole), max(1, len(whole) // 40)):
            try:
                routed = self._route(whole[:end], fixture, self.wire.connected(*fixture.connected))
            except Undecodable:
                continue
            assert isinstance(routed, Routed)

    @of_every_fixture
    def test_damaged_anywhere_it_is_undecodable_or_routed_to_facts_the_log_takes(self, fixture: Fixture) -> None:
        """Bytes flipped, cut out and put in; seeded by the fixture."""
        random = Random(fixture.about)
        for _ in range(40):
            body = bytearray(fixture.bytes or b"x")
            for _ in range(random.randint(1, 4)):
                place = random.randrange(len(body) + 1)
                body[place : place + random.randint(0, 3)] = random.choice(DAMAGE)
            try:
                routed = self._route(bytes(body), fixture, self.wire.connected(*fixture.connected))
            except Undecodable:
                continue
            for fact in routed.facts:
                stored = msgspec.json.decode(msgspec.json.encode(fact), type=Fact)
                assert 0 < stored.at_ms < 253_402_300_800_000
                if isinstance(fact, MessageReceived | MessageEchoed | MessageEdited):
                    assert msgspec.json.decode(fact.canonical, type=canonical.Contents)

    def test_a_name_that_comes_back_is_a_fact_of_its_own(self) -> None:
        """Otherwise a contact who is called A, then B, then A again, stays B."""
        shown_by: dict[str, set[str]] = {}
        for fixture in load(self.folder).values():
            if fixture.undecodable is None:
                message_id = ""
                for fact in self.routed(fixture).facts:
                    message_id = fact.id if isinstance(fact, MessageReceived) else message_id
                    if isinstance(fact, ProfileResolved):
                        shown_by.setdefault(fact.id, set()).add(message_id)
        assert all(len(message_ids) == 1 for message_ids in shown_by.values())

    # --- verification

    def test_a_signed_webhook_is_accepted(self, kind: str) -> None:
        webhook = self.wire.received(kind, 1, "Grüße & mehr", RECEIVED_MS)
        verdict = self._verdict(webhook)
        assert isinstance(verdict, Accepted)
        assert verdict.account == webhook.account
        assert 200 <= verdict.reply.status < 300

    @of_every_fixture
    def test_recorded_webhooks_are_accepted_when_they_are_signed(self, fixture: Fixture) -> None:
        if fixture.undecodable is None and fixture.connected:
            webhook = self.wire.wrapped(fixture.bytes, fixture.owner)
            assert isinstance(self._verdict(webhook, connected=fixture.connected), Accepted)

    def test_header_names_may_be_spelled_in_any_case(self, kind: str) -> None:
        webhook = self.wire.received(kind, 1, "x", RECEIVED_MS)
        headers = [(name.upper(), text) for name, text in self.wire.signed(webhook)]
        assert isinstance(self._verdict(webhook, headers), Accepted)

    def test_one_flipped_bit_of_the_body_is_refused(self, kind: str) -> None:
        if not self.wire.signs_body:
            return
        webhook = self.wire.received(kind, 1, "x", RECEIVED_MS)
        signed, place = self.wire.signed(webhook), webhook.body.index(b"x")
        changed = bytearray(webhook.body)
        changed[place] ^= 1
        assert self._status(msgspec.structs.replace(webhook, body=bytes(changed)), signed) == self.wire.mismatch

    def test_one_flipped_bit_of_the_signature_is_refused(self, kind: str) -> None:
        webhook = self.wire.received(kind, 1, "x", RECEIVED_MS)
        ((name, value),) = self.wire.signed(webhook)
        for place in (len(value) // 2, len(value) - 2):
            changed = bytearray(value)
            changed[place] ^= 1
            assert self._status(webhook, [(name, bytes(changed))]) == self.wire.mismatch

    def test_a_forged_signature_is_refused(self, kind: str) -> None:
        webhook = self.wire.received(kind, 1, "x", RECEIVED_MS)
        assert self._status(webhook, self.wire.forged(webhook)) == self.wire.mismatch

    def test_no_signature_is_refused(self, kind: str) -> None:
        """F8, TW-1."""
        webhook = self.wire.received(kind, 1, "x", RECEIVED_MS)
        assert self._status(webhook, [(b"content-type", b"application/json")]) == 401

    def test_a_signature_given_twice_is_refused(self, kind: str) -> None:
        webhook = self.wire.received(kind, 1, "x", RECEIVED_MS)
        assert self._status(webhook, self.wire.signed(webhook) * 2) == 403
        assert self._status(webhook, [*self.wire.forged(webhook), *self.wire.signed(webhook)]) == 403

    @pytest.mark.parametrize("junk", JUNK)
    def test_a_malformed_signature_is_refused(self, kind: str, junk: bytes) -> None:
        webhook = self.wire.received(kind, 1, "x", RECEIVED_MS)
        assert self._status(webhook, [(name, junk) for name, _ in self.wire.signed(webhook)]) == self.wire.mismatch

    @pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"{", b"a=%zz&b", b"[" * 100_000])
    def test_no_body_breaks_verification(self, kind: str, body: bytes) -> None:
        webhook = self.wire.wrapped(body, self.wire.accounts[kind])
        status = self._status(webhook, self.wire.forged(self.wire.received(kind, 1, "x", RECEIVED_MS)))
        assert status in {401, 403, self.wire.mismatch}

    def _verdict(
        self, webhook: Webhook, headers: Headers | None = None, *, connected: Sequence[str] | None = None
    ) -> object:
        accounts = self.wire.connected(*(self.wire.accounts.values() if connected is None else connected))
        return self.source.verify(self.wire.request(webhook, headers=headers), accounts)

    def _status(self, webhook: Webhook, headers: Headers) -> int | None:
        verdict = self._verdict(webhook, headers)
        return verdict.status if isinstance(verdict, Denied) else None

    # --- sending

    def target(self, kind: str, *, contact: bool = True, credentials: bool = True) -> Target:
        channel = self.wire.channel(self.wire.accounts[kind])
        return Target(
            channel=channel,
            conversation=conversation(participant_id=self.wire.participant) if contact else None,
            credentials=self.wire.credentials(kind) if credentials else {},
        )

    def calls(self, kind: str, content: object = None) -> Sequence[Call]:
        message = outbound(self.wire.text if content is None else content)
        calls = self.source.encode(message, self.target(kind), RECEIVED_MS)
        assert not isinstance(calls, Failed), calls.error
        assert calls
        return calls

    def test_a_call_is_printed_without_secrets(self, kind: str) -> None:
        for call in self.calls(kind):
            printed = f"{call!r} {call} {call.url!r} {call.url} {dict(call.headers)!r} {self.target(kind)!r}"
            assert [secret for secret in self.wire.secrets if secret in printed] == []
            assert call.host == self.wire.host

    def test_a_call_keeps_the_token_out_of_the_body(self, kind: str) -> None:
        for call in self.calls(kind):
            assert [secret for secret in self.wire.secrets if secret.encode() in (call.body or b"")] == []

    def test_the_configuration_is_printed_without_secrets(self) -> None:
        printed = f"{self.wire.section!r} {self.source!r} {vars(self.source)!r}"
        assert [secret for secret in self.wire.secrets if secret in printed] == []

    @pytest.mark.parametrize("act", list(Act))
    async def test_no_outcome_repeats_a_secret(self, kind: str, act: Act) -> None:
        provider = self.provider(kind, act)
        outcome = await calling.send(provider, self.source, self.calls(kind), RECEIVED_MS)
        assert [secret for secret in self.wire.secrets if secret in self._told(outcome)] == []

    @staticmethod
    def _told(outcome: object) -> str:
        detail = bytes(outcome.detail or b"").decode() if isinstance(outcome, Failed) else ""
        return f"{outcome!r} {detail}"

    def test_without_a_recipient_it_is_not_found(self, kind: str) -> None:
        failed = self.source.encode(outbound(self.wire.text), self.target(kind, contact=False), RECEIVED_MS)
        assert isinstance(failed, Failed)
        assert failed.kind == "not_found"

    def test_without_credentials_the_lane_stops(self, kind: str) -> None:
        bare = self.wire.spec.load()(self.wire.spec.section(), PUBLIC_URL)
        failed = bare.encode(outbound(self.wire.text), self.target(kind, credentials=False), RECEIVED_MS)
        assert isinstance(failed, Failed)
        assert (failed.kind, failed.stop_lane) == ("auth", True)

    @pytest.mark.parametrize(
        "content",
        [
            None,
            5,
            "text",
            [],
            {},
            {"text": ""},
            {"text": 5},
            {"bogus": True},
            {"canonical": 5},
            {"canonical": {"type": "bogus"}},
            {"canonical": {"type": "system", "description": "x"}},
        ],
    )
    def test_what_is_no_message_is_invalid_and_says_why(self, kind: str, content: object) -> None:
        message = outbound()
        message.content = Raw(msgspec.json.encode(content))
        failed = self.source.encode(message, self.target(kind), RECEIVED_MS)
        assert isinstance(failed, Failed)
        assert failed.kind == "invalid"
        assert failed.error
        assert failed.again_s is None

    async def test_canonical_text_reaches_the_provider(self, kind: str) -> None:
        provider = self.provider(kind)
        calls = self.calls(kind, {"canonical": {"type": "text", "text": "Grüße"}})
        outcome = await calling.send(provider, self.source, calls, RECEIVED_MS)
        assert isinstance(outcome, Sent)
        assert [attempt.taken.text for attempt in provider.delivered] == ["Grüße"]
        assert [attempt.taken.recipient for attempt in provider.delivered] == [self.wire.participant]

    @pytest.mark.parametrize("name", list(SAMPLES))
    def test_a_canonical_content_is_sent_if_the_kind_declares_it_and_refused_by_name_otherwise(
        self, kind: str, name: str
    ) -> None:
        encoded = self.source.encode(outbound({"canonical": SAMPLES[name]}), self.target(kind), RECEIVED_MS)
        assert isinstance(encoded, Failed) is (name not in self._capable(kind).sends)
        if isinstance(encoded, Failed):
            assert encoded.kind == "invalid"
            assert str(SAMPLES[name]["type"]) in encoded.error

    def test_no_part_of_a_canonical_content_is_left_out_silently(self, kind: str) -> None:
        """It is in the calls, or the content is refused."""
        for content in DETAILED:
            encoded = self.source.encode(outbound({"canonical": content}), self.target(kind), RECEIVED_MS)
            if isinstance(encoded, Failed):
                assert encoded.kind == "invalid"
                continue
            said = "".join(unquote_plus((call.body or b"").decode()) for call in encoded)
            assert [mark for mark in MARK.findall(json.dumps(content)) if mark not in said] == [], content

    def test_fields_beside_canonical_content_are_sent_with_it(self, kind: str) -> None:
        content = {"canonical": {"type": "text", "text": "Rye?"}, "own_field": "mark-beside", "none": None}
        encoded = self.source.encode(outbound(content), self.target(kind), RECEIVED_MS)
        assert not isinstance(encoded, Failed), encoded
        said = unquote_plus((encoded[-1].body or b"").decode())
        assert [word for word in ("Rye?", "own_field", "mark-beside") if word not in said] == []
        assert "none" not in said

    def test_a_message_that_says_another_thing_beside_canonical_content_is_invalid(self, kind: str) -> None:
        content = {"canonical": {"type": "text", "text": "another text"}, **self.wire.text}
        encoded = self.source.encode(outbound(content), self.target(kind), RECEIVED_MS)
        assert isinstance(encoded, Failed)
        assert (encoded.kind, "canonical" in encoded.error) == ("invalid", True)

    def test_the_recorded_payloads_show_each_content_and_update_that_the_kind_declares(self, kind: str) -> None:
        contents: set[str] = set()
        updates: set[str] = set()
        for fixture in load(self.folder).values():
            kinds = {self.wire.channel(account).id: self.wire.kind_of(account) for account in fixture.connected}
            facts = [] if fixture.undecodable is not None else self.routed(fixture).facts
            for fact in facts:
                if kinds.get(getattr(fact, "channel_id", "")) != kind:
                    continue
                if isinstance(fact, MessageReceived):
                    said = msgspec.json.decode(fact.canonical, type=canonical.Contents)
                    contents.update(canonical.name_of(content) for content in said)
                elif type(fact) in UPDATES:
                    updates.add(UPDATES[type(fact)])
        assert contents - {"raw"} == set(self._capable(kind).receives)
        assert updates == set(self._capable(kind).updates)

    def _capable(self, kind: str) -> Capabilities:
        return next(each for each in self.wire.spec.kinds if each.name == kind).capabilities

    # --- outcomes

    def provider(self, kind: str, *script: Act) -> ScriptedProvider:
        provider = ScriptedProvider(type(self.wire)(), LoopClock(), kind=kind)
        provider.script.extend(script)
        provider.scripts_tokens = True
        return provider

    @pytest.mark.parametrize(
        ("act", "wanted", "takes"),
        [
            (Act.OK, Sent, True),
            (Act.RATE_LIMITED, Failed, False),
            (Act.BLOCKED, Failed, False),
            (Act.TOKEN_REFUSED, Failed, False),
            (Act.UNREACHABLE, Failed, False),
            (Act.HANG, Lost, False),
            (Act.TAKEN_SILENT, Lost, True),
            (Act.CUT, Lost, True),
            (Act.BADLY_FRAMED, Lost, True),
        ],
    )
    async def test_what_became_of_a_message_is_never_claimed_wrongly(
        self, kind: str, act: Act, wanted: type, takes: bool
    ) -> None:
        """F5, F9. Failed means that the provider has not taken it; Lost that it may have."""
        provider = self.provider(kind, act)
        outcome = await calling.send(provider, self.source, self.calls(kind), RECEIVED_MS)
        assert isinstance(outcome, wanted)
        assert bool(provider.delivered) is takes
        if isinstance(outcome, Sent):
            assert outcome.provider_id == provider.delivered[0].provider_id
        if isinstance(outcome, Failed):
            assert (outcome.again_s is None) is (act in {Act.BLOCKED, Act.TOKEN_REFUSED})
            assert outcome.stop_lane is (act is Act.TOKEN_REFUSED)

    async def test_a_rate_limit_says_when_to_try_again(self, kind: str) -> None:
        provider = self.provider(kind, Act.RATE_LIMITED)
        provider.delay_s = 90
        outcome = await calling.send(provider, self.source, self.calls(kind), RECEIVED_MS)
        assert isinstance(outcome, Failed)
        assert (outcome.kind, outcome.again_s) == ("rate", 90.0)

    async def test_receipts_and_echoes_name_the_message_that_was_sent(self, kind: str) -> None:
        webhooks: list[Webhook] = []

        async def post(webhook: Webhook) -> None:
            webhooks.append(webhook)

        provider = ScriptedProvider(self.wire, LoopClock(), kind=kind, post=post)
        declared = next(each for each in self.wire.spec.kinds if each.name == kind).capabilities
        provider.echoes, provider.receipts = declared.echoes, delivery_states(declared)
        outcome = await calling.send(provider, self.source, self.calls(kind), RECEIVED_MS)
        assert isinstance(outcome, Sent)
        assert len(webhooks) == len(declared.receipts) + declared.echoes
        seen: Counter[str] = Counter()
        for webhook in webhooks:
            assert isinstance(self._verdict(webhook), Accepted)
            record = raw_record(self.source, webhook.body, account=webhook.account)
            for fact in self.source.route(record, self.wire.connected(*self.wire.accounts.values())).facts:
                if isinstance(fact, ReceiptReported):
                    seen[str(fact.state)] += 1
                    assert fact.provider_ids in {(outcome.provider_id,), ()}
                elif isinstance(fact, MessageEchoed):
                    seen["echo"] += 1
                    assert fact.provider_id == outcome.provider_id
                    assert fact.our_message_id in {outbound().id, None}
        assert seen == Counter([*declared.receipts, *(["echo"] if declared.echoes else [])])

    @given(
        status=st.integers(100, 599),
        body=st.binary(max_size=200)
        | st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            *("error", "code", "message", "message_id", "error_subcode", "sid", "ok", "error_code"),
                            *("result", "chat", "id", "description", "parameters", "retry_after"),
                            *("status", "status_message", "message_token", "name", "messageId"),
                        ]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=8,
        ).map(msgspec.json.encode),
        headers=st.dictionaries(st.sampled_from(["retry-after", "x-app-usage"]), st.text(max_size=6)),
    )
    # every source runs the examples on its own: none depends on another
    @settings(max_examples=2 * settings().max_examples, suppress_health_check=[HealthCheck.differing_executors])
    def test_every_answer_has_a_meaning(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        outcome = self.source.interpret([Response(status, headers, body)], RECEIVED_MS)
        assert isinstance(outcome, Sent | Failed | Lost)
        if isinstance(outcome, Sent):
            assert 200 <= status < 300

    @pytest.mark.parametrize("body", [b"", b"{", b"<html>ok</html>", b"[]", b"{}", b'{"message_id":', b'{"ok":true}'])
    def test_success_without_a_message_id_is_lost(self, body: bytes) -> None:
        assert isinstance(self.source.interpret([Response(200, {}, body)], RECEIVED_MS), Lost)

    # --- management

    @staticmethod
    def installation() -> Installation:
        return Installation(
            derived_secret=lambda _: Secret("fresh-secret-0123456789"),
            public_url=PUBLIC_URL,
            now_ms=lambda: RECEIVED_MS,
        )

    async def test_connecting_says_what_to_store(self, kind: str) -> None:
        provider = self.provider(kind)
        done = await self.source.connect(provider, kind, self.wire.form(kind), self.installation())
        declared = next(each for each in self.wire.spec.kinds if each.name == kind)
        assert done.account == self.wire.accounts[kind]
        assert done.name
        assert set(done.credentials) <= set(declared.credentials)
        printed = f"{done!r} {done.metadata}"
        assert [secret for secret in (*self.wire.secrets, "fresh-secret-0123456789") if secret in printed] == []

    @pytest.mark.parametrize(
        ("act", "wanted"),
        [
            (Act.TOKEN_REFUSED, Refused),
            (Act.RATE_LIMITED, Unavailable),
            (Act.BUSY, Unavailable),
            (Act.UNREACHABLE, Unavailable),
            (Act.HANG, Unavailable),
        ],
    )
    async def test_connecting_fails_by_type_and_without_secrets(
        self, kind: str, act: Act, wanted: type[Exception]
    ) -> None:
        with pytest.raises(wanted) as failed:
            await self.source.connect(self.provider(kind, act), kind, self.wire.form(kind), self.installation())
        assert [secret for secret in self.wire.secrets if secret in f"{failed.value!r} {failed.value}"] == []
        assert failed.value.__cause__ is None
        if act is Act.RATE_LIMITED:
            assert getattr(failed.value, "retry_after_s", None) == 7.0

    @pytest.mark.parametrize("act", list(Act))
    async def test_disconnecting_never_raises(self, kind: str, act: Act) -> None:
        said = await self.source.disconnect(self.provider(kind, act), self.target(kind), ())
        assert [secret for secret in self.wire.secrets if secret in (said or "")] == []

    def read(self, kind: str) -> tuple[Target, str]:
        """A message of a contact that is told of its being read."""
        return self.target(kind), "m-1"

    async def test_what_a_kind_declares_its_source_has(self, kind: str) -> None:
        source: Any = self.source
        declared = next(each for each in self.wire.spec.kinds if each.name == kind)
        capable = declared.capabilities
        assert hasattr(source, "explore") or not capable.explore
        assert (declared.explore is not None) is capable.explore
        assert bool(source.mark_read(*self.read(kind))) is capable.mark_read
        assert bool(source.typing(self.target(kind), "m-1")) is capable.typing
        if capable.profile == "provider":
            profile = await source.profile(self.provider(kind), self.target(kind))
            assert (profile.found, profile.display_name) == (True, "Ines Kuhn")

    async def test_a_profile_is_asked_for_again_after_a_delay(self, kind: str) -> None:
        source: Any = self.source
        declared = next(each for each in self.wire.spec.kinds if each.name == kind)
        if declared.capabilities.profile != "provider":
            return
        for act in (Act.RATE_LIMITED, Act.BUSY, Act.TOKEN_REFUSED):
            with pytest.raises(Unavailable) as unavailable:
                await source.profile(self.provider(kind, act), self.target(kind))
            assert unavailable.value.retry_after_s
            assert [secret for secret in self.wire.secrets if secret in str(unavailable.value)] == []

    async def test_a_checked_channel_works_or_says_why_not(self, kind: str) -> None:
        source: Any = self.source
        declared = next(each for each in self.wire.spec.kinds if each.name == kind)
        if declared.check_every_s is None:
            return
        assert await source.check(self.provider(kind), self.target(kind), RECEIVED_MS) == Checked()
        refused = await source.check(self.provider(kind, Act.TOKEN_REFUSED), self.target(kind), RECEIVED_MS)
        assert refused.problem
        assert [secret for secret in self.wire.secrets if secret in repr(refused)] == []
        if self.wire.credentials(kind):  # else the configured account is that of the channel
            assert (await source.check(self.provider(kind), self.target(kind, credentials=False), RECEIVED_MS)).problem
        for act in (Act.RATE_LIMITED, Act.BUSY, Act.UNREACHABLE, Act.HANG):
            with pytest.raises(Unavailable) as unavailable:
                await source.check(self.provider(kind, act), self.target(kind), RECEIVED_MS)
            assert [secret for secret in self.wire.secrets if secret in str(unavailable.value)] == []

    def test_requests_other_than_webhooks_are_answered_or_denied(self, kind: str) -> None:
        for method in ("GET", "PUT", "DELETE"):
            request = WebhookRequest(method=method, url=f"{PUBLIC_URL}/x", path="/x")
            verdict = self.source.verify(request, self.wire.connected(self.wire.accounts[kind]))
            assert isinstance(verdict, Denied)
