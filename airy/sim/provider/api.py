"""What goes over the wire: calls of the API and their replies, webhooks and their responses."""

import email.message
import email.parser
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Struct, field


class WebhookRequestBody(Struct, frozen=True):
    """`url`: registered at the provider, or only a path where the provider knows no address."""

    url: str
    body: bytes
    headers: dict[str, str]


class Event(Struct, frozen=True):
    """What a webhook reports. `element` is in the provider's shape. `topic`: the subscription it needs. `batch`: events
    with the same one may share a webhook. `order`: events with the same one are posted strictly one after another.
    `url`: where it goes, if not to its account's webhook. `lives_ms`: it is dropped after that.
    """

    account_id: str
    kind: str
    element: Mapping[str, object]
    ids: tuple[str, ...] = ()
    topic: str = ""
    batch: str = ""
    order: str = ""
    url: str | None = None
    lives_ms: int | None = None


class PendingWebhook(Struct, frozen=True):
    """A webhook to send; the response goes to `on_response`."""

    id: int
    url: str
    body: bytes
    headers: dict[str, str]
    events: tuple[Event, ...]
    first_ms: int
    encoded_ms: int
    attempt: int = 1
    duplicate: bool = False


class WebhookAnswer(Struct, frozen=True):
    """`status` None: no response. `posted` False: there is no address yet."""

    status: int | None
    body: bytes = b""
    retry_after_s: float | None = None
    posted: bool = True

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


UNPOSTED = WebhookAnswer(None, posted=False)


class AddressCheck(Struct, frozen=True):
    """What a provider asks an address before it uses it. `path` with its query; `body` None: GET, else POST."""

    path: str
    expected: str  # the body of the response
    body: bytes | None = None
    credential: str = "verify token"


class ApiRequest(Struct, frozen=True):
    """`headers` have lower-case names. `address` is scheme and host of the call."""

    method: str
    address: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def document(self) -> dict[str, Any]:
        """The JSON object of the body; empty for anything else."""
        try:
            found = msgspec.json.decode(self.body) if self.body else {}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def form(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)

    def fields(self) -> dict[str, Any]:
        """The body's fields, whichever of JSON, form and multipart it is; files as `SimFile`."""
        if self.content_type.startswith("application/x-www-form-urlencoded"):
            return dict(self.form())
        if self.content_type.startswith("multipart/form-data"):
            return _multipart(self.content_type, self.body)
        return self.document()


class SimFile(Struct, frozen=True):
    body: bytes
    mime: str
    name: str


class ApiReply(Struct, frozen=True):
    """`status` None: no response. `reached` False: no connection either.

    `check`: a webhook that has to be taken first; if it is not, `otherwise` is the reply.
    """

    status: int | None
    body: bytes = b""
    content_type: str = "application/json; charset=UTF-8"
    headers: dict[str, str] = field(default_factory=dict)
    reached: bool = True
    after_ms: int = 0
    check: "PendingWebhook | None" = None
    otherwise: "ApiReply | None" = None


NO_RESPONSE = ApiReply(None)
UNREACHABLE = ApiReply(None, reached=False)
GATEWAY = ApiReply(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html")


def api_request(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> ApiRequest:
    parts = urlsplit(url)
    return ApiRequest(
        method=method.upper(),
        address=f"{parts.scheme}://{parts.netloc}",
        path=parts.path,
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers=headers,
        body=body or b"",
    )


def json_reply(document: object, status: int = 200, **headers: str) -> ApiReply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return ApiReply(status, msgspec.json.encode(document), headers=named)


def record(thing: object) -> dict[str, Any]:
    """`thing` if it is an object, also where a form carries it as text; else an empty one."""
    if isinstance(thing, str):
        try:
            thing = msgspec.json.decode(thing)
        except (msgspec.MsgspecError, RecursionError):
            return {}
    return thing if isinstance(thing, dict) else {}


def records(thing: object) -> list[dict[str, Any]]:
    return [each for each in thing if isinstance(each, dict)] if isinstance(thing, list) else []


def _multipart(content_type: str, body: bytes) -> dict[str, Any]:
    parsed = email.parser.BytesParser().parsebytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + body)
    found: dict[str, Any] = {}
    for part in parsed.get_payload() if parsed.is_multipart() else ():
        if not isinstance(part, email.message.Message):
            continue
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(payload, bytes):
            continue
        file_name = part.get_filename()
        if file_name is None:
            found[name] = payload.decode("utf-8", "replace")
        else:
            found[name] = SimFile(payload, part.get_content_type(), file_name)
    return found
