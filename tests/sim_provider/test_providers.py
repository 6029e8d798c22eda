"""What differs between the simulated providers, each as its documentation has it."""

import hmac
from base64 import b64encode
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl

import anyio
import anyio.lowlevel
import msgspec
import pytest

from airy.clock import LoopClock
from airy.errors import Refused
from airy.sim.graph import DEMO_NUMBER, GraphOptions, GraphProvider
from airy.sim.provider import Behaviour, PendingWebhook, SendFault, SimHttpClient, WebhookAnswer, WebhookFault
from airy.sim.provider.acts import Edits, Presses, Says, SendsMedia
from airy.sim.telegram import DEMO_BOT, TelegramOptions, TelegramProvider
from airy.sim.twilio import DEMO_SMS_NUMBER, TwilioOptions, TwilioProvider
from airy.sim.viber import DEMO_VIBER_BOT, ViberOptions, ViberProvider

START_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
PROMPT = Behaviour(latency_ms=(0, 0), event_ms=(0, 0), read=1.0)
HOOK = "https://inbox.example.org/hook"


def attempts(core: Any, answer: WebhookAnswer, *, until_ms: int) -> list[tuple[int, PendingWebhook]]:
    """Every webhook until then, all of them answered alike; with its time after the start."""
    posted: list[tuple[int, PendingWebhook]] = []
    while (due_ms := core.next_due_ms()) is not None and due_ms <= START_MS + until_ms:
        for webhook in core.advance(due_ms):
            posted.append((due_ms - START_MS, webhook))
            core.on_response(webhook, answer, due_ms)
    return posted


# --- Telegram


def telegram(method: str, core: TelegramProvider, **fields: Any) -> Any:
    body = msgspec.json.encode(fields)
    url = f"{core.default_address}/bot{DEMO_BOT.token}/{method}"
    return msgspec.json.decode(core.call("POST", url, {"content-type": "application/json"}, body, START_MS).body)


@pytest.fixture
def bot() -> TelegramProvider:
    core = TelegramProvider(TelegramOptions(behaviour=PROMPT))
    assert telegram("setWebhook", core, url=HOOK, secret_token="s", allowed_updates=["message", "callback_query"])["ok"]
    return core


def test_a_refused_update_holds_back_its_chat_but_no_other_and_no_tap(bot: TelegramProvider) -> None:
    one, two = bot.person(), bot.person()
    bot.says(one, "first", START_MS)
    bot.says(one, "second", START_MS)
    bot.acts(one, Presses("Hours", "HOURS"), START_MS)
    bot.says(two, "hello", START_MS)

    (first, tap, other) = bot.advance(START_MS)
    for webhook in (first, tap, other):
        bot.on_response(webhook, 503 if webhook is first else 200, START_MS)

    assert (first.events[0].ids, other.events[0].kind, tap.events[0].kind) == (
        ("7100001:1",),
        "message",
        "callback_query",
    )
    assert [(at_ms, webhook.id) for at_ms, webhook in attempts(bot, WebhookAnswer(200), until_ms=HOUR_MS)] == [
        (1_000, first.id),
        (1_000, first.id + 1),
    ]


def test_telegram_waits_as_the_response_says_and_drops_an_update_after_a_day(bot: TelegramProvider) -> None:
    bot.says(bot.person(), "hello", START_MS)
    patient = attempts(bot, WebhookAnswer(429, retry_after_s=HOUR_MS / 1000), until_ms=48 * HOUR_MS)

    assert {later - sooner for (sooner, _), (later, _) in pairwise(patient)} == {HOUR_MS}
    assert (len(patient), bot.journal.given_up, bot.pending) == (26, 1, 0)


def test_the_response_to_an_update_may_call_a_method(bot: TelegramProvider) -> None:
    person = bot.person()
    bot.acts(person, Presses("Hours", "HOURS"), START_MS)
    answered = b'{"method": "answerCallbackQuery", "callback_query_id": "71"}'
    attempts(bot, WebhookAnswer(200, answered), until_ms=HOUR_MS)

    assert bot.answered_taps == ["71"]


def test_updates_that_are_not_asked_for_are_not_posted(bot: TelegramProvider) -> None:
    person = bot.person()
    message_id = bot.says(person, "hello", START_MS)
    bot.acts(person, Edits(message_id, "hallo"), START_MS)

    assert [webhook.events[0].kind for _, webhook in attempts(bot, WebhookAnswer(200), until_ms=HOUR_MS)] == ["message"]


def test_a_bot_connected_again_gets_what_waited_with_its_new_secret(bot: TelegramProvider) -> None:
    bot.says(bot.person(), "hello", START_MS)
    (webhook,) = bot.advance(START_MS)
    telegram("setWebhook", bot, url=HOOK, secret_token="new")
    bot.on_response(webhook, 403, START_MS)
    ((_, again),) = attempts(bot, WebhookAnswer(200), until_ms=HOUR_MS)

    assert again.headers["x-telegram-bot-api-secret-token"] == "new"
    assert again.body == webhook.body


