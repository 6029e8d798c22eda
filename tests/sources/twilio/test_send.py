"""What Twilio is sent, and what its answers mean."""

from typing import Any
from urllib.parse import parse_qs, urlencode

import msgspec
import pytest

from airy.http_client import Response
from airy.model import metadata
from airy.model.delivery_state import DeliveryState
from airy.model.fact import ReceiptReported
from airy.secret import Secret
from airy.sources.api import Call, Failed, Lost, Outcome, Sent, Target
from airy.sources.twilio import error_codes
from airy.sources.twilio.source import Twilio
from airy.sources.twilio.spec import RETRIES, TwilioSection
from tests.kit.contracts.source import conversation, outbound, raw_record
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL
from tests.kit.providers.twilio import ACCOUNT_SID, NUMBER

WIRE = WIRES["twilio"]
SOURCE = WIRE.source()


def target(kind: str = "twilio.sms", contact: str = "+4915112345678", **credentials: str) -> Target:
    return Target(
        channel=WIRE.channel(WIRE.accounts[kind]),
        conversation=conversation(participant_id=contact),
        credentials={name: Secret(text) for name, text in credentials.items()},
    )


def encode(content: object, to: Target | None = None) -> Call | Failed:
    calls = SOURCE.encode(outbound(content), to or target(), 0)
    return calls if isinstance(calls, Failed) else calls[0]


def form(call: Call | Failed) -> dict[str, list[str]]:
    assert isinstance(call, Call), call
    return parse_qs((call.body or b"").decode(), keep_blank_values=True)


def test_a_text() -> None:
    call = encode({"Body": "Grüße & mehr"})
    assert isinstance(call, Call)
    assert call.url.reveal() == f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
    assert (
        call.headers["authorization"].reveal()
        == "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTp0d2lsaW8tdG9rZW4="
    )
    assert form(call) == {
        "From": [NUMBER],
        "To": ["+4915112345678"],
        "StatusCallback": [f"{PUBLIC_URL}/twilio/status?m={outbound().id}&a=0&c=c{RETRIES}"],
        "Body": ["Grüße & mehr"],
    }


def test_without_a_public_address_no_callback_is_asked_for() -> None:
    calls = Twilio(WIRE.section, "").encode(outbound({"Body": "x"}), target(), 0)
    assert not isinstance(calls, Failed)
    assert "StatusCallback" not in form(calls[0])


def test_a_channels_own_account_sends_its_messages() -> None:
    call = encode({"Body": "x"}, target(account_sid="AC2", auth_token="own"))
    assert isinstance(call, Call)
    assert "/Accounts/AC2/" in call.url.reveal()
    assert call.headers["authorization"] == Secret("Basic QUMyOm93bg==")


def test_a_messaging_service_of_the_channel_is_named() -> None:
    to = target()
    named = {"messaging_service_sid": metadata.value("MG1")}
    to = msgspec.structs.replace(to, channel=msgspec.structs.replace(to.channel, metadata=named))
    assert form(encode({"Body": "x"}, to))["MessagingServiceSid"] == ["MG1"]


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ({"MediaUrl": "https://x.example/1.jpg"}, {"MediaUrl": ["https://x.example/1.jpg"]}),
        (
            {"MediaUrl": ["https://a.example", "https://b.example"]},
            {"MediaUrl": ["https://a.example", "https://b.example"]},
        ),
        (
            {"ContentSid": "HX1", "ContentVariables": '{"1":"x"}'},
            {"ContentSid": ["HX1"], "ContentVariables": ['{"1":"x"}']},
        ),
        (
            {"canonical": {"type": "media", "kind": "image", "url": "https://x.example/1.jpg", "caption": "Rye"}},
            {"MediaUrl": ["https://x.example/1.jpg"], "Body": ["Rye"]},
        ),
        (
            {"canonical": {"type": "choice", "text": "Which?", "options": [{"title": "Red"}, {"title": "Blue"}]}},
            {"Body": ["Which?\n1. Red\n2. Blue"]},
        ),
        (
            {"canonical": {"type": "template", "name": "HX1", "components": {"1": "Ines"}}},
            {"ContentSid": ["HX1"], "ContentVariables": ['{"1":"Ines"}']},
        ),
    ],
)
def test_contents_become_fields(content: object, fields: dict[str, list[str]]) -> None:
    found = form(encode(content))
    assert {name: found[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ({"Body": "x", "MediaUrl": None, "ContentSid": None}, {"Body": ["x"]}),
        ({"Body": "x", "ValidityPeriod": 60}, {"ValidityPeriod": ["60"]}),
        ({"MediaUrl": "HTTPS://x.example/1.jpg", "Body": ""}, {"MediaUrl": ["HTTPS://x.example/1.jpg"], "Body": [""]}),
        ({"ContentSid": "HX1", "ContentVariables": {"1": "x"}}, {"ContentVariables": ['{"1":"x"}']}),
        ({"Body": "x", "ShortenUrls": True, "SendAt": "2026-12-01T10:00:00Z"}, {"ShortenUrls": ["true"]}),
        ({"Body": "x", "canonical": None}, {"Body": ["x"]}),
    ],
)
def test_what_twilio_takes_passes(content: object, fields: dict[str, list[str]]) -> None:
    found = form(encode(content))
    assert {name: found[name] for name in fields} == fields
    assert not [name for name, values in found.items() if values == ["None"]]


