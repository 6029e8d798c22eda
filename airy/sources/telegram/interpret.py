"""The Bot API's answer becomes an outcome. Pure, and never raises.

`ok: false` is a recorded failure: the message was not taken. An answer that is not the Bot API's proves nothing, so the
call is not repeated.
"""

from collections.abc import Sequence

from msgspec import Raw

from airy.http_client import Response
from airy.model.fact import ErrorKind
from airy.sources import payload, provider_answer
from airy.sources.api import Failed, Lost, Outcome, Sent
from airy.sources.retry_after import retry_after_s
from airy.sources.telegram import bot_api, chat
from airy.sources.telegram.bot_api import BotError

BUSY_S = 1.0
RATE_S = 5.0
MOVED_ATTEMPTS_MAX = 3  # a group moves once
NOT_FOUND = (
    "chat not found",
    "chat_id is empty",
    "peer_id_invalid",
    "replied not found",
    "thread not found",
    "topic_closed",
    "topic_deleted",
    "user not found",
)
BLOCKED = (
    "bot is not a member",
    "bot was blocked",
    "bot was kicked",
    "business_connection_invalid",  # the account's owner has ended it
    "business_peer_invalid",
    "rights to send",
    "user is deactivated",
    "voice_messages_forbidden",
)
WINDOW = ("business_peer_usage_missing",)  # the contact did not write to the account within a day
DETAIL_BYTES_MAX = 8_192


def interpret(answers: Sequence[Response]) -> Outcome:
    answer = answers[-1]
    found = payload.object_of(answer.body)
    error = bot_api.error_of(found)
    if error is not None:
        return _refused(answer, error)
    if 200 <= answer.status < 300:
        provider_id = _provider_id((found or {}).get("result"))
        if provider_id is None:
            return Lost(provider_answer.said(f"telegram answered {answer.status} without a message", answer))
        return Sent(provider_id)
    if answer.status == 429:
        said = provider_answer.said("telegram answered 429", answer)
        return Failed(kind="rate", error=said, code="http/429", again_s=_rate_s(answer))
    if answer.status >= 500:
        text = f"telegram answered {answer.status} without saying whether it took the message"
        return Lost(provider_answer.said(text, answer))
    text = f"telegram answered {answer.status} without an error we know; check api_url"
    return Failed(kind="unknown", error=provider_answer.said(text, answer), code=f"http/{answer.status}")


def _provider_id(result: object) -> str | None:
    """Of the message, or of the first one of an album."""
    first = result[0] if isinstance(result, list) and result else result
    return chat.message(payload.record(first))


def _refused(answer: Response, error: BotError) -> Failed:
    detail = Raw(answer.body) if len(answer.body) <= DETAIL_BYTES_MAX else None
    number = error.code or (answer.status if answer.status >= 400 else 0)
    said, code = error.description, str(error.code) if error.code else f"http/{answer.status}"
    if number == 429:
        delay_s = _rate_s(answer) if error.retry_after_s is None else error.retry_after_s
        return Failed(kind="rate", error=said, code=code, detail=detail, again_s=delay_s)
    if number in {401, 404}:  # 404: no bot has this token
        return Failed(kind="auth", error=said, code=code, detail=detail, stop_lane=True)
    if number >= 500 or number == 409:
        return Failed(kind="provider", error=said, code=code, detail=detail, again_s=BUSY_S)
    if error.migrated_to is not None:
        moved = f"{said}: the group is chat {error.migrated_to} now"
        return Failed(
            kind="not_found",
            error=moved,
            code=code,
            detail=detail,
            again_s=0.0,
            attempts_max=MOVED_ATTEMPTS_MAX,
            renamed=error.migrated_to,
        )
    return Failed(kind=_kind(said.lower(), forbidden=number == 403), error=said, code=code, detail=detail)


def _kind(sentence: str, *, forbidden: bool) -> ErrorKind:
    """Of a refusal that Telegram describes in words alone."""
    if any(words in sentence for words in WINDOW):
        return "window"
    if forbidden or any(words in sentence for words in BLOCKED):
        return "blocked"
    return "not_found" if any(words in sentence for words in NOT_FOUND) else "invalid"


def _rate_s(answer: Response) -> float:
    """The delay after a rate limit whose document names none: a gateway in front of the API has the header alone."""
    asked_s = retry_after_s(answer)
    return RATE_S if asked_s is None else asked_s
