"""Making calls: in order, as far as they succeed, and without a word of their secrets."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import Raw

from airy.errors import AiryError
from airy.http_client import AddressBlocked, ConnectFailed, Response, ResponseLost
from airy.secret import Secret
from airy.sources import calling
from airy.sources.api import Call, Failed, Lost, Outcome, Sent

TOKEN = Secret("sealed-token")
FIRST = Call(
    "POST", Secret("https://api.example.org/sealed-token/upload"), {"x-key": Secret("sealed-key")}, b"1", (TOKEN,)
)
LAST = Call("POST", Secret("https://api.example.org/sealed-token/send"), {}, b"2", (TOKEN,))


class Client:
    """Answers in order; exceptions are raised."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, str, dict[str, str], bytes | None]] = []

    async def __call__(self, method: str, url: str, **more: Any) -> Response:
        self.calls.append((method, url, dict(more["headers"]), more["body"]))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Counting:
    """The part of a source that interprets: it says how many answers it saw."""

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:
        if answers[-1].status == 200:
            return Sent(f"{len(answers)} answers")
        said = answers[-1].body.decode()
        return Failed(kind="invalid", error=said, detail=Raw(answers[-1].body))


def ok() -> Response:
    return Response(200, {}, b"{}")


async def send(*answers: Response | Exception, calls: Sequence[Call] = (FIRST, LAST)) -> tuple[Outcome, Client]:
    client = Client(*answers)
    return await calling.send(client, Counting(), calls, 0), client  # type: ignore[arg-type]


async def test_calls_are_made_in_order_with_their_secrets_revealed() -> None:
    outcome, client = await send(ok(), ok())
    assert outcome == Sent("2 answers")
    assert client.calls == [
        ("POST", "https://api.example.org/sealed-token/upload", {"x-key": "sealed-key"}, b"1"),
        ("POST", "https://api.example.org/sealed-token/send", {}, b"2"),
    ]


async def test_after_a_refusal_nothing_more_is_called() -> None:
    outcome, client = await send(Response(400, {}, b'"no"'))
    assert isinstance(outcome, Failed)
    assert len(client.calls) == 1


async def test_a_preparation_without_an_answer_failed_and_a_delivery_without_one_is_lost() -> None:
    prepared, _ = await send(ResponseLost("time-out"))
    delivered, _ = await send(ok(), ResponseLost("time-out"))
    assert prepared == Failed(kind="provider", error="time-out", again_s=0.0)
    assert delivered == Lost("time-out")


async def test_what_was_not_sent_may_be_sent_again_and_a_blocked_address_may_not() -> None:
    unsent, _ = await send(ConnectFailed("refused", retry_after_s=3.0))
    blocked, _ = await send(AddressBlocked("private address"))
    assert unsent == Failed(kind="provider", error="refused", again_s=3.0)
    assert blocked == Failed(kind="invalid", error="private address")


@pytest.mark.parametrize("kind", [ConnectFailed, ResponseLost, AddressBlocked])
async def test_an_error_of_the_client_is_raised_again_without_the_address(kind: type[AiryError]) -> None:
    client = Client(kind("https://api.example.org/sealed-token/send refused sealed-token"))
    with pytest.raises(kind) as failed:
        await calling.call(client, LAST)
    assert str(failed.value) == "***** refused *****"
    assert (failed.value.__cause__, failed.value.__context__) == (None, None)


async def test_what_the_provider_quotes_is_masked() -> None:
    outcome, _ = await send(Response(400, {}, b'"sealed-token is bad"'))
    assert isinstance(outcome, Failed)
    assert outcome.error == '"***** is bad"'
    assert bytes(outcome.detail or b"") == b'"***** is bad"'


async def test_an_answer_that_is_not_json_any_more_once_it_is_masked_is_not_kept() -> None:
    numeric = Call("POST", Secret("https://api.example.org/send"), {}, b"", (Secret("4711"),))
    outcome, _ = await send(Response(400, {}, b'{"account":4711}'), calls=(numeric,))
    assert outcome == Failed(kind="invalid", error='{"account":*****}', detail=None)


def test_a_call_is_printed_as_host_and_size() -> None:
    assert repr(FIRST) == str(FIRST) == "Call(POST api.example.org, 1 bytes)"


async def test_a_quoted_secret_is_masked_before_the_words_around_it_are_cut() -> None:
    class Cutting(Counting):
        def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:
            return Failed(kind="invalid", error=answers[-1].body.decode()[:20])

    client = Client(Response(400, {}, b"not with sealed-token, please"))
    outcome = await calling.send(client, Cutting(), [LAST], 0)  # type: ignore[arg-type]
    assert outcome == Failed(kind="invalid", error="not with *****, plea")