def test_a_place_is_sent_over_whatsapp_alone() -> None:
    place = {"canonical": {"type": "location", "latitude": 52.5, "longitude": 13.4, "name": "Treffpunkt"}}
    found = form(encode(place, target("twilio.whatsapp", "whatsapp:+49151")))
    assert (found["PersistentAction"], found["Body"]) == (["geo:52.5,13.4|Treffpunkt"], ["Treffpunkt"])
    refused = encode(place)
    assert isinstance(refused, Failed)
    assert "twilio.sms cannot send" in refused.error


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"Body": ""}, "a message has Body, MediaUrl or ContentSid"),
        ({"Body": "x" * 1601}, "Body has 1601 characters and Twilio takes 1600"),
        ({"Body": 5}, "Body is not text"),
        ({"Body": {"text": "x"}}, "Body is not text"),
        ({"Body": None, "MediaUrl": []}, "a message has Body, MediaUrl or ContentSid"),
        ({"MediaUrl": ["https://x.example"] * 11}, "MediaUrl has 11 entries and Twilio takes 10"),
        ({"MediaUrl": "ftp://x"}, "not a web address"),
        ({"Body": "x", "To": "+1"}, "To is not a field Twilio takes here"),
    ],
)
def test_what_twilio_would_not_take_is_refused_here(content: object, said: str) -> None:
    failure = encode(content)
    assert isinstance(failure, Failed)
    assert failure.kind == "invalid"
    assert said in failure.error


def test_typing_is_for_whatsapp_and_names_the_contacts_message() -> None:
    source: Any = SOURCE
    (call,) = source.typing(target("twilio.whatsapp"), "SM1")
    assert call.url.reveal() == "https://messaging.twilio.com/v3/Indicators/Typing.json"
    assert msgspec.json.decode(call.body) == {"channel": "WHATSAPP", "messageId": "SM1"}
    assert list(source.typing(target(), "SM1")) == list(source.typing(target("twilio.whatsapp"), None)) == []


# --- answers


def interpret(status: int, document: object, **headers: str) -> Outcome:
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return SOURCE.interpret(
        [Response(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)], 0
    )


def test_a_created_message_was_taken() -> None:
    assert interpret(201, {"sid": "SM1", "status": "queued"}) == Sent("SM1")


ERRORS: dict[tuple[int, ...], tuple[str, float | None, int | None]] = {  # kind, delay of a retry in s, attempts at most
    (20429, 14107, 63018, 30001, 30022): ("rate", 10.0, None),
    (21611,): ("rate", 300.0, None),
    (20003, 20005, 30002): ("auth", None, None),
    (21211, 21214, 21217, 21614, 21612, 30005, 30006, 63003, 63024): ("not_found", None, None),
    (21610, 30004, 30007, 63013, 63032, 63033, 63049): ("blocked", None, None),
    (21408, 21601, 21606, 30034, 63007, 63051, 63112): ("auth", None, None),
    (21617, 21656, 63005, 63021, 63027, 63028, 63030): ("invalid", None, None),
    (30036,): ("expired", None, None),
    (30003, 30008): ("provider", 1.0, 2),
    (63009, 63010, 63012): ("provider", 1.0, None),
    (63016,): ("window", None, None),
    (63019,): ("invalid", 1.0, 2),
    (21999, 12345): ("invalid", None, None),  # not known: of the request
    (30999, 63999): ("provider", None, None),  # not known: of the network behind Twilio
}
STOPS_THE_CHANNEL = {20003, 20005, 30002}
CASES = [(code, *outcome) for codes, outcome in ERRORS.items() for code in codes]


