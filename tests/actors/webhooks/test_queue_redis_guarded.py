"""A Redis with TLS, client certificates and access lists: the least user suffices, nothing of it is too much, and
whoever is refused is told what to do, without a secret in it.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from airy.actors.webhooks.queue_redis import RedisQueue, Server, permissions, shards
from airy.actors.webhooks.queue_redis.keys import Names
from airy.actors.webhooks.queue_redis.wire import DENIED, Call, Denied, command
from airy.errors import Refused, Unavailable
from airy.process import LATER
from airy.secret import Secret
from tests.kit.contracts.queue import HERE, QueueContract, claim, entry, put
from tests.kit.queue_model import Rig
from tests.kit.queue_redis import PATIENCE_S, opened, patient
from tests.kit.servers.certificates import Authority
from tests.kit.servers.fixtures import needed
from tests.kit.servers.redis import RedisServer, Tls

PASSWORD = "p@ss:w/rd-of-Airy"
IN_URL = "p%40ss%3Aw%2Frd-of-Airy"
OTHER_PASSWORD = "quite-another-one"

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


def least(*, cluster: bool) -> list[str]:
    return [f">{PASSWORD}", *permissions.rules(Names(""), cluster=cluster)]


class Guarded:
    """Servers, and how our user reaches them."""

    def __init__(self, folder: Path, exits: ExitStack, *, nodes: int = 0) -> None:
        self.authority = Authority(folder / "authority")
        self.certificate = self.authority.issue("airy")
        self.cluster = nodes > 0
        with needed():
            self.redis = exits.enter_context(
                RedisServer(
                    folder / "redis",
                    cluster_nodes=nodes,
                    tls=Tls(self.authority, clients=True),
                    users={"airy": " ".join(least(cluster=self.cluster))},
                )
            )
        certificate, key = map(str, self.certificate)
        self.server = Server(
            url=Secret(self.redis.url_of(f"airy:{IN_URL}")),
            cluster=self.cluster,
            ca_file=str(self.authority.ca_file),
            cert_file=certificate,
            key_file=key,
        )

    def set_user(self, *rules: str) -> None:
        for node in range(self.redis.nodes):
            assert self.redis.ask("ACL", "SETUSER", "airy", *rules, node=node) == "+OK"

    def opened(self, *, jobs_max: int = 1_000) -> AbstractAsyncContextManager[Rig]:
        return opened(self.redis, url=self.server, jobs_max=jobs_max)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with ExitStack() as exits:
        yield Guarded(tmp_path_factory.mktemp("guarded"), exits)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with ExitStack() as exits:
        yield Guarded(tmp_path_factory.mktemp("guarded"), exits, nodes=3)


@pytest.fixture(autouse=True)
def as_given(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test does to the user is over with it."""
    yield
    for name in {"one", "three"} & set(request.fixturenames):
        guarded: Guarded = request.getfixturevalue(name)
        guarded.set_user("reset", "on", *least(cluster=guarded.cluster))


# --- the least user suffices


class TestLeastUser(QueueContract):
    @pytest.fixture(autouse=True)
    def _on(self, one: Guarded) -> None:
        self.guarded = one

    def opened(self, *, jobs_max: int = 1_000) -> AbstractAsyncContextManager[Rig]:
        return self.guarded.opened(jobs_max=jobs_max)


async def test_the_least_user_reaches_no_key_and_no_channel_of_others(one: Guarded) -> None:
    async with one.opened() as rig:
        for call in (
            command("GET", "other:key"),
            command("GET", "{airyfoo}:x"),
            command("GET", "airy:x"),
            command("PUBLISH", "other:arrivals", ""),
            command("CONFIG", "GET", "save"),
            command("KEYS", "*"),
        ):
            with pytest.raises(Denied, match="airy queue acl"):
                await rig.queue._wire.one(call)  # type: ignore[attr-defined]


# --- and nothing of it is too much


