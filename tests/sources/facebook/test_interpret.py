"""What Meta's answers mean: taken, not taken, not taken this time, or unknown."""

import msgspec
import pytest

from airy.http_client import Response
from airy.sources.api import Failed, Lost, Outcome, Sent
from tests.kit.providers import WIRES

SOURCE = WIRES["facebook"].source()


def interpret(status: int, document: object = None, **headers: str) -> Outcome:
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return SOURCE.interpret([Response(status, named, body)], 0)


def refused(status: int, code: int, subcode: int | None = None, *, said: str = "no", **headers: str) -> Failed:
    error: dict[str, object] = {"message": said, "type": "OAuthException", "code": code, "fbtrace_id": "A1"}
    if subcode is not None:
        error["error_subcode"] = subcode
    outcome = interpret(status, {"error": error}, **headers)
    assert isinstance(outcome, Failed)
    return outcome


def test_taken() -> None:
    assert interpret(200, {"recipient_id": "6120000000000001", "message_id": "m_out-1"}) == Sent("m_out-1")


@pytest.mark.parametrize(
    ("status", "code", "subcode", "kind", "again"),
    [
        (400, 1, None, "provider", True),
        (500, 2, None, "provider", True),
        (400, 1200, None, "provider", True),
        (400, 4, None, "rate", True),
        (403, 17, None, "rate", True),
        (400, 32, None, "rate", True),
        (400, 613, None, "rate", True),
        (400, 80001, None, "rate", True),
        (400, 80006, 2446079, "rate", True),
        (400, 80014, None, "rate", True),
        (400, 10, 2018278, "window", False),
        (403, 10, 2018065, "window", False),
        (400, 100, 2018001, "not_found", False),
        (400, 100, None, "invalid", False),
        (400, 100, 33, "not_found", False),
        (400, 10, 2534022, "window", False),
        (400, 10, 1893063, "auth", True),
        (400, 2022, None, "auth", True),
        (400, 200, 2018028, "auth", False),
        (400, 613, 2018338, "invalid", False),
        (400, 2018300, None, "invalid", False),
        (400, 9000001, None, "not_found", False),
        (400, 551, 1545041, "blocked", False),
        (400, 551, None, "blocked", False),
        (403, 200, 1545041, "blocked", False),
        (400, 10, 2018108, "blocked", False),
        (400, 10, 2018300, "invalid", False),
        (400, 100, 2534037, "invalid", False),
        (400, 9, 2018352, "invalid", False),
        (400, 4, 2018354, "invalid", False),
        (400, 2534068, None, "invalid", False),
        (400, 100, 2018047, "invalid", False),
        (400, 100, 2018008, "invalid", True),
        (400, 613, 2534040, "rate", True),
        (400, 1, 99, "auth", False),
        (401, 190, 460, "auth", False),
        (400, 190, None, "auth", False),
        (400, 102, None, "auth", False),
        (403, 10, None, "auth", False),
        (403, 200, None, "auth", False),
        (403, 299, None, "auth", False),
        (400, 368, None, "unknown", False),
        (500, 368, None, "provider", True),
        (429, 99999, None, "rate", True),
    ],
)
def test_what_meta_says_no_with(status: int, code: int, subcode: int | None, kind: str, again: bool) -> None:
    failure = refused(status, code, subcode)
    assert (failure.kind, failure.again_s is not None) == (kind, again)
    assert failure.code == (str(code) if subcode is None else f"{code}/{subcode}")


@pytest.mark.parametrize(
    ("code", "stops"), [(190, True), (102, True), (10, False), (200, False), (613, False), (100, False)]
)
def test_only_a_bad_token_stops_the_channel(code: int, stops: bool) -> None:
    assert refused(400, code).stop_lane is stops


def test_a_transient_error_of_any_code_may_be_tried_again() -> None:
    outcome = interpret(400, {"error": {"message": "x", "code": 4711, "is_transient": True}})
    assert isinstance(outcome, Failed)
    assert outcome.again_s is not None


@pytest.mark.parametrize("code", [10, 100, 190, 551, 4711])
def test_what_meta_calls_transient_is_tried_again_without_stopping_the_channel(code: int) -> None:
    outcome = interpret(400, {"error": {"message": "x", "code": code, "is_transient": True}})
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.stop_lane, outcome.again_s) == ("provider", False, 1.0)


def test_a_rate_limit_called_transient_keeps_its_own_delay() -> None:
    outcome = interpret(400, {"error": {"message": "x", "code": 613, "is_transient": True}})
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.again_s) == ("rate", 60.0)


