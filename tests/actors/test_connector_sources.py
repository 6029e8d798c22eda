"""The connector with every source of the catalogue, against a scripted provider, in virtual time."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import anyio
import pytest

from airy import topics
from airy.actors.bug_report import BugCounts, BugKind
from airy.actors.connector import Connector
from airy.errors import Unavailable
from airy.http_client import HttpClient, Response
from airy.model.conversation import Message
from airy.model.delivery_state import DeliveryState
from airy.sources.api import Call, Failed, Outcome, Profile, Sent, Target
from airy.store.api import WorkKey
from tests.kit.builders import Chat
from tests.kit.providers import WIRES
from tests.kit.scripted_harness import ScriptedHarness
from tests.kit.scripted_provider import Act, ScriptedProvider

KINDS = [(wire.spec.name, kind.name) for wire in WIRES.values() for kind in wire.spec.kinds]
DONE = {DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ}


def scripted(source: str, kind: str, *script: Act) -> ScriptedHarness:
    return ScriptedHarness(WIRES[source], *script, kind=kind)


def connector(
    harness: ScriptedHarness,
    *,
    source: Any = None,
    http: HttpClient | None = None,
    store: Any = None,
    bugs: BugCounts | None = None,
) -> Connector:
    return Connector(
        harness.bus,
        store or harness.store,
        harness.projector,
        [source or harness.source],
        http or harness.provider,
        harness.credentials,
        bugs=bugs,
    )


async def sent(harness: ScriptedHarness, text: str = "Yes, from Thursday on.") -> Message:
    """A contact writes, an agent answers; the message once its delivery has settled."""
    await harness.begin()
    fact = harness.queued(text)
    await harness.append(fact)
    open_states = {DeliveryState.PENDING, DeliveryState.SENDING}
    return await harness.until(fact.message_id, lambda message: message.delivery not in open_states)


@pytest.mark.parametrize(("source", "kind"), KINDS)
async def test_a_message_is_sent_once_and_carries_the_providers_id(source: str, kind: str) -> None:
    """FB-4, F5, TW-3, F9."""
    harness = scripted(source, kind)
    async with harness.open(connector=lambda: connector(harness)):
        message = await sent(harness)

        (attempt,) = harness.provider.attempts
        assert message.delivery in DONE
        assert message.provider_id == attempt.provider_id
        assert attempt.taken.recipient.endswith(harness.wire.participant)


@pytest.mark.parametrize(("source", "kind"), KINDS)
@pytest.mark.parametrize("act", [Act.TAKEN_SILENT, Act.CUT, Act.BADLY_FRAMED])
async def test_an_ambiguous_call_becomes_unknown_and_is_not_repeated(source: str, kind: str, act: Act) -> None:
    harness = scripted(source, kind, act)
    async with harness.open(connector=lambda: connector(harness)):
        message = await sent(harness)
        await anyio.sleep(60)

        assert message.delivery is DeliveryState.UNKNOWN
        assert len(harness.provider.attempts) == 1


@pytest.mark.parametrize(("source", "kind"), KINDS)
@pytest.mark.parametrize("act", [Act.RATE_LIMITED, Act.UNREACHABLE])
async def test_a_recorded_transient_failure_is_retried_until_it_is_sent(source: str, kind: str, act: Act) -> None:
    harness = scripted(source, kind, act, act)
    async with harness.open(connector=lambda: connector(harness)):
        message = await sent(harness)

        assert (message.delivery in DONE, message.attempt) == (True, 3)
        assert len(harness.provider.delivered) == 1


@pytest.mark.parametrize(("source", "kind"), KINDS)
@pytest.mark.parametrize("act", [Act.TOKEN_REFUSED, Act.UNREACHABLE, Act.HANG])
async def test_no_fact_and_no_log_line_holds_a_secret(source: str, kind: str, act: Act) -> None:
    """X-10."""
    harness = scripted(source, kind, act)
    async with harness.open(connector=lambda: connector(harness)):
        await sent(harness)
        async with harness.bus.tail(await harness.bus.beginning_offsets([topics.EVENTS])) as tail:
            records = await tail.fetch(records_max=10_000, wait_s=0)

        told = repr([(record.value, record.headers) for record in records]) + repr(harness.logged.entries)
        assert [secret for secret in harness.wire.secrets if secret in told] == []


class Buggy:
    """A source with a bug in one method, for one text."""

    def __init__(self, source: Any, broken: str) -> None:
        self._source = source
        self._broken = broken
        self.spec = source.spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:
        if self._broken == "encode" and b"trigger" in bytes(message.content):
            raise KeyError(f"{[secret.reveal() for secret in target.credentials.values()]}")
        calls: Sequence[Call] | Failed = self._source.encode(message, target, now_ms)
        return calls

    def interpret(self, answers: Sequence[Response], now_ms: int) -> Outcome:
        if self._broken == "interpret":
            self._broken = ""
            raise KeyError(repr(answers))
        if self._broken == "outcome":
            self._broken = ""
            return Failed(kind="invalid", error="\ud800")  # cannot be encoded
        if self._broken == "id":
            self._broken = ""
            return Sent(provider_id="m" * 5_000_000)
        outcome: Outcome = self._source.interpret(answers, now_ms)
        return outcome


@pytest.mark.parametrize(
    ("broken", "state", "error"),
    [
        ("encode", DeliveryState.FAILED, "KeyError"),
        ("interpret", DeliveryState.UNKNOWN, "KeyError"),
        ("outcome", DeliveryState.FAILED, "UnicodeEncodeError"),
        ("id", DeliveryState.UNKNOWN, "RecordTooLarge"),
    ],
)
async def test_a_bug_of_a_source_ends_one_attempt_and_not_the_connector(
    broken: str, state: DeliveryState, error: str
) -> None:
    """After the call the provider may have the message, so its outcome is unknown."""
    harness = scripted("telegram", "telegram")
    source = Buggy(harness.source, broken)
    async with harness.open(connector=lambda: connector(harness, source=source)):
        first = await sent(harness, "trigger")
        second = harness.queued("fine")
        await harness.append(second)
        await harness.until(second.message_id, lambda message: message.delivery in DONE)

        assert first.delivery is state
        assert [line["error"] for line in harness.logged.entries if line["log_level"] == "error"] == [error]
        assert [secret for secret in harness.wire.secrets if secret in repr(harness.logged.entries)] == []


class BuggyStore:
    """A store with a bug in what it knows of messages with one text."""

    def __init__(self, store: Any, text: bytes, *, times: int) -> None:
        self._store = store
        self._text = text
        self.times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def message(self, message_id: str) -> Message | None:
        message: Message | None = await self._store.message(message_id)
        if message is not None and self._text in bytes(message.content) and self.times:
            self.times -= 1
            raise ValueError("sesame")
        return message


@pytest.mark.parametrize(("times", "state"), [(1, DeliveryState.FAILED), (2, DeliveryState.SENT)])
async def test_a_bug_of_one_message_delays_no_other(times: int, state: DeliveryState) -> None:
    """Where not even the failure can be recorded, the message is tried again later."""
    harness = scripted("facebook", "facebook")
    bugs: BugCounts = Counter()
    async with harness.open(
        connector=lambda: connector(harness, store=BuggyStore(harness.store, b"trigger", times=times), bugs=bugs)
    ):
        await harness.begin()
        other = Chat(7, source_channel_id=harness.channel.source_channel_id).received("another contact")
        await harness.append(other)
        bad, good = harness.queued("trigger"), harness.queued("fine", conversation_id=other.conversation_id)
        await harness.append(bad, good)
        started_s = anyio.current_time()
        await harness.until(good.message_id, lambda message: message.delivery in DONE)
        assert anyio.current_time() - started_s < 5
        ended = await harness.until(bad.message_id, lambda message: message.delivery is state)

        assert ended.attempt <= 1
        assert bugs == {"send": times}
        assert "sesame" not in repr(harness.logged.entries)


class Prepared:
    """A source whose messages need a preparing call before the one that delivers."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.spec = source.spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def encode(self, message: Message, target: Target, now_ms: int) -> Sequence[Call] | Failed:
        calls = self._source.encode(message, target, now_ms)
        return calls if isinstance(calls, Failed) else [*calls, *calls]