async def heard(queue: RedisQueue) -> None:
    """It hears what it says, or is told why not: what it asks for when it begins to listen is answered late."""
    with anyio.fail_after(PATIENCE_S):
        while not await queue._ear._message(0.05):
            await queue._wire.one(Call(("PUBLISH", queue._names.arrivals, "")))


async def everything(queue: RedisQueue) -> None:
    """Whatever a publisher and a dispatcher ask for."""
    await queue.open()
    try:
        await queue.last(HERE)
        await put(queue, *(entry(number, "a", "b") for number in range(3)), entry(3), entry(4))
        await queue.next_due_ms()
        for now_ms in range(0, 60, 10):
            for job in await claim(queue, now_ms):
                match job.attempt, job.webhook_id:
                    case 1, _:
                        await queue.retry(job, due_ms=now_ms + 1, reason="no")
                    case 2, "a":
                        await queue.bury(job, now_ms=now_ms)
                        await queue.replay(HERE, replace(job.entry, webhook_ids=("a",)), now_ms=now_ms)
                    case _:
                        await queue.done(job)
            await queue.low_water(HERE)
        await queue.failing("a")
        await queue.stats()
        await put(queue, *(entry(number, "a", lane="x") for number in range(5, 9)), after=(4, 0))
        await queue.drop_webhook("a")
        await put(queue, entry(9, "a"), after=(8, 0))
        await queue._shards.mend()
        await heard(queue)
    finally:
        await queue.close()


@asynccontextmanager
async def without(guarded: Guarded, name: str) -> AsyncIterator[RedisQueue]:
    """A queue on empty servers whose user lacks one command, and which did not look whether it does."""
    for node in range(guarded.redis.nodes):
        for words in (("FLUSHALL",), ("SCRIPT", "FLUSH")):
            assert guarded.redis.ask(*words, node=node) == "+OK"
    guarded.set_user("reset", "on", *least(cluster=guarded.cluster), f"-{name.lower()}")
    yield patient(guarded.server)


