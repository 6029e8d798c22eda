"""Any request to any webhook path, and any stored webhook: no exception but `Undecodable`, and no 5xx.

Recorded webhooks are mutated: the values of their JSON or form, their bytes, and around them path, query and headers.
`FUZZ_EXAMPLES` is the number of examples of each property at each source (`make fuzz EXAMPLES=5000`).
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from airy import topics
from airy.bus.memory import MemoryBus
from airy.clock import LoopClock, RandomIds
from airy.errors import Undecodable
from airy.http.admission import AdmissionControl
from airy.http.body_reader import BodyReader
from airy.http.ingress import Ingress
from airy.model.fact import Fact, MessageEchoed, MessageEdited, MessageReceived
from airy.sources import canonical
from airy.sources.api import Accepted, Accounts, Denied, Routed, WebhookReply
from tests.kit.asgi import call
from tests.kit.contracts.source import Fixture, load, raw_record
from tests.kit.event_loops import run_seeded
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL, Headers, Webhook, Wire

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "50"))
BATCH = 10  # requests to one application
FOLDER = Path(__file__).parent

texts = st.text(max_size=12) | st.sampled_from(
    ["", "0", "-1", "1e999", "٣", "\x00", "\ud800", "%", "%zz", "+", "whatsapp:", "pa:", "9" * 30, "=", "a" * 3000]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
header_values = st.binary(max_size=80) | st.sampled_from(
    [b"", b"sha256=", b"sha256=\xff", b"application/json", b"text/plain; charset=x", b"=" * 5000, b"0" * 64]
)


@cache
def recorded(source: str) -> Sequence[Fixture]:
    return list(load(FOLDER / source / "fixtures").values())


def places(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every part of a document, its own left out."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield (*at, name)
        yield from places(part, (*at, name))


def mutated(draw: st.DrawFn, document: dict[str, object]) -> dict[str, object]:
    """A copy with one part, however deep, replaced, left out or, in a list, doubled."""
    copied: Any = json.loads(json.dumps(document))
    found = list(places(copied))
    if not found:
        return {"x": draw(values)}
    *way, last = draw(st.sampled_from(found))
    owner = copied
    for step in way:
        owner = owner[step]
    how = draw(st.sampled_from(["replaced", "replaced", "replaced", "left out", "doubled"]))
    if how == "left out":
        del owner[last]
    elif how == "doubled" and isinstance(owner, list):
        owner.append(owner[last])
    else:
        owner[last] = draw(values)
    changed: dict[str, object] = copied
    return changed


def encoded(document: object) -> bytes:
    """Lone surrogates and infinities included, as careless JSON libraries write them."""
    return json.dumps(document, separators=(",", ":")).encode("utf-8", "surrogatepass")


@st.composite
def bodies(draw: st.DrawFn, source: str) -> bytes:
    """A recorded body whose values or bytes are changed."""
    fixture = draw(st.sampled_from(recorded(source)))
    body = fixture.bytes
    if fixture.payload is not None and draw(st.integers(0, 3)):
        document = fixture.payload
        for _ in range(draw(st.integers(1, 3))):
            document = mutated(draw, document)
        return encoded(document)
    if fixture.form is not None and draw(st.integers(0, 3)):
        pairs = parse_qsl(body.decode(), keep_blank_values=True)
        place = draw(st.integers(0, len(pairs) - 1))
        pairs[place] = (draw(st.just(pairs[place][0]) | texts), draw(texts))
        return urlencode(pairs, errors="surrogatepass").encode()
    for _ in range(draw(st.integers(0, 3))):
        place, cut = draw(st.integers(0, len(body))), draw(st.integers(0, 8))
        body = body[:place] + draw(st.binary(max_size=4)) + body[place + cut :]
    return body


@st.composite
def webhooks(draw: st.DrawFn, source: str) -> tuple[str, Webhook, Headers]:
    """A method, a request to one of the paths of the source, and its headers, often signed as the provider does it."""
    wire = WIRES[source]
    account = draw(st.sampled_from(sorted(wire.accounts.values())))
    webhook = wire.wrapped(draw(bodies(source)), account)
    path = draw(st.just(webhook.path) | st.sampled_from([_filled(each) for each in wire.spec.webhooks]))
    query = draw(st.just(webhook.query) | st.lists(st.tuples(texts, texts), max_size=3).map(_query) | QUERIES)
    webhook = msgspec.structs.replace(webhook, path=path, query=query)
    headers = signed_or_forged(draw, wire, webhook)
    if draw(st.booleans()):
        names = sorted({*(name for name, _ in headers), b"content-type", b"content-encoding", b"x-hub-signature-256"})
        headers = [*headers, (draw(st.sampled_from(names)), draw(header_values))]
    return draw(st.sampled_from(["POST", "POST", "POST", "GET"])), webhook, headers


QUERIES = st.sampled_from(
    [
        "hub.mode=subscribe&hub.verify_token=verify-me&hub.challenge=%FF%00",
        "hub.mode=subscribe&hub.verify_token=%C3%A9&hub.challenge=1",
        "bodySHA256=zz&sig=%ff",
        "%",
        "&&==&",
    ]
)


def _filled(template: str) -> str:
    return template.replace("{channel_id}", "not-a-channel-ü")


def _query(pairs: list[tuple[str, str]]) -> str:
    return urlencode(pairs, errors="surrogatepass")


def signed_or_forged(draw: st.DrawFn, wire: Wire, webhook: Webhook) -> Headers:
    sign = draw(st.sampled_from([wire.signed, wire.signed, wire.forged]))
    with suppress(ValueError):  # the provider itself cannot sign such a form
        return sign(webhook)
    return []


every_source = pytest.mark.parametrize("source", list(WIRES))


@every_source
@given(data=st.data())
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_any_stored_webhook_is_routed_to_facts_the_log_takes_or_undecodable(source: str, data: st.DataObject) -> None:
    wire = WIRES[source]
    fixture = data.draw(st.sampled_from(recorded(source)))
    headers = data.draw(st.just(fixture.headers) | st.dictionaries(st.sampled_from([*fixture.headers, "x"]), texts))
    record = raw_record(
        wire.source(),
        data.draw(bodies(source)),
        account=data.draw(st.just(fixture.owner) | texts.map(lambda text: text.replace("\ud800", ""))),
        headers={name: value.replace("\ud800", "") for name, value in headers.items()},
    )
    try:
        routed = wire.source().route(record, wire.connected(*fixture.connected))
    except Undecodable:
        return
    assert isinstance(routed, Routed)
    for fact in routed.facts:
        stored = msgspec.json.decode(msgspec.json.encode(fact), type=Fact)
        if isinstance(stored, MessageReceived | MessageEchoed | MessageEdited):
            assert msgspec.json.decode(stored.canonical, type=canonical.Contents)


@every_source
@given(data=st.data())
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_any_request_has_a_verdict(source: str, data: st.DataObject) -> None:
    wire = WIRES[source]
    method, webhook, headers = data.draw(webhooks(source))
    request = msgspec.structs.replace(wire.request(webhook, headers=headers), method=method)
    verdict = wire.source().verify(request, wire.connected(*wire.accounts.values()))
    assert isinstance(verdict, Accepted | Denied | WebhookReply)
    if isinstance(verdict, Accepted):
        assert 200 <= verdict.reply.status < 300


async def _post_all(wire: Wire, requests: Sequence[tuple[str, Webhook, Headers]]) -> None:
    bus = MemoryBus([topics.source_events(wire.spec.name)], clock=LoopClock())

    async def accounts() -> Accounts:
        return wire.connected(*wire.accounts.values())

    app = Ingress(
        wire.source(),
        bus,
        clock=LoopClock(),
        ids=RandomIds(),
        admission=AdmissionControl(),
        reader=BodyReader(),
        accounts=accounts,
        public_url=PUBLIC_URL,
    )
    with capture_logs() as logged:
        for method, webhook, headers in requests:
            given_headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
            answer = await call(
                app, method, webhook.path, body=webhook.body, headers=given_headers, query=webhook.query
            )
            repeatable = answer.status == 503 and "retry-after" in answer.headers  # it cannot be verified yet
            assert answer.status < 500 or repeatable, (method, webhook, headers, answer)
    assert [line for line in logged if line["event"] == "ingress.failed"] == []


@every_source
@given(data=st.data())
@settings(max_examples=max(1, EXAMPLES // BATCH), suppress_health_check=list(HealthCheck))
def test_no_request_causes_a_5xx(source: str, data: st.DataObject) -> None:
    asked = data.draw(st.lists(webhooks(source), min_size=BATCH, max_size=BATCH))
    run_seeded(0, _post_all, WIRES[source], asked)
