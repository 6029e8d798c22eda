"""Every answer of the Bot API to a send, as its documentation and its server have them, and what follows."""

import msgspec
import pytest

from airy.http_client import Response
from airy.sources.api import Failed, Lost, Sent
from airy.sources.telegram.interpret import interpret

BAD, FORBIDDEN = "Bad Request: ", "Forbidden: "
TABLE = [  # code, description, kind, seconds until another attempt, whether the channel pauses
    (400, BAD + "chat not found", "not_found", None, False),
    (400, BAD + "message thread not found", "not_found", None, False),
    (400, BAD + "message to be replied not found", "not_found", None, False),
    (400, BAD + "user not found", "not_found", None, False),
    (400, BAD + "PEER_ID_INVALID", "not_found", None, False),
    (400, BAD + "chat_id is empty", "not_found", None, False),
    (400, BAD + "TOPIC_CLOSED", "not_found", None, False),
    (400, BAD + "TOPIC_DELETED", "not_found", None, False),
    (400, BAD + "message text is empty", "invalid", None, False),
    (400, BAD + "message is too long", "invalid", None, False),
    (400, BAD + "can't parse entities: Can't find end of the entity", "invalid", None, False),
    (400, BAD + "wrong file identifier/HTTP URL specified", "invalid", None, False),
    (400, BAD + "failed to get HTTP URL content", "invalid", None, False),
    (400, BAD + "BUTTON_DATA_INVALID", "invalid", None, False),
    (400, BAD + "not enough rights to send text messages to the chat", "blocked", None, False),
    (400, BAD + "have no rights to send a message", "blocked", None, False),
    (400, BAD + "VOICE_MESSAGES_FORBIDDEN", "blocked", None, False),
    (400, BAD + "BUSINESS_PEER_INVALID", "blocked", None, False),
    (400, BAD + "BUSINESS_PEER_USAGE_MISSING", "window", None, False),
    (400, BAD + "BUSINESS_CONNECTION_INVALID", "blocked", None, False),
    (401, "Unauthorized", "auth", None, True),
    (403, FORBIDDEN + "bot was blocked by the user", "blocked", None, False),
    (403, FORBIDDEN + "user is deactivated", "blocked", None, False),
    (403, FORBIDDEN + "bot was kicked from the supergroup chat", "blocked", None, False),
    (403, FORBIDDEN + "bot is not a member of the channel chat", "blocked", None, False),
    (403, FORBIDDEN + "bot can't initiate conversation with a user", "blocked", None, False),
    (404, "Not Found", "auth", None, True),
    (409, "Conflict: terminated by other getUpdates request", "provider", 1.0, False),
    (500, "Internal Server Error", "provider", 1.0, False),
    (502, "Bad Gateway", "provider", 1.0, False),
]


def answered(code: int, description: str, **parameters: object) -> Response:
    document = {"ok": False, "error_code": code, "description": description, "parameters": parameters}
    return Response(code, {}, msgspec.json.encode(document))


@pytest.mark.parametrize(("code", "description", "kind", "again_s", "stops"), TABLE)
def test_an_error_has_its_outcome(
    code: int, description: str, kind: str, again_s: float | None, *, stops: bool
) -> None:
    found = interpret([answered(code, description)])
    assert isinstance(found, Failed)
    assert (found.kind, found.again_s, found.stop_lane, found.code) == (kind, again_s, stops, str(code))
    assert found.error == description


def test_a_rate_limit_waits_as_long_as_telegram_says() -> None:
    found = interpret([answered(429, "Too Many Requests: retry after 7", retry_after=7)])
    assert isinstance(found, Failed)
    assert (found.kind, found.again_s) == ("rate", 7.0)


def test_a_group_that_moved_is_named() -> None:
    said = BAD + "group chat was upgraded to a supergroup chat"
    found = interpret([answered(400, said, migrate_to_chat_id=-1007100001)])
    assert isinstance(found, Failed)
    assert (found.kind, found.renamed, found.again_s) == ("not_found", "-1007100001", 0.0)
    assert "-1007100001" in found.error


def test_an_answer_that_is_not_the_bot_apis_proves_nothing() -> None:
    assert isinstance(interpret([Response(502, {}, b"<html>")]), Lost)
    assert isinstance(interpret([Response(200, {}, b'{"ok":true,"result":true}')]), Lost)
    sent = msgspec.json.encode({"ok": True, "result": [{"message_id": 5, "chat": {"id": 7}}]})
    assert interpret([Response(200, {}, sent)]) == Sent("7:5")  # an album