class SlowAtFirst:
    """Answers the first call after `delay_s`, without the provider."""

    def __init__(self, provider: ScriptedProvider, delay_s: float) -> None:
        self._provider = provider
        self._delay_s = delay_s
        self.calls = 0

    async def __call__(self, method: str, url: str, **options: Any) -> Response:
        self.calls += 1
        if self.calls % 2:
            await anyio.sleep(self._delay_s if self.calls == 1 else 0.0)
            return Response(200, {}, b"{}")
        return await self._provider(method, url, **options)


async def test_a_message_whose_preparation_took_too_long_is_not_delivered_by_that_attempt() -> None:
    """Otherwise the attempt could deliver after another worker has settled it."""
    harness = scripted("telegram", "telegram")
    slow = SlowAtFirst(harness.provider, 12.0)
    source = Prepared(harness.source)
    async with harness.open(connector=lambda: connector(harness, source=source, http=slow)):
        message = await sent(harness)

        assert message.attempt == 2
        assert slow.calls == 3
        assert len(harness.provider.delivered) == 1


async def test_messages_to_one_contact_keep_the_rate_that_the_kind_declares() -> None:
    harness = scripted("telegram", "telegram")
    async with harness.open(connector=lambda: connector(harness)):
        await sent(harness, "one")
        await harness.append(*(harness.queued(text) for text in ("two", "three")))
        await anyio.sleep(10)

        times = [attempt.at_ms for attempt in harness.provider.delivered]
        assert len(times) == 3
        assert min(later - earlier for earlier, later in pairwise(times)) >= 1_000


