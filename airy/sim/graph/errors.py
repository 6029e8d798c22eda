"""Requests of the Graph API, and its errors."""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from airy.sim.provider.api import ApiReply, ApiRequest, json_reply

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


def request(call: ApiRequest) -> GraphRequest:
    version = _VERSION.match(call.path)
    parameters: dict[str, object] = {**call.query, **call.fields()}
    scheme, _, bearer = call.headers.get("authorization", "").partition(" ")
    token = bearer.strip() if scheme.lower() in {"bearer", "oauth"} else parameters.get("access_token")
    prefix = version[0] if version else ""
    return GraphRequest(
        method=call.method,
        path=call.path.removeprefix(prefix),
        parameters=parameters,
        token=token if isinstance(token, str) and token else None,
        address=f"{call.address}{prefix}",
    )


def error(
    message: str,
    code: int,
    *,
    subcode: int | None = None,
    status: int = 400,
    kind: str = "OAuthException",
    retry_after_s: int | None = None,
) -> ApiReply:
    details: dict[str, object] = {"message": message, "type": kind, "code": code}
    if subcode is not None:
        details["error_subcode"] = subcode
    details["fbtrace_id"] = f"A{code}{subcode or 0}sim"
    return json_reply(
        {"error": details}, status, **({} if retry_after_s is None else {"retry_after": str(retry_after_s)})
    )


def code_of(reply: ApiReply) -> int | None:
    """The Graph error code of a reply."""
    try:
        found = msgspec.json.decode(reply.body)
    except msgspec.MsgspecError:
        return None
    details = found.get("error") if isinstance(found, dict) else None
    return int(details["code"]) if isinstance(details, dict) and "code" in details else None


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


def bad_token(token: str) -> ApiReply:
    """Quotes the token, as Meta does."""
    return error(f"Malformed access token {token}", 190, status=401)


def expired_token() -> ApiReply:
    message = "Error validating access token: the session has been invalidated."
    return error(message, 190, subcode=460, status=401)


def unsupported(method: str, path: str) -> ApiReply:
    message = f"Unsupported {method.lower()} request. Object with ID '{path.strip('/')}' does not exist"
    return error(message, 100, subcode=33, kind="GraphMethodException")
