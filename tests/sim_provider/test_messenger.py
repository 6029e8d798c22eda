"""The simulated Messenger behaves like Meta's, and equal seeds give equal behaviour."""

import hmac
import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from airy.errors import Refused
from airy.sim.graph import DEMO_PAGE, GraphOptions, GraphProvider, messaging
from airy.sim.graph.provider import GIVE_UP_MS
from airy.sim.provider import ROUGH, Behaviour, PendingWebhook, SendFault, SendOutcome
from airy.sim.provider.api import ApiReply

START_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
SECRETS = {"authorization": f"Bearer {DEMO_PAGE.token}", "content-type": "application/json"}
GRAPH = "https://graph.facebook.com/v23.0"
PROMPT = Behaviour(latency_ms=(0, 0), event_ms=(10, 10), read=1.0)
OPTIONS = GraphOptions(behaviour=PROMPT)


def core(**options: Any) -> GraphProvider:
    return GraphProvider(replace(OPTIONS, **options), now_ms=START_MS)


def send(sim: GraphProvider, person: str, text: str = "x", *, now_ms: int = START_MS, **request: Any) -> ApiReply:
    message = {"text": text, "metadata": request.pop("message_id", "ours-1"), **request.pop("message", {})}
    body = {"recipient": {"id": person}, "messaging_type": "RESPONSE", "message": message, **request}
    return sim.call("POST", f"{GRAPH}/me/messages", SECRETS, msgspec.json.encode(body), now_ms)


def said(reply: ApiReply) -> Any:
    return msgspec.json.decode(reply.body)


def code(reply: ApiReply) -> tuple[int, int, int | None]:
    error = said(reply)["error"]
    return reply.status or 0, error["code"], error.get("error_subcode")


def drain(
    sim: GraphProvider, *, until_ms: int = START_MS + 10 * HOUR_MS, status: int | None = 200
) -> list[tuple[int, PendingWebhook]]:
    """Send every webhook in the order of its due time, each acknowledged with `status`."""
    posted: list[tuple[int, PendingWebhook]] = []
    while (due_ms := sim.next_due_ms()) is not None and due_ms <= until_ms:
        for post in sim.advance(due_ms):
            sim.on_response(post, status, due_ms)
            posted.append((due_ms, post))
    return posted


def elements(posted: list[tuple[int, PendingWebhook]]) -> list[dict[str, Any]]:
    return [
        element
        for _, post in posted
        for entry in json.loads(post.body)["entry"]
        for element in [*entry.get("messaging", []), *entry.get("standby", [])]
    ]


def kinds(posted: list[tuple[int, PendingWebhook]]) -> list[str]:
    return [event.kind for _, post in posted for event in post.events]


# --- webhooks


def test_a_message_is_posted_and_signed_like_metas() -> None:
    sim = core()
    person = sim.person()
    mid = sim.says(person, "Grüße 🍞 / ok", START_MS)
    ((due_ms, post),) = drain(sim)
    assert due_ms == START_MS + 10
    assert post.body == (
        b'{"object":"page","entry":[{"id":"204918377001","time":1767225600010,"messaging":[{"sender":'
        b'{"id":"6120000000000001"},"recipient":{"id":"204918377001"},"timestamp":1767225600000,"message":'
        b'{"mid":"' + mid.encode() + rb'","text":"Gr\u00fc\u00dfe \ud83c\udf5e \/ ok"}}]}]}'
    )
    digest = hmac.new(b"app-secret", post.body, "sha256").hexdigest()
    assert post.headers["x-hub-signature-256"] == f"sha256={digest}"


