"""`airy listen`: verification, chosen failures, repetitions, and a subscription that ends with it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio
import msgspec
import pytest

from airy.api_client import ApiClient
from airy.app.listen.answer_plan import AnswerPlan
from airy.app.listen.program import ListenOptions, SubscribeOptions, _subscribed, listen
from airy.app.listen.receiver import ReceivedDelivery, Receiver
from airy.app.listen.signature_check import AGE_S_MAX, ReceiverSecrets, check, parse_secrets
from airy.clock import LoopClock, SystemClock
from airy.egress import UNRESTRICTED
from airy.errors import Refused
from airy.http_client import Response
from airy.http_client_aiohttp import AiohttpClient
from airy.webhooks import signing
from tests.kit.asgi import call
from tests.kit.command_line import validate
from tests.kit.fake_instance import FakeInstance

SECRET = signing.secret_text(bytes(range(32)))
OTHER = signing.secret_text(bytes(32))
BODY = b'{"id": "e-1", "type": "message.created"}'
NOW_S = 1_700_000_000


def signed(secret: str = SECRET, *, at_s: int = NOW_S, body: bytes = BODY) -> dict[str, str]:
    signature = signing.standard([signing.secret_key(secret)], "e-1", at_s, body)
    return {"webhook-id": "e-1", "webhook-timestamp": str(at_s), "webhook-signature": signature}


@pytest.mark.parametrize(
    ("headers", "secrets", "expected"),
    [
        (signed(), (SECRET,), ("valid", "")),
        (signed(), (OTHER, SECRET), ("valid", "")),
        (signed(OTHER), (SECRET,), ("invalid", "no signature matches")),
        (signed(body=b"{}"), (SECRET,), ("invalid", "no signature matches")),
        (signed(at_s=NOW_S - AGE_S_MAX - 12), (SECRET,), ("invalid", "its timestamp is 312 s old")),
        (signed() | {"webhook-timestamp": "now"}, (SECRET,), ("invalid", "webhook-timestamp is no number")),
        ({"webhook-id": "e-1"}, (SECRET,), ("missing", "")),
        (signed(), ("a signature key",), ("missing", "")),
        ({"x-airy-content-signature": signing.content("key", BODY)}, ("key",), ("valid", "")),
        ({"x-airy-content-signature": "ü"}, ("key",), ("invalid", "no signature matches")),
        ({}, (), ("unchecked", "")),
    ],
)
def test_a_signature_is_valid_invalid_with_a_reason_or_missing(
    headers: dict[str, str], secrets: tuple[str, ...], expected: tuple[str, str]
) -> None:
    assert tuple(check(headers, BODY, parse_secrets(secrets), NOW_S)) == expected


def test_secrets_are_not_in_a_representation_and_damaged_ones_are_refused() -> None:
    assert "key" not in repr(parse_secrets((SECRET, "the key"))).replace("keys", "")
    with pytest.raises(Refused, match="whsec_"):
        parse_secrets(("whsec_x",))


@pytest.mark.parametrize(
    ("plan", "statuses"),
    [
        (AnswerPlan(), [200, 200, 200]),
        (AnswerPlan(always=True, status=503), [503, 503, 503]),
        (AnswerPlan(first=2), [500, 500, 200]),
        (AnswerPlan(rate=1.0, status=429), [429, 429, 429]),
    ],
)
def test_a_plan_fails_every_request_the_first_or_a_part(plan: AnswerPlan, statuses: list[int]) -> None:
    assert [plan.answer(number, genuine=True, random=Random(0)) for number in (1, 2, 3)] == statuses


def test_a_rate_fails_about_that_part_and_a_bad_signature_is_refused() -> None:
    random = Random(0)
    failed = sum(AnswerPlan(rate=0.3).answer(n, genuine=True, random=random) == 500 for n in range(1_000))
    assert 250 < failed < 350
    assert AnswerPlan().answer(1, genuine=False, random=random) == 401


async def test_each_delivery_is_a_row_that_counts_repetitions_and_answers_wait_for_the_delay() -> None:
    rows: list[ReceivedDelivery] = []
    receiver = Receiver(AnswerPlan(delay_s=2.0), ReceiverSecrets(), rows.append, LoopClock(), path="/hook")
    began_s = anyio.current_time()
    for _ in range(2):
        assert (await call(receiver, "POST", "/hook", body=BODY, headers=signed().items())).status == 200
    assert anyio.current_time() - began_s == pytest.approx(4.0)
    assert (await call(receiver, "POST", "/hook", body=b"not JSON")).status == 200
    for method, path in (("POST", "/other"), ("GET", "/hook")):
        assert (await call(receiver, method, path)).status == 404
    assert [(row.number, row.event, row.event_id, row.repeats) for row in rows] == [
        (1, "message.created", "e-1", 0),
        (2, "message.created", "e-1", 1),
        (3, None, None, 0),
    ]
    assert (rows[0].body, rows[0].bytes, rows[2].body) == (json.loads(BODY), len(BODY), None)
    validate("received-deliveries", msgspec.to_builtins(rows))


# --- over a socket

Listened = tuple[list[ReceivedDelivery], list[str]]  # and the notes


@asynccontextmanager
async def listening(instance: FakeInstance, plan: AnswerPlan) -> AsyncIterator[Listened]:
    rows: list[ReceivedDelivery] = []
    notes: list[str] = []
    client = ApiClient(instance, "http://airy.example.net", None)
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await listen(
                ListenOptions(plan=plan), rows.append, notes.append, client=client, subscribe=SubscribeOptions()
            )

        tasks.start_soon(run)
        with anyio.fail_after(30):
            while len(notes) < 2:
                await anyio.sleep(0.01)
        yield rows, notes
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_subscription_verifies_with_its_secret_and_is_deleted_at_the_end(real_time: None) -> None:
    instance = FakeInstance()
    instance.documents["/webhooks.subscribe"] = {"id": "w-1", "signing_secret": SECRET}
    instance.documents["/webhooks.delete"] = {}
    async with listening(instance, AnswerPlan(first=1)) as (rows, notes), AiohttpClient(UNRESTRICTED) as http:
        url = notes[0].split()[2].rstrip(";")
        headers = signed(at_s=SystemClock().now_ms() // 1000)
        statuses = [(await http("POST", url, headers=headers, body=BODY)).status for _ in range(2)]
        assert statuses == [500, 200]
        assert [(row.signature, row.repeats) for row in rows] == [("valid", 0), ("valid", 1)]
        assert "webhook w-1" in notes[1]
        assert "/webhooks.delete" not in instance.asked
    assert instance.asked["/webhooks.delete"] == 1


async def test_an_address_that_the_instance_refuses_is_an_error_that_says_what_to_configure() -> None:
    async def refuse(*_: object, **__: object) -> Response:
        return Response(400, {}, b'{"message": "url: use https", "fields": [{"field": "url", "message": "use https"}]}')

    client = ApiClient(refuse, "http://airy.example.net", None)
    with pytest.raises(Refused, match=r"use https; .* allowPrivateAddresses: true"):
        async with _subscribed(client, SubscribeOptions(), "http://127.0.0.1:9", print):
            pass