@pytest.mark.parametrize(("code", "kind", "again_s", "attempts_max"), CASES)
def test_every_code_leads_to_its_outcome(code: int, kind: str, again_s: float | None, attempts_max: int | None) -> None:
    failure = interpret(400, {"code": code, "message": "no", "status": 400})
    assert isinstance(failure, Failed)
    assert (failure.kind, failure.again_s, failure.attempts_max) == (kind, again_s, attempts_max)
    assert (failure.code, failure.error) == (str(code), "no")
    assert failure.stop_lane is (code in STOPS_THE_CHANNEL)
    assert isinstance(interpret(503, {"code": code, "message": "no", "status": 503}), Failed)


@pytest.mark.parametrize(("code", "kind"), [(code, kind) for code, kind, *_ in CASES])
def test_a_failure_that_is_reported_later_has_the_kind_of_its_code(code: int, kind: str) -> None:
    form = {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": str(code), "From": NUMBER, "To": "+49151"}
    record = raw_record(SOURCE, urlencode(form).encode())
    (receipt,) = SOURCE.route(record, WIRE.connected(NUMBER)).facts
    assert isinstance(receipt, ReceiptReported)
    assert receipt.state is DeliveryState.FAILED
    known = code in error_codes.CODES
    assert (receipt.error_kind, receipt.error_code) == (kind if known else "provider", str(code))


def test_every_known_code_is_in_the_table() -> None:
    assert error_codes.CODES.keys() <= {code for code, *_ in CASES}


def test_an_unknown_code_of_a_busy_server_is_tried_again() -> None:
    failure = interpret(503, {"code": 63999, "message": "no", "status": 503})
    assert isinstance(failure, Failed)
    assert (failure.kind, failure.again_s) == ("provider", 1.0)


@pytest.mark.parametrize(("status", "stops"), [(401, True), (403, False)])
def test_only_a_bad_token_stops_the_channel(status: int, stops: bool) -> None:
    failure = interpret(status, b"no")
    assert isinstance(failure, Failed)
    assert failure.stop_lane is stops


@pytest.mark.parametrize(
    ("status", "body"), [(500, b""), (502, b"<html>"), (201, b'{"sid":'), (200, b"{}"), (504, b"{}")]
)
def test_an_answer_that_is_not_twilios_own_proves_nothing(status: int, body: bytes) -> None:
    assert isinstance(interpret(status, body), Lost)


def test_retry_after_counts_when_it_is_longer() -> None:
    waits = [interpret(429, {"code": 20429, "message": "x"}, retry_after=text) for text in ("120", "1", "soon")]
    assert [failure.again_s for failure in waits if isinstance(failure, Failed)] == [120.0, 10.0, 10.0]


def test_a_section_without_an_account_cannot_send() -> None:
    calls = Twilio(TwilioSection(), PUBLIC_URL).encode(outbound({"Body": "x"}), target(), 0)
    assert isinstance(calls, Failed)
    assert calls.stop_lane


@pytest.mark.parametrize("code", ["21610", 21610.0, "21610.0"])
def test_codes_are_read_in_whatever_type_they_are_written(code: object) -> None:
    failure = interpret(400, {"code": code, "message": "unsubscribed", "status": 400})
    assert isinstance(failure, Failed)
    assert (failure.kind, failure.code, failure.error) == ("blocked", "21610", "unsubscribed")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"message": "not this one", "status": 400}, "invalid"),
        (401, {"message": "not this one", "status": "401", "code": None}, "auth"),
        (400, {"error": "not this one"}, "unknown"),
        (400, b"not this one", "unknown"),
    ],
)
def test_the_words_of_an_error_without_a_code_are_kept(status: int, body: object, kind: str) -> None:
    failure = interpret(status, body)
    assert isinstance(failure, Failed)
    assert (failure.kind, failure.code) == (kind, f"http/{status}")
    assert failure.error.endswith("not this one")