def test_every_action_of_a_person_is_an_event() -> None:
    sim = core()
    person = sim.person()
    mid = sim.says(person, "hi", START_MS)
    sim.sends_image(person, "https://x/1.jpg", START_MS)
    sim.presses(person, "Hours", "HOURS", START_MS)
    sim.reacts(person, mid, "❤️", START_MS)
    sim.reacts(person, mid, None, START_MS)
    sim.reads(person, START_MS)
    sim.edits(person, mid, "hello", START_MS)
    sim.unsends(person, mid, START_MS)
    sim.inbox_says(person, "typed by hand", START_MS)
    sim.post(messaging.event(DEMO_PAGE, {"timestamp": 1, "app_roles": {}}, standby=True), START_MS)
    posted = drain(sim)
    assert kinds(posted) == [
        "message",
        "message",
        "postback",
        "reaction",
        "reaction",
        "read",
        "message_edit",
        "message",
        "echo",
        "app_roles",
    ]
    assert elements(posted)[3]["reaction"] == {
        "mid": mid,
        "action": "react",
        "reaction": "other",
        "emoji": "\\u{2764}\\u{FE0F}",
    }
    assert len({element["message"]["mid"] for element in elements(posted) if "message" in element}) == 3
    assert "standby" in json.loads(posted[-1][1].body)["entry"][0]


def test_a_page_gets_only_subscribed_events() -> None:
    sim = core(accounts=(replace(DEMO_PAGE, subscribed=False),))
    person = sim.person()
    sim.says(person, "unheard", START_MS)
    body = b'{"subscribed_fields":"messages,message_reads"}'
    assert said(sim.call("POST", f"{GRAPH}/me/subscribed_apps", SECRETS, body, START_MS)) == {"success": True}
    sim.says(person, "heard", START_MS)
    send(sim, person)
    assert kinds(drain(sim)) == ["message", "read"]
    sim.call("DELETE", f"{GRAPH}/me/subscribed_apps", SECRETS, None, START_MS)
    sim.says(person, "unheard again", START_MS + HOUR_MS)
    assert drain(sim) == []


def test_an_unacknowledged_webhook_is_retried_until_it_is_given_up() -> None:
    sim = core()
    sim.says(sim.person(), "hi", START_MS)
    posted = drain(sim, until_ms=START_MS + 2 * GIVE_UP_MS, status=503)
    waits = [later - sooner for (sooner, _), (later, _) in pairwise(posted)]
    assert waits[:5] == [0, 1_000, 2_000, 5_000, 15_000]
    assert max(waits) == HOUR_MS
    assert [post.attempt for _, post in posted] == list(range(1, len(posted) + 1))
    assert len({post.body for _, post in posted}) == 1
    assert (sim.journal.given_up, sim.quiet) == (1, True)


def test_a_missing_response_and_a_later_success_are_recorded() -> None:
    sim = core()
    sim.says(sim.person(), "hi", START_MS)
    (post,) = sim.advance(START_MS + 10)
    sim.on_response(post, None, START_MS + 20)
    (again,) = sim.advance(START_MS + 20)
    sim.on_response(again, 204, START_MS + 30)
    assert [(entry.attempt, entry.status) for entry in sim.journal.webhook_attempts] == [(1, None), (2, 204)]
    assert sim.quiet


def test_duplicates_hold_the_same_events_at_most_five_times() -> None:
    sim = core(behaviour=replace(PROMPT, duplicated=1.0, copies_max=5, reordered_ms=1000))
    person = sim.person()
    for number in range(40):
        sim.says(person, f"message {number}", START_MS + number)
    posted = drain(sim)
    copies: dict[str, list[PendingWebhook]] = {}
    for _, post in posted:
        copies.setdefault(post.events[0].ids[0], []).append(post)
    assert len(copies) == 40
    assert {len(told) for told in copies.values()} == {2, 3, 4, 5}
    assert all(len({json.dumps(elements([(0, post)])) for post in told}) == 1 for told in copies.values())
    assert any(len({post.body for post in told}) > 1 for told in copies.values())


def test_reordered_events_overtake_each_other_and_keep_their_times() -> None:
    sim = core(behaviour=replace(PROMPT, reordered=0.5))
    person = sim.person()
    for number in range(40):
        sim.says(person, f"message {number}", START_MS + number)
    times = [element["timestamp"] for element in elements(drain(sim))]
    assert times != sorted(times)
    assert sorted(times) == list(range(START_MS, START_MS + 40))


def test_events_of_one_moment_are_batched() -> None:
    sim = core(behaviour=replace(PROMPT, elements_max=3))
    person = sim.person()
    for number in range(7):
        sim.says(person, f"message {number}", START_MS)
    assert [len(post.events) for _, post in drain(sim)] == [3, 3, 1]


