"""Google's error documents: of its APIs, and of its token endpoint, which has another shape."""

from airy.sim.provider.api import ApiReply, json_reply, record
from airy.sim.provider.options import SendFault

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
MESSAGES = {
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential.",
    403: "The caller does not have permission",
    404: "Requested entity was not found.",
    409: "Requested entity already exists",
    429: "Quota exceeded.",
    500: "Internal error encountered.",
    503: "The service is currently unavailable.",
}
FAULTS = {SendFault.RATE_LIMITED: 429, SendFault.BUSY: 503, SendFault.TOKEN_EXPIRED: 401}


def error(code: int, message: str | None = None, *, retry_after_s: int | None = None) -> ApiReply:
    said = message or MESSAGES.get(code, "simulated error")
    document = {"error": {"code": code, "message": said, "status": STATUSES.get(code, "UNKNOWN")}}
    headers = {} if retry_after_s is None else {"retry_after": str(retry_after_s)}
    return json_reply(document, code, **headers)


def token_error(name: str, description: str) -> ApiReply:
    return json_reply({"error": name, "error_description": description}, 400)


def code_of(reply: ApiReply) -> int | None:
    code = record(record(reply.body.decode("utf-8", "replace")).get("error")).get("code")
    return code if isinstance(code, int) else None
