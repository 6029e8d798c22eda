"""What Viber is sent, and what its answers mean."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from airy.http_client import Response
from airy.model import metadata
from airy.secret import Secret
from airy.sources.api import Call, Failed, Lost, Outcome, Sent, Target
from airy.sources.viber.error_codes import STATUSES
from tests.kit.contracts.source import conversation, outbound
from tests.kit.providers import WIRES
from tests.kit.providers.viber import BOT, CONTACT, TOKEN

WIRE = WIRES["viber"]
SOURCE: Any = WIRE.source()
NAMED = {"name": metadata.value("Bakery"), "image_url": metadata.value("https://img.example.org/b.png")}
TARGET = Target(
    channel=replace(WIRE.channel(BOT), metadata=NAMED),
    conversation=conversation(participant_id=CONTACT),
    credentials={"token": Secret(TOKEN)},
)
SENDER = {"name": "Bakery", "avatar": "https://img.example.org/b.png"}


def encode(content: object) -> Call | Failed:
    calls = SOURCE.encode(outbound(content), TARGET, 0)
    return calls if isinstance(calls, Failed) else calls[0]


def sent(content: object) -> dict[str, Any]:
    call = encode(content)
    assert isinstance(call, Call), call
    assert call.url.reveal() == "https://chatapi.viber.com/pa/send_message"
    assert call.headers["x-viber-auth-token"].reveal() == TOKEN
    return msgspec.json.decode(call.body or b"")


def test_a_message_is_shown_under_the_name_of_the_channel() -> None:
    common = {"receiver": CONTACT, "sender": SENDER, "min_api_version": 1}
    assert sent({"type": "text", "text": "Hi"}) == {**common, "type": "text", "text": "Hi"}
    assert sent({"text": "Hi"})["type"] == "text"
    own = {"type": "text", "text": "Hi", "sender": {"name": "Grace"}, "min_api_version": 7, "tracking_data": "t-1"}
    assert sent(own) == {**own, "receiver": CONTACT}


def test_a_caller_cannot_send_elsewhere() -> None:
    body = sent({"text": "x", "receiver": "another", "broadcast_list": ["another"], "auth_token": "t", "chat_id": "c"})
    assert body["receiver"] == CONTACT
    assert not {"broadcast_list", "auth_token", "chat_id"} & body.keys()


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (
            {"type": "media", "kind": "image", "url": "https://x.example/1.jpg", "caption": "Rye"},
            {"type": "picture", "media": "https://x.example/1.jpg", "text": "Rye"},
        ),
        (
            {"type": "media", "kind": "video", "url": "https://x.example/1.mp4", "size": 7},
            {"type": "video", "media": "https://x.example/1.mp4", "size": 7},
        ),
        (
            {"type": "media", "kind": "voice", "url": "https://x.example/a%20b.ogg?s=1", "size": 7},
            {"type": "file", "media": "https://x.example/a%20b.ogg?s=1", "size": 7, "file_name": "a b.ogg"},
        ),
        (
            {"type": "media", "kind": "file", "url": "https://x.example/1.pdf"},
            {"type": "url", "media": "https://x.example/1.pdf"},
        ),
        (
            {"type": "media", "kind": "video", "url": "https://x.example/1.mp4", "caption": "Look"},
            {"type": "text", "text": "Look\nhttps://x.example/1.mp4"},
        ),
        ({"type": "media", "kind": "sticker", "media_id": "46105"}, {"type": "sticker", "sticker_id": 46105}),
        (
            {"type": "contacts", "contacts": [{"phones": ["+49151"]}]},
            {"type": "contact", "contact": {"name": "+49151", "phone_number": "+49151"}},
        ),
    ],
)
def test_canonical_content_becomes_a_message_of_vibers(content: object, fields: dict[str, object]) -> None:
    body = sent({"canonical": content})
    assert {name: body[name] for name in fields} == fields


def test_a_choice_is_a_keyboard_whose_hidden_payloads_are_silent() -> None:
    options = [
        {"title": "Red & blue", "payload": "RED"},
        {"title": "Green"},
        {"title": "Shop", "kind": "url", "payload": "https://x.example"},
    ]
    body = sent({"canonical": {"type": "choice", "text": "Which?", "options": options}})
    assert (body["text"], body["min_api_version"]) == ("Which?", 6)
    shown = [
        (key["Text"], key["ActionType"], key["ActionBody"], key.get("Silent")) for key in body["keyboard"]["Buttons"]
    ]
    assert shown == [
        ("Red &amp; blue", "reply", "RED", True),
        ("Green", "reply", "Green", None),
        ("Shop", "open-url", "https://x.example", None),
    ]


def test_every_card_of_a_carousel_fills_its_rows() -> None:
    cards = [
        {
            "title": "Rye",
            "image": "https://x.example/r.jpg",
            "url": "https://x.example/rye",
            "buttons": [{"title": "Buy"}],
        },
        {"title": "Spelt <b>", "subtitle": "fresh"},
    ]
    body = sent({"canonical": {"type": "carousel", "cards": cards}})
    media = body["rich_media"]
    assert (body["alt_text"], media["ButtonsGroupRows"]) == ("Rye\nSpelt <b>", 6)
    assert [button["Rows"] for button in media["Buttons"]] == [3, 2, 1, 6]
    assert media["Buttons"][3]["Text"] == "<b>Spelt &lt;b&gt;</b><br>fresh"
    assert media["Buttons"][0]["ActionBody"] == "https://x.example/rye"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"type": "text", "text": "x" * 7_001}, "text has 7001 characters and viber takes 7000"),
        ({"type": "picture", "media": "https://x", "text": "x" * 513}, "text has 513 characters and viber takes 512"),
        ({"type": "url", "media": "x" * 2_001}, "media has 2001 characters"),
        ({"type": "video", "media": "https://x"}, "size is missing"),
        ({"type": "video", "media": "https://x", "size": 27_262_977}, "viber takes 27262976"),
        ({"type": "file", "media": "https://x", "size": 5}, "file_name is missing"),
        ({"type": "file", "media": "https://x", "size": 52_428_801, "file_name": "x"}, "viber takes 52428800"),
        ({"type": "text", "text": "x", "tracking_data": "x" * 4_001}, "tracking_data has 4001 characters"),
        ({"type": "text", "text": "x", "sender": {"name": "x" * 29}}, "name has 29 characters"),
        ({"type": "text", "text": "ü" * 7_000, "keyboard": {"x": "y" * 20_000}}, "bytes and viber takes 30720"),
        ({"type": "sticker"}, "sticker_id is missing"),
        ({"type": "rich_media", "rich_media": []}, "rich_media is missing"),
        ({"type": "Hallo", "text": "Hallo"}, "type is one of text, picture"),
        ({"canonical": {"type": "choice", "text": "x", "options": [{"title": "x", "kind": "call"}]}}, "call a number"),
        ({"canonical": {"type": "card", "title": "x", "buttons": [{"title": "x"}] * 6}}, "6 buttons"),
        (
            {"canonical": {"type": "media", "kind": "file", "url": "https://x/1", "size": 1, "caption": "x"}},
            "no caption with a file",
        ),
    ],
)
def test_what_viber_would_not_take_is_refused_here(content: object, said: str) -> None:
    failure = encode(content)
    assert isinstance(failure, Failed)
    assert failure.kind == "invalid"
    assert said in failure.error


def test_a_keyboard_may_be_sent_alone() -> None:
    assert "type" not in sent({"keyboard": {"Type": "keyboard", "Buttons": []}})


# --- answers


def interpret(document: object, status: int = 200, **headers: str) -> Outcome:
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SOURCE.interpret([Response(status, named, body)], 0)


def test_vi_3_a_sent_message_is_named_by_its_token_exactly_and_a_refused_one_says_why() -> None:
    assert interpret({"status": 0, "message_token": 5741311803571721087}) == Sent("5741311803571721087")
    refused = interpret({"status": 6, "status_message": "notSubscribed", "message_token": 5741311803571721100})
    assert isinstance(refused, Failed)
    assert (refused.kind, refused.error, refused.code, refused.again_s) == ("blocked", "notSubscribed", "6", None)


@pytest.mark.parametrize(
    ("statuses", "kind", "stops", "again_s"),
    [
        ((1, 3, 4, 13, 14, 16, 17, 18, 19, 20, 22), "invalid", False, None),
        ((2, 7, 8, 9, 10, 15), "auth", True, None),
        ((23, 24), "auth", False, None),
        ((5, 11), "not_found", False, None),
        ((6, 21), "blocked", False, None),
        ((12,), "rate", False, 1.0),
        ((25, 99), "provider", False, 1.0),
    ],
)
def test_every_status_has_its_outcome(statuses: tuple[int, ...], kind: str, stops: bool, again_s: float | None) -> None:
    for status in statuses:
        failed = interpret({"status": status, "status_message": "words"})
        assert isinstance(failed, Failed)
        assert (failed.kind, failed.stop_lane, failed.again_s, failed.code) == (kind, stops, again_s, str(status))
        assert failed.attempts_max == (None if again_s is None else 3)
        assert failed.error.startswith("words")


def test_the_table_of_statuses_is_complete() -> None:
    assert STATUSES.keys() == set(range(1, 25))


def test_after_a_hundred_unanswered_messages_the_contact_has_to_answer() -> None:
    """No pause of the channel: others get theirs. A delay that is named is waited for."""
    failed, asked = interpret({"status": 12}), interpret({"status": 12}, retry_after="40")
    assert isinstance(failed, Failed)
    assert isinstance(asked, Failed)
    assert "100 messages within an hour" in failed.error
    assert (asked.again_s, asked.attempts_max) == (40.0, None)


@pytest.mark.parametrize(("status", "body"), [(502, b"<html>"), (502, b'{"status":502}'), (200, b"{}"), (200, b"ok")])
def test_an_answer_that_is_not_vibers_own_proves_nothing(status: int, body: bytes) -> None:
    assert isinstance(interpret(body, status), Lost)


@pytest.mark.parametrize("status", ["6", 6.0, "6.0"])
def test_a_status_is_read_in_whatever_type_it_comes(status: object) -> None:
    failed = interpret({"status": status, "status_message": "notSubscribed"})
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.code) == ("blocked", "6")


def test_a_gateway_refuses_in_its_own_words() -> None:
    limited, refused = interpret(b"slow down", 429, retry_after="9"), interpret(b"no bots here", 403)
    assert isinstance(limited, Failed)
    assert isinstance(refused, Failed)
    assert (limited.kind, limited.again_s) == ("rate", 9.0)
    assert refused.error.endswith("it said: no bots here")