# --- sends


def test_an_accepted_message_is_echoed_delivered_and_read() -> None:
    sim = core()
    person = sim.person()
    sim.says(person, "hi", START_MS)
    drain(sim)
    taken = said(
        send(sim, person, "hello", message={"quick_replies": [{"content_type": "text", "title": "A", "payload": "B"}]})
    )
    assert taken["recipient_id"] == person
    echo, delivery, read = elements(drain(sim))
    assert echo["sender"]["id"] == DEMO_PAGE.id
    assert echo["message"]["metadata"] == "ours-1"
    assert (echo["message"]["app_id"], echo["message"]["is_echo"]) == (990011, True)
    assert echo["message"]["mid"] == taken["message_id"] == delivery["delivery"]["mids"][0]
    assert delivery["delivery"]["watermark"] <= read["read"]["watermark"]


@pytest.mark.parametrize(
    ("wrote_ago_ms", "request_", "taken"),
    [
        (24 * HOUR_MS, {}, True),
        (24 * HOUR_MS + 1, {}, False),
        (None, {}, False),
        (24 * HOUR_MS + 1, {"messaging_type": "UPDATE"}, False),
        (7 * 24 * HOUR_MS, {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}, True),
        (7 * 24 * HOUR_MS + 1, {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}, False),
        (None, {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}, False),
        (30 * 24 * HOUR_MS, {"messaging_type": "MESSAGE_TAG", "tag": "ACCOUNT_UPDATE"}, None),
    ],
)
def test_sends_outside_the_messaging_window_are_refused(
    wrote_ago_ms: int | None, request_: dict[str, str], taken: bool | None
) -> None:
    sim = core()
    person = sim.person()
    if wrote_ago_ms is not None:
        sim.says(person, "hi", START_MS)
    reply = send(sim, person, now_ms=START_MS + (wrote_ago_ms or 0), **request_)
    refused = (400, 100, None) if taken is None else (400, 10, 2018278)  # a retired tag is a bad parameter
    assert reply.status == 200 if taken else code(reply) == refused


def test_an_approved_template_is_sent_at_any_time() -> None:
    sim = core()
    template = {"template": {"name": "order", "language": {"code": "en"}}, "text": None}
    assert send(sim, sim.person(), message=template, messaging_type="UTILITY").status == 200
    assert code(send(sim, sim.person(), message={"template": {"name": "order"}, "text": None})) == (400, 100, None)


def test_a_reaction_needs_a_message() -> None:
    sim = core()
    with pytest.raises(Refused, match="sent nothing yet"):
        sim.reacts(sim.person(), None, "❤️", START_MS)
    assert drain(sim) == []


def test_the_send_api_refuses_like_graph() -> None:
    sim = core()
    person = sim.person()
    sim.says(person, "hi", START_MS)
    assert code(send(sim, "77")) == (400, 100, 2018001)
    assert code(send(sim, person, "x" * 2001)) == (400, 100, None)
    assert code(send(sim, person, message={"text": None})) == (400, 100, 2018089)
    assert code(send(sim, person, message={"quick_replies": [{}] * 14})) == (400, 100, None)
    assert code(send(sim, person, message={"text": None, "attachment": {}})) == (400, 100, None)
    sim.state.known(person).blocked = True
    assert code(send(sim, person)) == (400, 551, 1545041)
    sim.state.known(person).blocked = False
    assert send(sim, person).status == 200
    sim.state.accounts[DEMO_PAGE.id].revoked = True
    assert code(send(sim, person)) == (401, 190, 460)


def test_sends_above_the_rate_of_a_page_are_refused() -> None:
    sim = core(behaviour=replace(PROMPT, calls_per_s_max=2))
    person = sim.person()
    sim.says(person, "hi", START_MS)
    replies = [send(sim, person, now_ms=START_MS + late_ms) for late_ms in (0, 1, 2, 999, 1000, 1001, 1002)]
    assert [reply.status for reply in replies] == [200, 200, 400, 400, 200, 200, 400]
    assert code(replies[2]) == (400, 613, None)


