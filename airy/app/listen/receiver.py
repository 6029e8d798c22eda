"""The receiver as an ASGI application: each request becomes a row and an answer."""

from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from airy.app.listen.answer_plan import AnswerPlan
from airy.app.listen.signature_check import ReceiverSecrets, Verdict, check
from airy.clock import Clock
from airy.http.asgi import AsgiMessage, RawHeaders, Receive, Scope, Send
from airy.http.body_reader import BodyReader, ClientDisconnected
from airy.http.problems import Problem
from airy.model.render import timestamp

IDS_MAX = 10_000  # of deliveries, remembered to recognise repetitions
NOT_FOUND = 404


class ReceivedDelivery(Struct, frozen=True, kw_only=True):
    """`repeats`: how often the event was received before. `body`: the JSON of the event; None if it is none."""

    received_at: str
    number: int  # of the request, from 1
    event: str | None
    event_id: str | None
    repeats: int
    signature: Verdict
    reason: str | None  # why the signature is invalid
    status: int  # answered
    bytes: int
    body: Any


class Receiver:
    """`path` None: every path is taken. `on_delivery` gets each row before the answer is sent."""

    def __init__(
        self,
        plan: AnswerPlan,
        secrets: ReceiverSecrets,
        on_delivery: Callable[[ReceivedDelivery], None],
        clock: Clock,
        *,
        path: str | None = None,
        random: Random | None = None,
    ) -> None:
        self.secrets = secrets
        self._plan = plan
        self._on_delivery = on_delivery
        self._clock = clock
        self._path = path
        self._random = random or Random()  # noqa: S311 - which requests fail is no secret
        self._reader = BodyReader()
        self._times: OrderedDict[str, int] = OrderedDict()  # how often each event was received
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            body = await self._reader.read(receive, scope["headers"])
        except ClientDisconnected:
            return
        except Problem as problem:
            await _answer(send, problem.status, problem.headers)
            return
        if scope["method"] != "POST" or self._path not in (None, scope["path"]):
            await _answer(send, NOT_FOUND)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        status = self._take(headers, body)
        await anyio.sleep(self._plan.delay_s)
        await _answer(send, status)

    def _take(self, headers: dict[str, str], body: bytes) -> int:
        self._requests += 1
        now_ms = self._clock.now_ms()
        checked = check(headers, body, self.secrets, now_ms / 1000)
        status = self._plan.answer(self._requests, genuine=checked.genuine, random=self._random)
        document = _document(body)
        event_id = headers.get("webhook-id") or _text(document, "id")
        self._on_delivery(
            ReceivedDelivery(
                received_at=timestamp(now_ms),
                number=self._requests,
                event=_text(document, "type"),
                event_id=event_id,
                repeats=self._repeats(event_id),
                signature=checked.verdict,
                reason=checked.reason or None,
                status=status,
                bytes=len(body),
                body=document,
            )
        )
        return status

    def _repeats(self, event_id: str | None) -> int:
        if event_id is None:
            return 0
        before = self._times.pop(event_id, 0)
        self._times[event_id] = before + 1
        if len(self._times) > IDS_MAX:
            self._times.popitem(last=False)
        return before


def _document(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _text(document: Any, name: str) -> str | None:
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) else None


async def _answer(send: Send, status: int, headers: RawHeaders = ()) -> None:
    start: AsgiMessage = {
        "type": "http.response.start",
        "status": status,
        "headers": [*headers, (b"content-length", b"0")],
    }
    await send(start)
    await send({"type": "http.response.body", "body": b""})
