"""Everything a running Airy may be sent by mistake or in bad faith: answered precisely, and nothing is lost.

All of it is sent to one process at once, because other requests must not be affected.
"""

import hmac
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import closing
from hashlib import sha256
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest

from airy import config_file, topics
from airy.app.log_transfer.open_log import open_log
from airy.bus.record import Record
from airy.model import ids
from airy.sim.graph import DEMO_PAGE
from tests.kit.process import TOKEN, AiryProcess, connect, http_session, messenger

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

PSID = "7301184455660001"
SENT_MS = 1_767_225_600_000
WITHIN_S = 240.0  # bounds a hang
DRIP_S = 0.4  # between two bytes of a slow client
FLOOD_BYTES = 20_000_000
DRIPPED_BYTES = 1_000_000
SLOW = 2  # clients that drip a body
JSON = {"content-type": "application/json"}

SIGNED = "x-hub-signature-256"
LISTED = {"mid", "mid-surrogate", "mid-nul", "mid-nul-escaped", "mid-twice", "mid-neighbour", "mid-last"}


# --- webhooks


def _element(mid: str, text: str) -> str:
    """One message of a webhook; `text` is inserted into a JSON string unchanged."""
    people = f'"sender":{{"id":"{PSID}"}},"recipient":{{"id":"{DEMO_PAGE.id}"}}'
    return f'{{{people},"timestamp":{SENT_MS},"message":{{"mid":"{mid}","text":"{text}"}}}}'


def _webhook(*elements: str) -> bytes:
    entry = f'{{"id":"{DEMO_PAGE.id}","time":{SENT_MS},"messaging":[{",".join(elements)}]}}'
    return f'{{"object":"page","entry":[{entry}]}}'.encode()


def _webhook_that_hides_its_page(element: str) -> bytes:
    """The page's id is last, where the key extraction does not find it, so it is stored as unreadable."""
    return f'{{"object":"page","entry":[{{"messaging":[{element}],"id":"{DEMO_PAGE.id}"}}]}}'.encode()


def _deep(levels: int) -> str:
    return "[" * levels + "]" * levels


READABLE = {
    "plain": _webhook(_element("mid", "good morning")),
    "half a surrogate pair": _webhook(_element("mid-surrogate", "rye \\ud83d bread")),
    "a bare NUL": _webhook(_element("mid-nul", "rye \0 bread")),
    "an escaped NUL": _webhook(_element("mid-nul-escaped", "rye \\u0000 bread")),
    "a key given twice": _webhook(_element("mid-twice", 'first","text":"second')),
}
UNREADABLE = {
    "not JSON": b'{"object":"page","entry":[{"id":"%s","messaging": no' % DEMO_PAGE.id.encode(),
    "not JSON at all": b"hello?",
    "not text": bytes(range(256)),
    "NUL alone": b"\0",
    "5,000 levels": _deep(5_000).encode(),
    "5,000 levels, cut": b'{"a":' * 5_000,
    "a list": b"[1, 2, 3]",
    "another object": b'{"object":"user","entry":[]}',
    "no entry": b'{"object":"page","object":"page"}',
}
HALF_READABLE = {  # the valid event becomes a message, and the webhook is dead-lettered for the other
    "5,000 levels in one message": _webhook(
        f'{{"sender":{{"id":"{PSID}"}},"message":{_deep(5_000)}}}',
        _element("mid-neighbour", "still here"),
    ),
}