@pytest.mark.parametrize(
    ("fault", "status", "reached", "outcome"),
    [
        (SendFault.RATE_LIMITED, 400, True, SendOutcome.REFUSED),
        (SendFault.BUSY, 500, True, SendOutcome.REFUSED),
        (SendFault.BLOCKED, 400, True, SendOutcome.REFUSED),
        (SendFault.OUTSIDE_WINDOW, 400, True, SendOutcome.REFUSED),
        (SendFault.TOKEN_EXPIRED, 401, True, SendOutcome.REFUSED),
        (SendFault.UNREACHABLE, None, False, SendOutcome.UNREACHED),
        (SendFault.ACCEPTED_UNANSWERED, None, True, SendOutcome.ACCEPTED_UNANSWERED),
        (SendFault.DROPPED_UNANSWERED, None, True, SendOutcome.DROPPED_UNANSWERED),
        (SendFault.GARBLED, 200, True, SendOutcome.ACCEPTED_UNANSWERED),
    ],
)
def test_every_fault_has_its_documented_effect(
    fault: SendFault, status: int | None, reached: bool, outcome: SendOutcome
) -> None:
    sim = core()
    person = sim.person()
    sim.says(person, "hi", START_MS)
    drain(sim)
    sim.expect(fault, message_id="ours-1")
    assert send(sim, person, message_id="another").status == 200
    drain(sim)
    reply = send(sim, person)
    assert (reply.status, reply.reached) == (status, reached)
    assert sim.journal.sends[-1].outcome == outcome
    assert ("echo" in kinds(drain(sim))) is (outcome is SendOutcome.ACCEPTED_UNANSWERED)
    if status == 200:
        with pytest.raises(msgspec.DecodeError):
            said(reply)
    assert send(sim, person).status == 200


def test_a_gateway_error_hides_whether_a_message_was_accepted() -> None:
    sim = core(behaviour=replace(PROMPT, faults={SendFault.GATEWAY: 1.0}))
    person = sim.person()
    sim.says(person, "hi", START_MS)
    for number in range(40):
        assert send(sim, person, message_id=f"ours-{number}").status == 502
    assert {send.outcome for send in sim.journal.sends} == {
        SendOutcome.ACCEPTED_UNANSWERED,
        SendOutcome.DROPPED_UNANSWERED,
    }


def test_draws_depend_on_the_message_and_not_on_the_order_of_calls() -> None:
    """Two orders of the same calls meet the same faults; a repetition has its own draw."""
    outcomes = []
    for order in (range(60), reversed(range(60))):
        sim = core(behaviour=replace(ROUGH, private=0.0))
        person = sim.person()
        sim.says(person, "hi", START_MS)
        for number in order:
            send(sim, person, message_id=f"ours-{number}")
        outcomes.append({send.message_id: send.outcome for send in sim.journal.sends})
    assert outcomes[0] == outcomes[1]
    assert len(set(outcomes[0].values())) == 5


# --- the Graph API


def get(sim: GraphProvider, path: str, token: str = OPTIONS.user_token) -> Any:
    return said(sim.call("GET", f"{GRAPH}{path}", {"authorization": f"Bearer {token}"}, None, START_MS))


def test_a_paged_listing_continues_at_a_link_with_the_token() -> None:
    """Unsafe, but as Meta does it."""
    pages = tuple(replace(DEMO_PAGE, id=str(number), token=f"EAAPage{number}") for number in range(30))
    sim = core(accounts=pages)
    first = get(sim, "/me/accounts?fields=name,access_token&limit=100")
    assert len(first["data"]) == 25
    assert first["data"][7] == {"name": "Corner Bakery", "access_token": "EAAPage7", "id": "7"}
    link = first["paging"]["next"]
    assert f"access_token={OPTIONS.user_token}" in link
    second = said(sim.call("GET", link, {}, None, START_MS))
    assert [page["id"] for page in second["data"]] == ["25", "26", "27", "28", "29"]
    assert "next" not in second["paging"]