@pytest.mark.parametrize("name", [None, *permissions.commands(cluster=False)])
async def test_one_command_less_fails(one: Guarded, monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    async def granted(_: RedisQueue) -> None: ...

    async with without(one, name or "keys") as queue:
        if name is None:
            await everything(queue)
            return
        with pytest.raises(Refused, match=name.replace("|", ".").lower() if name in _EARLY else name.replace("|", ".")):
            await everything(queue)
        monkeypatch.setattr(RedisQueue, "_may", granted)
        with pytest.raises((Denied, Refused, *DENIED)):
            await everything(queue)


_EARLY = {"EVALSHA", "SCRIPT|LOAD"}  # without these it cannot even be asked for the others


@pytest.mark.parametrize("name", [None, "CLUSTER|SLOTS", "COMMAND", "XADD"])
async def test_the_same_on_a_cluster(three: Guarded, name: str | None) -> None:
    async with without(three, name or "keys") as queue:
        if name is None:
            await everything(queue)
            return
        with pytest.raises((Refused, Unavailable)):
            await everything(queue)


async def test_nothing_is_tried_whose_refusal_is_ignored(one: Guarded) -> None:
    """Such as the client's name, which it would tell: whoever watches for refusals would see that at each connect."""
    async with without(one, "keys") as queue:
        assert one.redis.ask("CONFIG", "RESETSTAT") == "+OK"
        await queue.open()
        await heard(queue)
        await queue.close()
        assert "errorstat_" not in one.redis.ask("INFO", "errorstats")


# --- what is said


def told(error: BaseException) -> str:
    """Lower case, and without the password however it is spelt."""
    text = str(error)
    assert text[0].islower()
    assert not any(secret in text for secret in (PASSWORD, IN_URL, OTHER_PASSWORD))
    return text


def at(guarded: Guarded, url: str) -> RedisQueue:
    return patient(replace(guarded.server, url=Secret(url)))


@pytest.mark.parametrize("who", [f"airy:{OTHER_PASSWORD}", f"nobody:{IN_URL}"])
async def test_a_login_that_is_refused_is_said_at_the_start(one: Guarded, who: str) -> None:
    with pytest.raises(Refused) as refused:
        await at(one, one.redis.url_of(who)).open()
    assert "user or the password of queue.redis.url" in told(refused.value)


async def test_a_namespace_the_user_has_no_keys_in_is_said_at_the_start(one: Guarded) -> None:
    with pytest.raises(Refused, match=r"not run DEL, .*airy queue acl"):
        await patient(one.server, namespace="elsewhere").open()


async def test_whoever_is_locked_out_at_work_waits_and_goes_on(one: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LOOK_S", 0.0)
    async with one.opened() as rig:
        await put(rig.queue, entry(0, "a"))
        one.set_user("-evalsha", "-subscribe")
        with pytest.raises(Unavailable) as lacking:
            await rig.queue.low_water(HERE)
        assert "airy queue acl" in told(lacking.value)
        with anyio.fail_after(PATIENCE_S):
            await rig.queue.arrived(0.3)  # type: ignore[attr-defined]  # nobody relies on it
        one.set_user("+evalsha", "+subscribe", "resetpass", f">{OTHER_PASSWORD}")
        assert one.redis.ask("CLIENT", "KILL", "USER", "airy").startswith(":")
        for _ in range(2):  # of a connection that was cut, then of a new one
            with pytest.raises(Unavailable) as locked_out:
                await rig.queue.last(HERE)
        assert "user or the password of queue.redis.url" in told(locked_out.value)
        await rig.queue.arrived(0.01)  # type: ignore[attr-defined]
        one.set_user(f">{PASSWORD}")
        assert await rig.queue.last(HERE) == (0, 0)
        assert len(await claim(rig.queue)) == 1


async def test_a_server_that_is_not_whom_we_trust_is_not_told_the_password(one: Guarded, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    with pytest.raises(Unavailable, match=r"queue\.redis\.caFile") as untrusted:
        await patient(replace(one.server, ca_file=str(stranger.ca_file))).open()
    told(untrusted.value)


async def test_whoever_shows_no_certificate_is_not_let_in(one: Guarded) -> None:
    with pytest.raises(Unavailable) as unknown:
        await patient(replace(one.server, cert_file=None, key_file=None)).open()
    assert "certFile" in told(unknown.value)


@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
async def test_files_that_are_not_there_are_refused(one: Guarded, name: str) -> None:
    with pytest.raises(Refused, match=r"queue\.redis.*/nowhere\.pem"):
        await patient(replace(one.server, **{name: "/nowhere.pem"})).open()


@pytest.mark.parametrize(
    ("who", "rule", "word"),
    [(f"airy:{OTHER_PASSWORD}", "+get", "password of queue.redis.url"), (f"airy:{IN_URL}", "-xadd", "not run XADD")],
)
async def test_a_start_that_is_refused_exits_78_and_shows_no_secret(
    one: Guarded, tmp_path: Path, who: str, rule: str, word: str
) -> None:
    one.set_user(rule)
    certificate, key = one.certificate
    (tmp_path / "airy.yaml").write_text(
        "\n".join(
            [
                f"data: {{directory: {tmp_path}}}",
                "http: {port: 0}",
                "bus: {kind: memory}",
                "log: {level: debug}",
                "queue:",
                "  kind: redis",
                "  redis:",
                f"    caFile: {one.authority.ca_file}",
                f"    certFile: {certificate}",
                f"    keyFile: {key}",
                f"    url: {one.redis.url_of(who)}",
            ]
        )
    )
    airy = [sys.executable, "-m", "airy", "up", "--config", str(tmp_path / "airy.yaml")]
    with anyio.fail_after(120):
        while (ended := await anyio.run_process(airy, check=False)).returncode == LATER:
            pass  # the machine stood still for longer than it waits for an answer
    said = (ended.stdout + ended.stderr).decode()
    assert ended.returncode == 78
    assert word in said
    assert not any(secret in said for secret in (PASSWORD, IN_URL, OTHER_PASSWORD))
