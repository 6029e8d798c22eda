"""Requests, replies and errors of the Graph API."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Struct

_VERSION = re.compile(r"^/v\d+\.\d+(?=/)")


class GraphRequest(Struct, frozen=True):
    """A call, with its parameters from query, form or JSON body."""

    method: str
    path: str  # without the version
    parameters: Mapping[str, object]
    token: str | None
    address: str  # scheme, host and version of the call: links in replies start with it

    def text(self, name: str) -> str:
        found = self.parameters.get(name)
        return found if isinstance(found, str) else ""


class GraphReply(Struct, frozen=True):
    """`status` None: no response. `reached` False: no connection either."""

    status: int | None
    body: bytes = b""
    content_type: str = "application/json; charset=UTF-8"
    reached: bool = True
    after_ms: int = 0


NO_RESPONSE = GraphReply(None)
UNREACHABLE = GraphReply(None, reached=False)


def request(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> GraphRequest:
    """`headers` with lower-case names."""
    parts = urlsplit(url)
    version = _VERSION.match(parts.path)
    parameters: dict[str, object] = dict(parse_qsl(parts.query, keep_blank_values=True))
    parameters |= _form(headers.get("content-type", ""), body or b"")
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    token = bearer.strip() if scheme.lower() in {"bearer", "oauth"} else parameters.get("access_token")
    prefix = version[0] if version else ""
    return GraphRequest(
        method=method.upper(),
        path=parts.path.removeprefix(prefix),
        parameters=parameters,
        token=token if isinstance(token, str) and token else None,
        address=f"{parts.scheme}://{parts.netloc}{prefix}",
    )


def _form(content_type: str, body: bytes) -> dict[str, object]:
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        found = msgspec.json.decode(body) if body else {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def ok(document: object) -> GraphReply:
    return GraphReply(200, msgspec.json.encode(document))


def error(
    message: str,
    code: int,
    *,
    subcode: int | None = None,
    status: int = 400,
    kind: str = "OAuthException",
) -> GraphReply:
    details: dict[str, object] = {"message": message, "type": kind, "code": code}
    if subcode is not None:
        details["error_subcode"] = subcode
    details["fbtrace_id"] = f"A{code}{subcode or 0}sim"
    return GraphReply(status, msgspec.json.encode({"error": details}))


def code_of(reply: GraphReply) -> int | None:
    """The Graph error code of a reply."""
    try:
        found = msgspec.json.decode(reply.body)
    except msgspec.MsgspecError:
        return None
    details = found.get("error") if isinstance(found, dict) else None
    return int(details["code"]) if isinstance(details, dict) else None


NO_TOKEN = error("An active access token must be used to query information about the current user.", 2500)
BAD_PROOF = error(
    "Invalid appsecret_proof provided in the API argument",
    100,
    kind="GraphMethodException",
)
NEEDS_PROOF = error(
    "API calls from the server require an appsecret_proof argument",
    100,
    kind="GraphMethodException",
)


def bad_token(token: str) -> GraphReply:
    """Quotes the token, as Meta does."""
    return error(f"Malformed access token {token}", 190, status=401)


def expired_token() -> GraphReply:
    message = "Error validating access token: the session has been invalidated."
    return error(message, 190, subcode=460, status=401)


def unsupported(method: str, path: str) -> GraphReply:
    message = f"Unsupported {method.lower()} request. Object with ID '{path.strip('/')}' does not exist"
    return error(message, 100, subcode=33, kind="GraphMethodException")