@pytest.mark.parametrize("written", [10, "10", 10.0, "10.0", " 10 "])
@pytest.mark.parametrize("subcode", [2534022, "2534022", 2534022.0])
def test_codes_are_read_in_whatever_type_they_are_written(written: object, subcode: object) -> None:
    outcome = interpret(400, {"error": {"message": "no", "code": written, "error_subcode": subcode}})
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.code, outcome.error) == ("window", "10/2534022", "no")


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ({"message": "(#190) The session expired"}, "auth", "190"),
        ({"message": "no more", "fbtrace_id": "A1"}, "unknown", "http/400"),
        ({"message": "no more", "type": "OAuthException", "code": None}, "unknown", "http/400"),
        ({"message": "no more", "code": "ten"}, "unknown", "http/400"),
        ({"message": {"text": "no"}, "error_user_msg": "no more", "code": 100}, "invalid", "100"),
        ({"error_user_title": "no more", "error_subcode": 2018278}, "window", "2018278"),
    ],
)
def test_the_sentence_of_an_error_without_a_code_is_kept(error: object, kind: str, code: str) -> None:
    outcome = interpret(400, {"error": error})
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.code) == (kind, code)
    assert "no more" in outcome.error or "The session expired" in outcome.error


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (200, "(#200) This person isn't receiving messages from you right now.", "blocked"),
        (200, "(#200) This person isn\u2019t receiving messages from you right now.", "blocked"),
        (10, "(#10) This Person Cannot Receive Messages", "blocked"),
        (551, "(#551) This person isn't available right now.", "blocked"),
        (10, "(#10) This message is sent outside of allowed window.", "window"),
        (10, "(#10) Application does not have permission for this action", "auth"),
    ],
)
def test_what_concerns_one_contact_does_not_stop_the_channel(code: int, said: str, kind: str) -> None:
    failure = refused(400, code, said=said)
    assert (failure.kind, failure.again_s, failure.stop_lane) == (kind, None, False)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, b"upstream rejected\n the request", "upstream rejected the request"),
        (400, b'{"message":"no such route"}', "no such route"),
        (502, b"<html><head><title>502 Bad Gateway</title></head>", "502 Bad Gateway"),
        (200, b'{"error":{"message":"half a refusal"}}', "half a refusal"),
        (400, b"token EAAGm0PX4ZCpsBAKtoken0 is odd", "token *** is odd"),
    ],
)
def test_the_words_of_an_answer_that_is_not_understood_are_kept(status: int, body: bytes, words: str) -> None:
    outcome = interpret(status, body)
    assert isinstance(outcome, Failed | Lost)
    assert (outcome.error if isinstance(outcome, Failed) else outcome.reason).endswith(f"; it said: {words}")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (502, b"<html>Bad Gateway</html>"),
        (504, b'{"error":{"message":"cut'),
        (520, b"{}"),
        (200, b"<html>"),
        (200, b'{"recipient_id":"6'),
        (201, b"{}"),
        (200, b""),
        (204, b""),
        (200, b'{"message_id":null}'),
    ],
)
def test_an_answer_that_is_not_graphs_own_proves_nothing(status: int, body: bytes) -> None:
    assert isinstance(interpret(status, body), Lost)


@pytest.mark.parametrize(
    ("status", "kind", "again"),
    [
        (302, "unknown", False),
        (400, "unknown", False),
        (401, "auth", False),
        (403, "auth", False),
        (404, "unknown", False),
        (408, "provider", True),
        (413, "invalid", False),
        (429, "rate", True),
        (503, "provider", True),
    ],
)
def test_a_status_alone_says_that_it_was_not_taken(status: int, kind: str, again: bool) -> None:
    outcome = interpret(status, b"nothing to see")
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.again_s is not None, outcome.code) == (kind, again, f"http/{status}")


@pytest.mark.parametrize(
    ("headers", "again_s"),
    [
        ({}, 60.0),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "999999"}, 3600.0),
        ({"retry_after": "soon"}, 60.0),
        ({"retry_after": "-1"}, 60.0),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60.0),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:18:00 GMT"}, 600.0),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:38:00 GMT"}, 0.0),
        ({"retry_after": "Wed Oct 21 07:28:00 2026", "date": "Wed, 21 Oct 2026 07:18:00 GMT"}, 600.0),
        ({"x_business_use_case_usage": '{"1":[{"type":"messenger","estimated_time_to_regain_access":5}]}'}, 300.0),
        ({"x_business_use_case_usage": '{"1":[{"estimated_time_to_regain_access":"x"},7],"2":5}'}, 60.0),
        ({"x_business_use_case_usage": "not json"}, 60.0),
    ],
)
def test_how_long_to_wait_is_metas_to_say(headers: dict[str, str], again_s: float) -> None:
    assert refused(400, 613, **headers).again_s == again_s


def test_asking_to_wait_does_not_make_a_final_no_a_later_yes() -> None:
    assert refused(400, 100, retry_after="7").again_s is None


def test_metas_own_words_are_kept_for_people() -> None:
    failure = refused(400, 10, 2018278, said="(#10) This message is sent outside of allowed window.")
    assert failure.error == "(#10) This message is sent outside of allowed window."
    assert failure.detail is not None
    assert msgspec.json.decode(failure.detail)["error"]["fbtrace_id"] == "A1"


@pytest.mark.parametrize(
    "said",
    [
        "Malformed access token EAABwzLixnjYBAtoken0000000000",
        "Error validating access token quiet-token: expired",
        "(#190) token EAAGm0PX4ZCpsBAKtoken invalid",
    ],
)
def test_a_token_that_meta_quotes_is_taken_out(said: str) -> None:
    failure = refused(401, 190, said=said)
    told = failure.error + bytes(failure.detail or b"").decode()
    assert "***" in told
    assert "quiet" not in told
    assert "EAA" not in told


def test_details_are_bounded() -> None:
    failure = refused(400, 100, said="x" * 20_000)
    assert len(failure.error) == 500
    assert failure.detail is None


@pytest.mark.parametrize("token", ["AQABCdef123", "EAAB1234567890abcdefgh"])
def test_a_quoted_token_is_masked_and_the_answer_stays_json(token: str) -> None:
    failed = refused(400, 190, said=f"Malformed access token {token}")

    assert failed.detail is not None
    assert msgspec.json.decode(failed.detail)["error"]["message"] == "Malformed access token ***"