class Client:
    """A client of one process, with valid requests and raw bytes."""

    def __init__(self, airy: AiryProcess, session: aiohttp.ClientSession) -> None:
        self.airy = airy
        self.session = session
        self.port = int(airy.url.rpartition(":")[2])
        self.held = 0  # slow clients that send a body and have no response yet

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        async with self.session.post(f"{self.airy.url}{path}", data=body, headers=headers) as answer:
            return answer.status, await answer.read()

    async def hook(self, body: bytes, **headers: str) -> int:
        """Posts a signed webhook."""
        status, _ = await self.post("/facebook", body, {**JSON, SIGNED: _signature(body), **headers})
        return status

    async def api(self, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
        """Calls an action with the token. Returns the decoded response."""
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        status, answer = await self.post(path, body, {"authorization": f"Bearer {TOKEN}", **JSON, **headers})
        return status, msgspec.json.decode(answer) if answer else None

    async def raw(self, *parts: bytes, hang_up: bool = False) -> bytes:
        """The response to these bytes, until the server closes."""
        return await self.said(parts, hang_up=hang_up)

    async def said(self, parts: Iterable[bytes], *, hang_up: bool = False, wait_s: float = 0.0) -> bytes:
        """Likewise, with pauses between the parts."""
        received = bytearray()
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream, anyio.create_task_group() as tasks:

            async def listen() -> None:
                try:
                    while True:
                        received.extend(await stream.receive())
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    tasks.cancel_scope.cancel()

            if not hang_up:
                tasks.start_soon(listen)
            try:
                for part in parts:
                    await stream.send(part)
                    if wait_s:
                        await anyio.sleep(wait_s)
            except anyio.BrokenResourceError:
                pass  # the server closed; its response is in `received`
        return bytes(received)


def _signature(body: bytes, secret: bytes = b"app-secret") -> str:
    return f"sha256={hmac.new(secret, body, sha256).hexdigest()}"


def _head(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: airy", "content-type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:80]
    return int(answer.split(b" ", 2)[1])


# --- attacks


async def unproven_webhooks_are_refused(client: Client) -> None:
    body = _webhook(_element("mid-forged", "let me in"))
    assert (await client.post("/facebook", body, JSON))[0] == 401
    for signature in (_signature(body, b"another secret"), _signature(body + b" "), "sha256=", "sha1=0", "x" * 400):
        assert (await client.post("/facebook", body, {**JSON, SIGNED: signature}))[0] == 403
    right = f"{SIGNED}: {_signature(body)}"
    for second in (right, f"{SIGNED}: {_signature(body, b'another secret')}"):
        head = _head("/facebook", right, second, f"content-length: {len(body)}", "connection: close")
        assert _status(await client.raw(head + body)) == 403


async def whatever_is_signed_is_taken(client: Client) -> None:
    for name, body in {**READABLE, **UNREADABLE, **HALF_READABLE}.items():
        assert await client.hook(body) == 200, name
    assert await client.hook(_webhook_that_hides_its_page(_element("mid-last", "that was all"))) == 200


async def bodies_that_end_early_affect_no_other_request(client: Client) -> None:
    body = _webhook(_element("mid-cut", "never compl"))
    for path, proof in (("/facebook", f"{SIGNED}: {_signature(body)}"), ("/tags.list", f"authorization: {TOKEN}")):
        await client.raw(_head(path, proof, "content-length: 100000") + body, hang_up=True)
        await client.raw(_head(path, proof, "transfer-encoding: chunked") + b"ffff\r\n{", hang_up=True)
    await client.raw(b"POST /facebook HTT", hang_up=True)
    await client.raw(b"", hang_up=True)


async def floods_are_refused_before_they_are_read(client: Client) -> None:
    right = f"authorization: Bearer {TOKEN}"
    part = b"x" * 1_000
    for path, header in (("/facebook", f"{SIGNED}: sha256={'0' * 64}"), ("/messages.send", right)):
        said = await client.raw(_head(path, header, f"content-length: {FLOOD_BYTES}") + part)
        assert _status(said) == 413
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        said = await client.raw(_head(path, header, "transfer-encoding: chunked"), *[chunk] * (FLOOD_BYTES // 65_536))
        assert not said or _status(said) == 413  # a reset may discard the response, because the client keeps sending
    said = await client.raw(_head("/messages.send", f"content-length: {FLOOD_BYTES}", "connection: close") + part)
    assert _status(said) == 403
    assert _status(await client.raw(b"GET /livez HTTP/1.1\r\n" + b"x-filler: y\r\n" * 5_000)) == 431
    assert _status(await client.raw(b"\x16\x03\x01\x02\x00 this is TLS\r\n\r\n")) == 400


async def other_kinds_of_body_are_named(client: Client) -> None:
    packed = b"\x1f\x8b\x08\0 not what you expect"
    status, problem = await client.api("/tags.create", b'{"name":"a"}', content_type="text/plain")
    assert (status, problem["code"]) == (415, "unsupported_media_type")
    for headers in ({"content_encoding": "gzip"}, {"content_type": "application/json; charset=utf-16"}):
        assert (await client.api("/tags.create", packed, **headers))[0] == 415
    body = _webhook(_element("mid-packed", "packed"))
    assert await client.hook(body, **{"content-encoding": "gzip"}) == 415


UUID = ids.derive("unknown").encode()
AT_FIELDS = [
    ("/conversations.info", b'{"conversation_id": "42"}', {"conversation_id": "must be a UUID"}),
    ("/conversations.info", b"{}", {"conversation_id": "is required"}),
    ("/conversations.list", b'{"page_size": "many"}', {"page_size": None}),
    ("/conversations.list", b'{"cursor": "k!!"}', {"cursor": None}),
    ("/conversations.list", b'{"filters": "unread_count:["}', {"filters": None}),
    ("/conversations.list", b'{"filters": ["a"]}', {"filters": "must be text, not an array"}),
    ("/messages.list", b'{"conversation_id": {}}', {"conversation_id": "must be a UUID"}),
    (
        "/messages.send",
        b'{"conversation_id": "x", "message": null}',
        {"conversation_id": "must be a UUID", "message": "is required"},
    ),
    (
        "/messages.send",
        b'{"conversation_id": "%s", "message": {"text": "a \\ud83d"}}' % UUID,
        {"message.text": "contains an unpaired surrogate, which is not text"},
    ),
    ("/messages.send", b'{"conversation_id": 1, "conversation_id": 2}', {"conversation_id": "is given twice"}),
    (
        "/tags.create",
        b'{"name": [], "color": "mauve"}',
        {"name": "must be text, not an array", "color": "must be one of tag-red, tag-green, tag-blue, tag-purple"},
    ),
    (
        "/metadata.upsert",
        b'{"subject": "planet", "id": 7, "data": []}',
        {"subject": "must be one of message, conversation, channel", "id": "must be a UUID"},
    ),
    ("/metadata.upsert", b'{"subject": "message", "id": "%s", "data": []}' % UUID, {"data": "must be a JSON object"}),
    ("/webhooks.subscribe", b'{"url": "ftp://example.net"}', {"url": None}),
    ("/webhooks.subscribe", b'{"url": "https://example.net", "events": "all"}', {"events": None}),
    (
        "/channels.facebook.connect",
        b'{"page_token": {}}',
        {"page_id": "is required", "page_token": "must be text, not an object"},
    ),
    ("/tags.list", b'{"position": "here"}', {"position": None}),
    ("/messages.send", b'{"message": {"a": [0, 1e999]}}', {"message.a[1]": "the number 1e999 is out of range"}),
    ("/conversations.list", b'{"page_size": %s}' % (b"9" * 5_000), {"page_size": None}),
]
AS_A_WHOLE = [
    (b'{"message": %s}' % _deep(5_000).encode(), "the body nests deeper than 64 levels"),
    (b'{"message": NaN}', "the body is not JSON: NaN is not a JSON number"),
    (b'{"message": -Infinity}', "the body is not JSON: -Infinity is not a JSON number"),
    (b'{"message": "\xff"}', "the body is not UTF-8 at byte 13"),
    (b'{"message": "\0"}', "the body is not JSON: invalid control character at at line 1, column 14"),
    (b'{"message"', "the body is not JSON: expecting ':' delimiter at line 1, column 11"),
    (b'["message"]', "the body must be a JSON object, not an array"),
]


async def every_field_at_fault_is_named(client: Client) -> None:
    for path, body, expected in AT_FIELDS:
        status, problem = await client.api(path, body)
        found = {fault["field"]: fault["message"] for fault in problem["fields"]}
        assert (status, problem["code"], found.keys()) == (400, "invalid", expected.keys()), (path, body, problem)
        assert all(found[field] == message for field, message in expected.items() if message), (path, found)
        assert all(found.values()), (path, found)
    for path in ("/messages.send", "/conversations.list", "/webhooks.subscribe"):
        for body, message in AS_A_WHOLE:
            assert await client.api(path, body) == (400, {"message": message, "code": "invalid", "fields": []}), path


async def drip_headers(client: Client) -> None:
    """Endless unless the server ends it; a test in virtual time checks the time limit."""
    drops = [b"POST /facebook HTTP/1.1\r\n"]
    assert _status(await client.said(chain(drops, repeat(b"x")), wait_s=DRIP_S)) == 408


async def drip_body(client: Client, path: str, *headers: str) -> None:
    def drops() -> Iterator[bytes]:
        yield _head(path, *headers, f"content-length: {DRIPPED_BYTES}")
        client.held += 1
        yield from repeat(b" ")

    said = await client.said(drops(), wait_s=DRIP_S)
    client.held -= 1
    assert _status(said) == 408


async def say_nothing(client: Client) -> None:
    assert await client.raw(b"") == b""


async def ordinary_requests(client: Client, name: str) -> None:
    """Both kinds of them."""
    assert await client.hook(_webhook(_element(f"mid-usual-{name}", "as usual"))) == 200
    assert (await client.api("/conversations.list", b"{}"))[0] == 200


async def other_requests_are_served(client: Client, done: anyio.Event) -> None:
    """Ordinary requests until the attacks end, partly while all slow clients are connected."""
    number, meanwhile = 0, 0
    while not done.is_set():
        before = client.held
        await ordinary_requests(client, f"{number}")
        number, meanwhile = number + 1, meanwhile + (before == client.held == SLOW)
        await anyio.sleep(0.25)
    assert meanwhile > 0


# --- the test


async def test_bad_input_gets_precise_errors_and_loses_no_data(tmp_path: Path) -> None:
    attacks: list[Callable[[Client], Awaitable[None]]] = [
        unproven_webhooks_are_refused,
        whatever_is_signed_is_taken,
        bodies_that_end_early_affect_no_other_request,
        floods_are_refused_before_they_are_read,
        other_kinds_of_body_are_named,
        every_field_at_fault_is_named,
    ]
    async with messenger() as (_, graph_url), http_session() as session:
        with closing(AiryProcess(tmp_path, graph_url)) as airy:
            airy.start()
            await airy.ready(session)
            await connect(airy, session)
            client, done = Client(airy, session), anyio.Event()
            async with anyio.create_task_group() as others:
                others.start_soon(other_requests_are_served, client, done)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(drip_body, client, "/facebook", f"{SIGNED}: sha256={'0' * 64}")
                    tasks.start_soon(drip_body, client, "/tags.list", f"authorization: Bearer {TOKEN}")
                    tasks.start_soon(drip_headers, client)
                    tasks.start_soon(say_nothing, client)
                    for attack in attacks:
                        await attack(client)
                done.set()
            texts = await _texts(client)
            metrics = await _metrics(client)
            code = airy.stop()

    assert code == 0
    assert texts["mid-surrogate"] == "rye \ufffd bread"
    assert texts["mid-nul"] == texts["mid-nul-escaped"] == "rye \0 bread"
    assert texts["mid-twice"] == "second"
    assert texts["mid-neighbour"] == "still here"
    assert [mid for mid in texts if mid not in LISTED and not mid.startswith("mid-usual-")] == []
    assert metrics.get('airy_responses_total{kind="5xx"}', 0.0) == 0.0
    assert metrics['airy_responses_total{kind="4xx"}'] > 20
    assert metrics['airy_ingress_total{kind="failed"}'] == 0.0
    assert metrics['airy_ingress_total{kind="denied"}'] == 8.0
    assert _complaints(airy.log) == []

    letters = await _dead_letters(tmp_path)
    assert sorted(letter.value or b"" for letter in letters) == sorted([*UNREADABLE.values(), *HALF_READABLE.values()])
    assert all(letter.header("dlq-reason") and letter.header("request-id") for letter in letters)


async def _texts(client: Client) -> dict[str, str]:
    """The texts of the conversation by the provider's message id, once all valid messages are folded."""
    with anyio.fail_after(WITHIN_S):
        while True:
            texts = await _listed(client)
            if texts.keys() >= LISTED:
                return texts
            await anyio.sleep(0.02)  # real time: waits for another process


async def _listed(client: Client) -> dict[str, str]:
    _, conversations = await client.api("/conversations.list", b"{}")
    (conversation,) = conversations["data"]
    body = msgspec.json.encode({"conversation_id": conversation["id"], "page_size": 500})
    _, page = await client.api("/messages.list", body)
    return {message["metadata"]["source"]["id"]: message["content"]["message"]["text"] for message in page["data"]}


async def _metrics(client: Client) -> dict[str, float]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with client.session.get(f"{client.airy.url}/metrics", headers=headers) as answer:
        lines = (await answer.text()).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def _complaints(log: Path) -> list[bytes]:
    """Log lines of unexpected errors: no input may cause one."""
    lines = log.read_bytes().splitlines()
    assert lines
    return [line for line in lines if b'"level":"info"' not in line and b'"level":"warning"' not in line]


async def _dead_letters(directory: Path) -> list[Record]:
    config = config_file.load(directory / "airy.yaml", {"AIRY_DATA": str(directory / "data")})
    topic = topics.dead_letters(topics.source_events("facebook").name)
    async with open_log(config) as bus, bus.tail(await bus.beginning_offsets([topic])) as tail:
        return await tail.fetch(records_max=1_000, wait_s=0)