@pytest.mark.parametrize(
    ("path", "token", "error"),
    [
        ("/me/accounts", None, (400, 2500, None)),
        ("/me/accounts", "EAAGuess", (401, 190, None)),
        ("/77", DEMO_PAGE.token, (400, 100, 33)),
        ("/me/nothing", DEMO_PAGE.token, (400, 100, 33)),
        ("/me", OPTIONS.user_token, (400, 100, 33)),
        ("/me?appsecret_proof=00", DEMO_PAGE.token, (400, 100, None)),
    ],
)
def test_the_graph_api_refuses_like_graph(path: str, token: str | None, error: tuple[int, int, int | None]) -> None:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    assert code(core().call("GET", f"{GRAPH}{path}", headers, None, START_MS)) == error


def test_an_appsecret_proof_may_be_required() -> None:
    sim = core(proof_required=True)
    headers = {"authorization": f"Bearer {DEMO_PAGE.token}"}
    assert code(sim.call("GET", f"{GRAPH}/me", headers, None, START_MS)) == (400, 100, None)
    right = hmac.new(b"app-secret", DEMO_PAGE.token.encode(), "sha256").hexdigest()
    reply = sim.call("GET", f"{GRAPH}/me?fields=name&appsecret_proof={right}", headers, None, START_MS)
    assert said(reply) == {"name": "Corner Bakery", "id": DEMO_PAGE.id}


def test_a_subscription_can_be_read() -> None:
    sim = core()
    path = f"{GRAPH}/{DEMO_PAGE.id}/subscribed_apps"
    sim.call("POST", path, SECRETS, b'{"subscribed_fields":"messages"}', START_MS)
    shown = get(sim, f"/{DEMO_PAGE.id}/subscribed_apps", DEMO_PAGE.token)
    assert shown == {"data": [{"id": "990011", "subscribed_fields": ["messages"]}]}
    assert code(sim.call("POST", path, SECRETS, b"{}", START_MS)) == (400, 100, None)


# --- the journal


def test_a_second_send_without_a_reported_failure_is_a_violation() -> None:
    sim = core()
    person = sim.person()
    sim.says(person, "hi", START_MS)
    for fault in (SendFault.BUSY, SendFault.UNREACHABLE, SendFault.RATE_LIMITED):
        sim.expect(fault)
        send(sim, person, message_id="patient")
    send(sim, person, message_id="patient")
    assert sim.journal.violations() == []
    sim.expect(SendFault.DROPPED_UNANSWERED)
    for _ in range(2):
        send(sim, person, message_id="hasty")
    assert sim.journal.violations() == ["hasty: dropped_unanswered, accepted"]
    for _ in range(2):
        send(sim, person, message_id="forgetful")
    assert sim.journal.violations()[1:] == ["forgetful: accepted, accepted"]
    assert sim.journal.accepted() == {"patient": 1, "hasty": 1, "forgetful": 2}
    assert len(sim.journal.sends_of("patient")) == 4


def test_the_journal_is_bounded() -> None:
    sim = core(journal_max=5)
    person = sim.person()
    for number in range(20):
        sim.says(person, "hi", START_MS)
        send(sim, person, message_id=f"ours-{number}")
    drain(sim)
    assert (len(sim.journal.sends), len(sim.journal.webhook_attempts)) == (5, 5)


def test_too_many_pending_webhooks_refuse_sends_as_busy() -> None:
    sim = core(pending_max=10)
    person = sim.person()
    for _ in range(10):
        sim.says(person, "hi", START_MS)
    assert code(send(sim, person)) == (500, 2, None)
    drain(sim)
    assert send(sim, person).status == 200


# --- seeds


def story(seed: int) -> list[tuple[int, bytes]]:
    sim = core(seed=seed, behaviour=ROUGH, customers=3)
    posted = []
    for step in range(600):
        now_ms = START_MS + step * 100
        for post in sim.advance(now_ms):
            sim.on_response(post, 200 if step % 7 else 503, now_ms)
            posted.append((now_ms, post.body))
            if post.events[0].kind == "message":
                person = elements([(0, post)])[0]["sender"]["id"]
                send(sim, person, "sure", now_ms=now_ms, message_id=post.events[0].ids[0])
    return posted


