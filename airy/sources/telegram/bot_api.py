"""What every call of the Bot API shares: the address with the token in it, and errors."""

from collections.abc import Mapping
from urllib.parse import quote

import msgspec
from msgspec import Struct

from airy.secret import Secret
from airy.sources import payload, provider_answer
from airy.sources.api import Call

JSON = Secret("application/json")
ERROR_CHARACTERS_MAX = 500
DELAY_MAX_S = 3_600.0


class BotError(Struct, frozen=True):
    code: int
    description: str
    retry_after_s: float | None
    migrated_to: str | None


def call(api_url: str, token: Secret, method: str, fields: Mapping[str, object]) -> Call:
    url = f"{api_url.rstrip('/')}/bot{quote(token.reveal(), safe=':')}/{method}"
    return Call("POST", Secret(url), {"content-type": JSON}, msgspec.json.encode(fields), (token,))


def file_call(api_url: str, token: Secret, path: str) -> Call:
    url = f"{api_url.rstrip('/')}/file/bot{quote(token.reveal(), safe=':')}/{quote(path, safe='/')}"
    return Call("GET", Secret(url), {}, None, (token,))


def error_of(found: Mapping[str, object] | None) -> BotError | None:
    """None if `found` is no error of the Bot API. A code that is missing is 0."""
    if found is None or not (found.get("ok") is False or ("ok" not in found and "error_code" in found)):
        return None
    parameters = payload.record(found.get("parameters"))
    delay_s = provider_answer.seconds(parameters.get("retry_after"))
    return BotError(
        code=provider_answer.number(found.get("error_code")) or 0,
        description=(payload.text(found.get("description")) or "no description")[:ERROR_CHARACTERS_MAX],
        retry_after_s=None if delay_s is None else min(delay_s, DELAY_MAX_S),
        migrated_to=payload.identifier(parameters.get("migrate_to_chat_id")),
    )