class Profiles:
    """A source whose profile look-ups fail with a delay at first."""

    def __init__(self, source: Any, *delays_s: float | None) -> None:
        self._source = source
        self._delays_s = list(delays_s)
        self.spec = source.spec
        self.asked_at: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def profile(self, _client: HttpClient, _target: Target) -> Profile:
        self.asked_at.append(anyio.current_time())
        if self._delays_s:
            raise Unavailable("too many requests", retry_after_s=self._delays_s.pop(0))
        return Profile(found=True, display_name="Ines Kuhn")


async def test_a_profile_look_up_is_repeated_when_the_provider_allows_it() -> None:
    harness = scripted("facebook", "facebook")
    source = Profiles(harness.source, 90.0, None)
    async with harness.open(connector=lambda: connector(harness, source=source)):
        await harness.connect()
        await harness.receive("hello")
        await anyio.sleep(300)

        first, second, third = source.asked_at
        assert second - first >= 90.0
        assert 1.0 <= third - second <= 10.0


class Nameless:
    """A source that takes names for what no fact can hold."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.spec = source.spec
        self.asked_at: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def profile(self, _client: HttpClient, _target: Target) -> Profile:
        self.asked_at.append(anyio.current_time())
        return Profile(found=True, display_name="\ud800")


async def test_a_bug_in_a_look_up_is_repeated_with_back_off_and_delays_no_message() -> None:
    harness = scripted("facebook", "facebook")
    source, bugs = Nameless(harness.source), Counter[BugKind]()
    async with harness.open(connector=lambda: connector(harness, source=source, bugs=bugs)):
        message = await sent(harness)
        await anyio.sleep(120)

        assert message.delivery in DONE
        waits = [later - earlier for earlier, later in pairwise(source.asked_at)]
        assert len(waits) >= 4
        assert all(later > earlier for earlier, later in pairwise(waits))
        assert bugs == {"profile": len(source.asked_at)}


async def test_a_paused_channel_pauses_its_profile_look_ups() -> None:
    harness = scripted("facebook", "facebook", Act.TOKEN_REFUSED)
    source = Profiles(harness.source)
    async with harness.open(connector=lambda: connector(harness, source=source)):
        await harness.connect()
        await sent(harness)
        before = len(source.asked_at)
        await harness.append(Chat(7, source_channel_id=harness.channel.source_channel_id).received("another contact"))
        await anyio.sleep(30)
        during = len(source.asked_at)
        await anyio.sleep(60)

        assert (before, during) == (1, 1)
        assert len(source.asked_at) == 2


async def test_the_store_is_asked_for_work_only_when_the_fold_touched_it() -> None:
    harness = scripted("facebook", "facebook")
    async with harness.open(connector=lambda: connector(harness)):
        await sent(harness)
        await anyio.sleep(60)
        asked: list[WorkKey] = []
        work = harness.store.work

        async def counting(kind: Any, source: str, **bounds: Any) -> Any:
            asked.append(WorkKey(kind, source))
            return await work(kind, source, **bounds)

        harness.store.work = counting  # type: ignore[method-assign]
        for number in range(50):
            await harness.receive(f"message {number}")
        await anyio.sleep(60)
        idle = len(asked)
        fact = harness.queued("an answer")
        await harness.append(fact)
        await harness.until(fact.message_id, lambda message: message.delivery in DONE)

        assert idle == 0
        assert WorkKey("send", "facebook") in asked


async def test_no_task_waits_for_work() -> None:
    harness = scripted("facebook", "facebook")
    async with harness.open(connector=lambda: connector(harness)):
        await sent(harness)
        await anyio.sleep(60)
        names = [task.name or "" for task in anyio.get_running_tasks()]

        assert [name for name in names if "run_work" in name] == []
        assert len([name for name in names if "keep_membership" in name]) == 1


async def test_a_token_that_is_not_issued_now_delays_a_message_and_delivers_it_once() -> None:
    harness = scripted("google", "google", Act.BUSY, Act.UNREACHABLE)
    harness.provider.scripts_tokens = True
    async with harness.open(connector=lambda: connector(harness)):
        message = await sent(harness)

        assert (message.delivery in DONE, message.attempt) == (True, 1)
        assert len(harness.provider.delivered) == 1


async def test_a_token_that_is_refused_fails_the_message_and_stops_the_channel() -> None:
    harness = scripted("google", "google", Act.TOKEN_REFUSED)
    harness.provider.scripts_tokens = True
    async with harness.open(connector=lambda: connector(harness)):
        message = await sent(harness)

        assert message.delivery is DeliveryState.FAILED
        assert bytes(message.metadata["source.error_kind"]) == b'"auth"'
        assert [line for line in harness.logged.entries if line["event"] == "channel.credentials_refused"]
        assert harness.provider.attempts == []