def test_a_seed_determines_the_events() -> None:
    assert story(1) == story(1) != story(2)
    assert len(story(1)) > 20


# --- customers


def test_customers_write_reply_and_return() -> None:
    """They continue when the page replies, and rest between topics."""
    sim = core(customers=2, turns_ms=(100, 200), rest_ms=(10_000, 20_000))
    lines: list[str] = []
    sim.transcript = lines.append
    now_ms = START_MS
    for _ in range(2_000):
        now_ms += 50
        for post in sim.advance(now_ms):
            sim.on_response(post, 200, now_ms)
            for event in post.events:
                if event.kind in {"message", "postback"}:
                    person = event.element["sender"]["id"]  # type: ignore[index]
                    send(sim, person, "certainly", now_ms=now_ms, message_id=event.ids[0])
    by_person = {
        name: [line for line in lines if line.startswith(f"{name}:")] for name in ("Ines Kuhn", "Tomás Oliveira")
    }
    assert all(len(said_) > 8 for said_ in by_person.values())
    assert sum("Corner Bakery → " in line for line in lines) > 16
    assert sim.journal.violations() == []


def test_customers_tap_offered_replies_and_buttons() -> None:
    replies = [{"content_type": "text", "title": "Tomorrow", "payload": "TOMORROW"}]
    button = {"type": "postback", "title": "Order", "payload": "ORDER"}
    card = {
        "attachment": {"type": "template", "payload": {"template_type": "generic", "elements": [{"buttons": [button]}]}}
    }
    tapped = []
    for offer in ({"quick_replies": replies}, {"text": None, **card}):
        for seed in range(10):
            sim = core(customers=1, seed=seed, turns_ms=(100, 200))
            first = drain(sim, until_ms=START_MS + 1_000)
            send(sim, str(elements(first)[0]["sender"]["id"]), message=offer, now_ms=START_MS + 1_000)
            tapped += [
                element.get("postback", element.get("message", {}).get("quick_reply", {})).get("payload")
                for element in elements(drain(sim, until_ms=START_MS + 3_000))
            ]
    assert {"TOMORROW", "ORDER"} <= set(tapped)


def test_stopped_customers_write_no_more() -> None:
    sim = core(customers=3, turns_ms=(100, 200))
    assert len(drain(sim, until_ms=START_MS + 1_000)) == 3
    sim.stop_customers()
    send(sim, next(iter(sim.state.people)), now_ms=START_MS + 1_000)
    assert set(kinds(drain(sim))) == {"echo", "delivery", "read"}
    assert sim.next_due_ms() is None


def test_a_person_who_is_no_customer_never_acts_alone() -> None:
    sim = core()
    person = sim.person()
    sim.says(person, "hi", START_MS)
    send(sim, person)
    assert kinds(drain(sim)).count("message") == 1
    assert sim.quiet
    assert sim.next_due_ms() is None


# --- invalid input


def test_unknown_people_and_pages_are_refused() -> None:
    sim = core()
    with pytest.raises(Refused, match="unknown person 5"):
        sim.says("5", "hi", START_MS)
    with pytest.raises(Refused, match="unknown account 5"):
        sim.person("5")


@pytest.mark.parametrize(
    "wrong", [{"late": 1.5}, {"read": -0.1}, {"faults": {SendFault.BUSY: 0.6, SendFault.GATEWAY: 0.6}}]
)
def test_a_probability_outside_0_to_1_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="between 0 and 1"):
        Behaviour(**wrong)


def test_invalid_options_are_refused() -> None:
    with pytest.raises(Refused, match="accounts is empty"):
        GraphOptions(accounts=())
    with pytest.raises(Refused, match="webhooks could not be signed"):
        GraphOptions(app_secret="")


def test_receipts_can_be_delayed() -> None:
    sim = core(behaviour=replace(PROMPT, late=1.0, late_ms=HOUR_MS))
    person = sim.person()
    sim.says(person, "hi", START_MS)
    send(sim, person)
    times = {post.events[0].kind: due_ms - START_MS for due_ms, post in drain(sim)}
    assert times["echo"] < 1_000
    assert times["delivery"] > HOUR_MS
    assert times["read"] > HOUR_MS