def test_a_bot_cannot_write_first_and_files_have_the_token_in_their_address(bot: TelegramProvider) -> None:
    person = bot.person()
    refused = telegram("sendMessage", bot, chat_id=person, text="hi")
    bot.acts(person, SendsMedia("file"), START_MS)
    ((_, webhook),) = attempts(bot, WebhookAnswer(200), until_ms=HOUR_MS)
    file_id = msgspec.json.decode(webhook.body)["message"]["document"]["file_id"]
    path = telegram("getFile", bot, file_id=file_id)["result"]["file_path"]
    file = bot.call("GET", f"{bot.default_address}/file/bot{DEMO_BOT.token}/{path}", {}, None, START_MS)

    assert refused == {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
    assert file.body.startswith(b"%PDF")


# --- Twilio


@pytest.mark.parametrize(("answer", "times"), [(WebhookAnswer(503), 1), (WebhookAnswer(None), 2)])
def test_twilio_repeats_only_what_had_no_connection_and_once(answer: WebhookAnswer, times: int) -> None:
    core = TwilioProvider(TwilioOptions(accounts=(DEMO_SMS_NUMBER,), behaviour=PROMPT))
    core.says(core.person(), "hello", START_MS)

    assert len(attempts(core, answer, until_ms=HOUR_MS)) == times
    assert core.journal.given_up == 1


def test_twilio_signs_the_address_and_the_form() -> None:
    core = TwilioProvider(TwilioOptions(accounts=(DEMO_SMS_NUMBER,), behaviour=PROMPT))
    core.says(core.person(), "Hallo & tschüss", START_MS)
    ((_, webhook),) = attempts(core, WebhookAnswer(200), until_ms=HOUR_MS)
    pairs = sorted(parse_qsl(webhook.body.decode(), keep_blank_values=True))
    signed = webhook.url + "".join(name + text for name, text in pairs)

    expected = b64encode(hmac.digest(b"twilio-token", signed.encode(), "sha1")).decode()
    assert webhook.headers["x-twilio-signature"] == expected


# --- Viber


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (403, 1), (None, 1)])
async def test_viber_checks_an_address_before_it_is_used(status: int | None, expected: int) -> None:
    core = ViberProvider(ViberOptions(behaviour=PROMPT))
    checked: list[PendingWebhook] = []

    async def post(webhook: PendingWebhook) -> WebhookAnswer:
        checked.append(webhook)
        await anyio.lowlevel.checkpoint()
        return WebhookAnswer(status)

    client = SimHttpClient(core, LoopClock(), post=post)
    headers = {"X-Viber-Auth-Token": DEMO_VIBER_BOT.token}
    body = msgspec.json.encode({"url": HOOK, "event_types": ["delivered"]})
    answer = await client("POST", f"{core.default_address}/pa/set_webhook", headers=headers, body=body)

    (webhook,) = checked
    signature = hmac.new(DEMO_VIBER_BOT.token.encode(), webhook.body, "sha256").hexdigest()
    assert webhook.headers["x-viber-content-signature"] == signature
    assert msgspec.json.decode(webhook.body)["event"] == "webhook"
    assert msgspec.json.decode(answer.body)["status"] == expected
    assert core.state.accounts[DEMO_VIBER_BOT.id].webhook_url == (HOOK if expected == 0 else None)


# --- WhatsApp, and what all have


def whatsapp(core: GraphProvider, person: str, now_ms: int) -> int | None:
    headers = {"authorization": f"Bearer {DEMO_NUMBER.token}", "content-type": "application/json"}
    text = {"messaging_product": "whatsapp", "to": person, "type": "text", "text": {"body": "Gern!"}}
    url = f"{core.default_address}/v26.0/{DEMO_NUMBER.id}/messages"
    return core.call("POST", url, headers, msgspec.json.encode(text), now_ms).status


@pytest.fixture
def number() -> GraphProvider:
    return GraphProvider(GraphOptions(accounts=(DEMO_NUMBER,), behaviour=PROMPT))


def statuses(core: GraphProvider, *, until_ms: int = 100 * HOUR_MS) -> list[dict[str, Any]]:
    posted = [msgspec.json.decode(webhook.body) for _, webhook in attempts(core, WebhookAnswer(200), until_ms=until_ms)]
    return [status for body in posted for status in body["entry"][0]["changes"][0]["value"].get("statuses", [])]


def test_a_closed_whatsapp_window_fails_a_message_that_was_accepted(number: GraphProvider) -> None:
    person = number.person()
    number.says(person, "Noch da?", START_MS)
    assert whatsapp(number, person, START_MS + 25 * HOUR_MS) == 200

    (status,) = statuses(number)
    assert (status["status"], status["errors"][0]["code"]) == ("failed", 131047)


def test_muted_receipts_are_sent_by_hand_in_any_order(number: GraphProvider) -> None:
    person = number.person()
    number.says(person, "Noch da?", START_MS)
    number.receipts_muted = True
    assert whatsapp(number, person, START_MS) == 200
    assert statuses(number) == []
    message_id = number.state.people[person].last_message_id
    assert message_id is not None
    for state in ("read", "sent"):
        number.report_by_hand(message_id, state, None, START_MS)

    assert [status["status"] for status in statuses(number)] == ["read", "sent"]
    with pytest.raises(Refused, match="unknown message"):
        number.report_by_hand("wamid.unknown", "read", None, START_MS)


def test_events_are_repeated_held_back_and_let_through_by_request(number: GraphProvider) -> None:
    person = number.person()
    number.expect(WebhookFault.DUPLICATE)
    number.expect(WebhookFault.DELAY, delay_ms=60_000)
    for text in ("late", "soon"):
        number.acts(person, Says(text), START_MS)
    posted = attempts(number, WebhookAnswer(200), until_ms=HOUR_MS)

    texts = [msgspec.json.decode(each.body)["entry"][0]["changes"][0]["value"]["messages"][0] for _, each in posted]
    assert [text["text"]["body"] for text in texts] == ["soon", "soon", "late"]
    assert posted[-1][0] == 60_000


def test_a_reset_forgets_people_and_faults_but_no_webhook(bot: TelegramProvider) -> None:
    bot.says(bot.person(), "hello", START_MS)
    bot.expect(SendFault.BUSY)
    bot.reset()

    assert (bot.state.people, bot.expected(), bot.pending, bot.next_due_ms()) == ({}, [], 0, None)
    assert bot.state.accounts[DEMO_BOT.id].webhook_url == HOOK
