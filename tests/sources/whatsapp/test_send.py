"""What messages of ours become on the wire, what is refused before the call, and what an answer means."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from airy.http_client import Response
from airy.model import ids
from airy.sources.api import Failed, Sent, Target
from airy.sources.whatsapp import error_codes
from airy.sources.whatsapp.status import Correlation, correlation, correlation_text
from tests.kit.contracts.source import RECEIVED_MS, conversation, outbound
from tests.kit.providers import WIRES
from tests.kit.providers.whatsapp import CONTACT, NUMBER_ID

WIRE = WIRES["whatsapp"]
SOURCE: Any = WIRE.source()
USER_ID, GROUP = "DE.9k2f0000000001", "Y2FwaV9ncm91cDox"
DAY_MS = 86_400_000


def encoded(content: object, *, participant: str = CONTACT, **known: object) -> Any:
    message = outbound()
    message.content = Raw(msgspec.json.encode(content))
    return SOURCE.encode(message, target(participant, **known), RECEIVED_MS)


def target(participant: str = CONTACT, **known: object) -> Target:
    return Target(
        channel=WIRE.channel(NUMBER_ID),
        conversation=conversation(participant_id=participant, **known),
        credentials=WIRE.credentials("whatsapp"),
    )


def body(content: object, **more: Any) -> dict[str, Any]:
    (call,) = encoded(content, **more)
    assert call.url.reveal().startswith(f"https://graph.facebook.com/v26.0/{NUMBER_ID}/messages?appsecret_proof=")
    found: dict[str, Any] = msgspec.json.decode(call.body)
    return found


def told(content: Mapping[str, object], **more: Any) -> Any:
    """The message that canonical content becomes."""
    found = body({"canonical": content}, **more)
    return found[found["type"]]


def test_a_message_in_whatsapps_own_shape_is_sent_as_it_was_written() -> None:
    """WA-3."""
    found = body({"text": {"body": "Gern!", "preview_url": False}, "context": {"message_id": "wamid.IN-1"}})
    assert found == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": CONTACT,
        "type": "text",
        "text": {"body": "Gern!", "preview_url": False},
        "context": {"message_id": "wamid.IN-1"},
        "biz_opaque_callback_data": f"{outbound().id}/0/c",
    }


@pytest.mark.parametrize(
    ("participant", "recipient"),
    [
        (CONTACT, {"recipient_type": "individual", "to": CONTACT}),
        (USER_ID, {"recipient_type": "individual", "recipient": USER_ID}),
        ("DE.ENT.9k2f", {"recipient_type": "individual", "recipient": "DE.ENT.9k2f"}),
        (GROUP, {"recipient_type": "group", "to": GROUP}),
    ],
)
def test_a_number_an_id_and_a_group_are_addressed_differently(participant: str, recipient: dict[str, str]) -> None:
    found = body({"text": {"body": "x"}}, participant=participant)
    assert {name: part for name, part in found.items() if name in {"recipient_type", "to", "recipient"}} == recipient


def test_fields_that_name_another_contact_are_refused_and_the_same_one_is_let_through() -> None:
    assert body({"to": CONTACT, "messaging_product": "whatsapp", "text": {"body": "x"}})["to"] == CONTACT
    failed = encoded({"to": "4900000000", "text": {"body": "x"}})
    assert (failed.kind, "names another contact" in failed.error) == ("invalid", True)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ({"type": "media", "kind": "voice", "media_id": "64"}, {"id": "64", "voice": True}),
        (
            {"type": "media", "kind": "file", "url": "https://x/1.pdf", "filename": "a.pdf", "caption": "c"},
            {"link": "https://x/1.pdf", "filename": "a.pdf", "caption": "c"},
        ),
        (
            {"type": "location", "latitude": 1.5, "longitude": 2, "name": "n"},
            {"latitude": 1.5, "longitude": 2, "name": "n"},
        ),
        (
            {"type": "contacts", "contacts": [{"name": "Jo", "phones": ["+49"], "emails": ["j@x"]}]},
            [
                {
                    "name": {"formatted_name": "Jo", "first_name": "Jo"},
                    "phones": [{"phone": "+49"}],
                    "emails": [{"email": "j@x"}],
                }
            ],
        ),
        (
            {
                "type": "template",
                "name": "t",
                "language": "de",
                "components": {"body": [{"type": "text", "text": "I"}]},
            },
            {
                "name": "t",
                "language": {"code": "de"},
                "components": [{"type": "body", "parameters": [{"type": "text", "text": "I"}]}],
            },
        ),
        (
            {"type": "template", "name": "t", "language": "de", "components": {"components": [{"type": "button"}]}},
            {"name": "t", "language": {"code": "de"}, "components": [{"type": "button"}]},
        ),
    ],
)
def test_canonical_content_takes_whatsapps_shape(content: dict[str, object], wanted: object) -> None:
    assert told(content) == wanted


def choice(*titles: str, **option: str) -> dict[str, object]:
    return {"type": "choice", "text": "When?", "options": [{"title": title, **option} for title in titles]}


def test_a_choice_becomes_buttons_a_list_or_a_link() -> None:
    buttons = told(choice("Now", "Later", payload="p"))
    assert buttons["action"]["buttons"][0] == {"type": "reply", "reply": {"id": "p", "title": "Now"}}
    rows = told(choice("1", "2", "3", "4"))["action"]["sections"][0]["rows"]
    assert rows[3] == {"id": "4", "title": "4"}
    assert told(choice("a title of 24 characters"))["type"] == "list"
    link = told(choice("Open", kind="url", payload="https://x"))
    assert link["action"] == {"name": "cta_url", "parameters": {"display_text": "Open", "url": "https://x"}}


@pytest.mark.parametrize(
    "content",
    [
        choice(*"12345678901"),
        choice("a title of 25 characters!"),
        choice("Now", "Now"),
        choice("Call", kind="call"),
        choice("a", "b", kind="url"),
        {"type": "media", "kind": "sticker", "url": "https://x", "caption": "c"},
        {"type": "template", "name": "t"},
        {"type": "text", "text": "x" * 4097},
    ],
)
def test_what_whatsapp_cannot_show_is_refused_with_a_sentence(content: dict[str, object]) -> None:
    failed = encoded({"canonical": content})
    assert isinstance(failed, Failed)
    assert failed.kind == "invalid"


def test_a_card_is_a_picture_or_a_text_with_its_buttons_below() -> None:
    card = {"type": "card", "title": "Rye", "subtitle": "fresh", "url": "https://x"}
    assert told(card) == {"body": "Rye\nfresh\nhttps://x", "preview_url": True}
    assert told(card | {"image": "https://x/1"}) == {"link": "https://x/1", "caption": "Rye\nfresh\nhttps://x"}
    shown = told(card | {"image": "https://x/1", "buttons": [{"title": "Order"}]})
    assert (shown["type"], shown["header"]["image"]) == ("button", {"link": "https://x/1"})


@pytest.mark.parametrize(
    "content",
    [
        {"type": "interactive", "interactive": {"type": "button", "body": {"text": "x"}, "action": {"buttons": []}}},
        {"type": "interactive", "interactive": {"type": "button", "body": {"text": "x" * 1025}, "action": {}}},
        {"type": "interactive", "interactive": {"body": {"text": "x"}}},
        {"image": {"link": "ftp://x"}},
        {"image": {}},
        {"location": {"latitude": 1}},
        {"template": {"name": "t"}},
        {"reaction": {"emoji": "x"}},
        {"text": {"body": "a"}, "image": {"id": "1"}},
        {"type": "order_status"},
        {"type": 5},
    ],
)
def test_what_meta_excludes_for_certain_is_refused_before_the_call(content: object) -> None:
    assert encoded(content).kind == "invalid"


def test_a_type_that_is_not_known_here_is_whatsapps_to_judge() -> None:
    assert body({"type": "hologram", "hologram": {"id": "1"}})["hologram"] == {"id": "1"}


def test_after_the_window_templates_alone_are_sent() -> None:
    closed: dict[str, Any] = {"window_until_ms": RECEIVED_MS - 1}
    failed = encoded({"text": {"body": "x"}}, **closed)
    assert (failed.kind, failed.again_s) == ("window", None)
    assert "24 hours ago" in failed.error
    assert body({"template": {"name": "t", "language": {"code": "de"}}}, **closed)
    assert body({"text": {"body": "x"}}, participant=GROUP, **closed)
    assert body({"text": {"body": "x"}}, window_until_ms=RECEIVED_MS)


def test_wa_5_reading_and_typing_name_the_contacts_message() -> None:
    (read,) = SOURCE.mark_read(target(), "wamid.IN-1")
    assert msgspec.json.decode(read.body) == {
        "messaging_product": "whatsapp",
        "status": "read",
        "message_id": "wamid.IN-1",
    }
    (typing,) = SOURCE.typing(target(), "wamid.IN-1")
    assert msgspec.json.decode(typing.body)["typing_indicator"] == {"type": "text"}
    assert SOURCE.typing(target(), None) == []


def test_a_message_says_in_its_statuses_what_it_is() -> None:
    message_id, conversation_id = outbound().id, ids.derive("c")
    found = correlation(correlation_text(message_id, 3, conversation_id))
    assert found == Correlation(message_id, 3, conversation_id)
    assert len(correlation_text(message_id, 10**9, conversation_id)) <= 512
    assert correlation(message_id) == Correlation(message_id)
    assert correlation("another program's/1/2") == correlation(None) == Correlation()


# --- what the answer means

NO, ONCE, THREE_TIMES, LATER = "no", "once", "three times", "later"
ERRORS: dict[str, tuple[str, str, bool, bool, tuple[int, ...]]] = {
    # kind, another attempt, stops the lane, for this contact alone, codes
    "the token": ("auth", NO, True, False, (0, 190)),
    "a permission": ("auth", NO, False, False, (3, 10, 200, 299, 131005)),
    "limits of the app, the account or the number": ("rate", LATER, False, False, (4, 80007, 130429, 133016)),
    "the pair limit": ("rate", LATER, False, True, (131056,)),
    "restricted for what was sent": ("rate", LATER, False, True, (131048, 131064)),
    "service": ("provider", LATER, False, False, (1, 2, 131016, 133004, 131057, 2494100)),
    "service, thrice": ("provider", THREE_TIMES, False, False, (131000,)),
    "bad requests": ("invalid", NO, False, False, (33, 100, 131008, 131009, 135000, 131021)),
    "not reachable": ("not_found", NO, False, False, (131026, 131030)),
    "not wanted": ("blocked", NO, False, False, (130403, 131049, 130472, 131050, 137000)),
    "the window": ("window", NO, False, False, (131047,)),
    "media": ("invalid", ONCE, False, False, (131052, 131053)),
    "kinds": ("invalid", NO, False, False, (131051, 131060, 131062, 131063, 131055, 134100, 134101, 134102)),
    "templates": (
        "invalid",
        NO,
        False,
        False,
        (132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016, 132018, 132068, 132069),
    ),
    "registration": ("auth", NO, False, False, (133000, 133005, 133015)),
    "not registered, or not paid": ("auth", NO, True, False, (133010, 131045, 131042, 134011)),
    "locked": ("auth", LATER, True, False, (131031, 368, 130497, 131037)),
    "groups and history": ("invalid", NO, False, False, (131020, 131041, 131201, 2593107, 2593108, 2593109)),
}
CASES = [pytest.param(name, code, id=f"{name}-{code}") for name, row in ERRORS.items() for code in row[4]]


def refused(code: int, status: int = 400, **headers: str) -> Failed:
    error = {"message": f"(#{code}) said", "type": "OAuthException", "code": code, "error_data": {"details": "why"}}
    answer = Response(
        status, {name.replace("_", "-"): text for name, text in headers.items()}, msgspec.json.encode({"error": error})
    )
    found = SOURCE.interpret([answer], RECEIVED_MS)
    assert isinstance(found, Failed)
    return found


@pytest.mark.parametrize(("name", "code"), CASES)
def test_every_documented_error_leads_to_its_outcome(name: str, code: int) -> None:
    kind, again, stops, alone, _ = ERRORS[name]
    found = refused(code)
    assert (found.kind, found.stop_lane, found.contact_only, found.code) == (kind, stops, alone, str(code))
    assert (found.again_s is None) is (again == NO)
    assert found.attempts_max == {ONCE: 2, THREE_TIMES: 3}.get(again)
    assert found.error.endswith("said: why")
    assert found.app_wide is (code == 4)
    assert error_codes.reported_kind(str(code)) == kind


def test_codes_that_are_not_known_are_kept_and_final() -> None:
    assert (refused(999999).kind, refused(999999).again_s) == ("unknown", None)
    assert refused(999999, status=500).kind == "provider"
    assert error_codes.reported_kind("999999") == "provider"


def test_a_delay_that_is_named_counts() -> None:
    assert refused(130429, retry_after="90").again_s == 90.0


def test_the_answer_names_the_message() -> None:
    answer = {"messaging_product": "whatsapp", "contacts": [{"input": CONTACT}], "messages": [{"id": "wamid.OUT-1"}]}
    assert SOURCE.interpret([Response(200, {}, msgspec.json.encode(answer))], RECEIVED_MS) == Sent("wamid.OUT-1")


def test_a_message_without_a_conversation_goes_to_the_recipient_it_names() -> None:
    message = replace(outbound({"text": {"body": "x"}}), recipient_id=USER_ID)
    bare = Target(channel=WIRE.channel(NUMBER_ID), credentials=WIRE.credentials("whatsapp"))
    (call,) = SOURCE.encode(message, bare, RECEIVED_MS)
    assert msgspec.json.decode(call.body)["recipient"] == USER_ID
