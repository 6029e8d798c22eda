"""Redis with TLS, client certificates and ACLs: the minimal user suffices, every permission of it is needed, and errors
say what to do without showing a secret.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from airy.errors import Refused, Unavailable
from airy.process import TEMPORARY_FAILURE
from airy.queue.redis import RedisQueue, RedisSettings, permissions
from airy.queue.redis import shard_registry as shards
from airy.queue.redis.connection import RedisCommand, command
from airy.queue.redis.errors import DENIED, AccessDenied
from airy.queue.redis.keys import KeyNames
from airy.secret import Secret
from tests.kit.contracts.queue import HERE, QueueContract, attempt, claim, entry, put
from tests.kit.queue_model import Rig
from tests.kit.queue_redis import PATIENCE_S, opened, patient_queue
from tests.kit.servers.certificates import Authority
from tests.kit.servers.fixtures import needed
from tests.kit.servers.redis import RedisServer, Tls

PASSWORD = "p@ss:w/rd-of-Airy"
IN_URL = "p%40ss%3Aw%2Frd-of-Airy"
OTHER_PASSWORD = "quite-another-one"

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


def least(*, cluster: bool) -> list[str]:
    return [f">{PASSWORD}", *permissions.rules(KeyNames(""), cluster=cluster)]


class Guarded:
    """Servers with access control, and how the minimal user reaches them."""

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
        self.server = RedisSettings(
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
    """Restores the user after each test."""
    yield
    for name in {"one", "three"} & set(request.fixturenames):
        guarded: Guarded = request.getfixturevalue(name)
        guarded.set_user("reset", "on", *least(cluster=guarded.cluster))


# --- the minimal user suffices


class TestLeastUser(QueueContract):
    @pytest.fixture(autouse=True)
    def _on(self, one: Guarded) -> None:
        self.guarded = one

    def opened(self, *, jobs_max: int = 1_000) -> AbstractAsyncContextManager[Rig]:
        return self.guarded.opened(jobs_max=jobs_max)


async def test_the_minimal_user_has_no_access_to_other_keys_and_channels(one: Guarded) -> None:
    async with one.opened() as rig:
        for call in (
            command("GET", "other:key"),
            command("GET", "{airyfoo}:x"),
            command("GET", "airy:x"),
            command("PUBLISH", "other:arrivals", ""),
            command("CONFIG", "GET", "save"),
            command("KEYS", "*"),
        ):
            with pytest.raises(AccessDenied, match="airy queue acl"):
                await rig.queue._connection.execute_one(call)  # type: ignore[attr-defined]


# --- every permission is needed


async def listener_works(queue: RedisQueue) -> None:
    """Whether the listener receives its own message; raises if it is denied, which Redis may report late."""
    with anyio.fail_after(PATIENCE_S):
        while not await queue._arrivals._receive(0.05):
            await queue._connection.execute_one(RedisCommand(("PUBLISH", queue._names.arrivals, "")))


async def everything(queue: RedisQueue) -> None:
    """Every command that a publisher and a dispatcher run."""
    await queue.open()
    try:
        await queue.last(HERE)
        await put(queue, *(entry(number, "a", "b") for number in range(3)), entry(3), entry(4))
        await queue.next_due_ms()
        for now_ms in range(0, 60, 10):
            for job in await claim(queue, now_ms):
                match job.attempt, job.webhook_id:
                    case 1, _:
                        await queue.retry(job, now_ms=now_ms, due_ms=now_ms + 1, reason="no")
                    case 2, "a":
                        await queue.dead_letter(job, now_ms=now_ms)
                        await queue.replay(HERE, replace(job.entry, webhook_ids=("a",)), now_ms=now_ms)
                    case _:
                        await queue.complete(job)
            await queue.low_water(HERE)
        await queue.failure_streak("a")
        await queue.stats()
        await queue.backlogs(["a", "b"], now_ms=0)
        await queue.keep_attempts([attempt("a", 0)])
        await queue.attempts(["a"], attempts_max=1)
        await queue.forget_attempts("a")
        await put(queue, *(entry(number, "a", lane="x") for number in range(5, 9)), after=(4, 0))
        await queue.drop_webhook("a")
        await put(queue, entry(9, "a"), after=(8, 0))
        await queue._registry.repair_heads()
        await listener_works(queue)
    finally:
        await queue.close()


@asynccontextmanager
async def without(guarded: Guarded, name: str) -> AsyncIterator[RedisQueue]:
    """A queue on empty servers whose user lacks one command, opened without the check of permissions."""
    for node in range(guarded.redis.nodes):
        for words in (("FLUSHALL",), ("SCRIPT", "FLUSH")):
            assert guarded.redis.ask(*words, node=node) == "+OK"
    guarded.set_user("reset", "on", *least(cluster=guarded.cluster), f"-{name.lower()}")
    yield patient_queue(guarded.server)


@pytest.mark.parametrize("name", [None, *permissions.commands(cluster=False)])
async def test_every_command_of_the_minimal_user_is_needed(
    one: Guarded, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    async def granted(_: RedisQueue) -> None: ...

    async with without(one, name or "keys") as queue:
        if name is None:
            await everything(queue)
            return
        with pytest.raises(Refused, match=name.replace("|", ".").lower() if name in _EARLY else name.replace("|", ".")):
            await everything(queue)
        monkeypatch.setattr(RedisQueue, "_check_permissions", granted)
        with pytest.raises((AccessDenied, Refused, *DENIED)):
            await everything(queue)


_EARLY = {"EVALSHA", "SCRIPT|LOAD"}  # without these the other permissions cannot be checked


@pytest.mark.parametrize("name", [None, "CLUSTER|SLOTS", "COMMAND", "XADD"])
async def test_the_minimal_user_suffices_on_a_cluster(three: Guarded, name: str | None) -> None:
    async with without(three, name or "keys") as queue:
        if name is None:
            await everything(queue)
            return
        with pytest.raises((Refused, Unavailable)):
            await everything(queue)


async def test_the_client_runs_no_command_whose_denial_is_ignored(one: Guarded) -> None:
    """The client would send its name, for example: an operator who watches for denials would see one at each
    connect.
    """
    async with without(one, "keys") as queue:
        assert one.redis.ask("CONFIG", "RESETSTAT") == "+OK"
        await queue.open()
        await listener_works(queue)
        await queue.close()
        assert "errorstat_" not in one.redis.ask("INFO", "errorstats")


# --- error messages


def error_text(error: BaseException) -> str:
    """Lower case, and without the password in any spelling."""
    text = str(error)
    assert text[0].islower()
    assert not any(secret in text for secret in (PASSWORD, IN_URL, OTHER_PASSWORD))
    return text


def at(guarded: Guarded, url: str) -> RedisQueue:
    return patient_queue(replace(guarded.server, url=Secret(url)))


@pytest.mark.parametrize("who", [f"airy:{OTHER_PASSWORD}", f"unknown:{IN_URL}"])
async def test_refused_credentials_are_reported_at_the_start(one: Guarded, who: str) -> None:
    with pytest.raises(Refused) as refused:
        await at(one, one.redis.url_of(who)).open()
    assert "user or the password of queue.redis.url" in error_text(refused.value)


async def test_a_namespace_without_access_is_reported_at_the_start(one: Guarded) -> None:
    with pytest.raises(Refused, match=r"denies our user DEL, .*airy queue acl"):
        await patient_queue(one.server, namespace="elsewhere").open()


async def test_actors_wait_while_redis_denies_access_and_continue_afterwards(
    one: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "REFRESH_S", 0.0)
    async with one.opened() as rig:
        await put(rig.queue, entry(0, "a"))
        one.set_user("-evalsha", "-subscribe")
        with pytest.raises(Unavailable) as lacking:
            await rig.queue.low_water(HERE)
        assert "airy queue acl" in error_text(lacking.value)
        with anyio.fail_after(PATIENCE_S):
            await rig.queue.wait_for_arrival(0.3)  # type: ignore[attr-defined]  # a hint only
        one.set_user("+evalsha", "+subscribe", "resetpass", f">{OTHER_PASSWORD}")
        assert one.redis.ask("CLIENT", "KILL", "USER", "airy").startswith(":")
        for _ in range(2):  # on a closed connection, then on a new one
            with pytest.raises(Unavailable) as locked_out:
                await rig.queue.last(HERE)
        assert "user or the password of queue.redis.url" in error_text(locked_out.value)
        await rig.queue.wait_for_arrival(0.01)  # type: ignore[attr-defined]
        one.set_user(f">{PASSWORD}")
        assert await rig.queue.last(HERE) == (0, 0)
        assert len(await claim(rig.queue)) == 1


async def test_the_password_is_not_sent_to_a_server_with_an_untrusted_certificate(one: Guarded, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    with pytest.raises(Unavailable, match=r"queue\.redis\.caFile") as untrusted:
        await patient_queue(replace(one.server, ca_file=str(stranger.ca_file))).open()
    error_text(untrusted.value)


async def test_a_client_without_a_certificate_is_unavailable(one: Guarded) -> None:
    with pytest.raises(Unavailable) as unknown:
        await patient_queue(replace(one.server, cert_file=None, key_file=None)).open()
    assert "certFile" in error_text(unknown.value)


@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
async def test_missing_certificate_files_are_refused(one: Guarded, name: str) -> None:
    with pytest.raises(Refused, match=r"queue\.redis.*/nowhere\.pem"):
        await patient_queue(replace(one.server, **{name: "/nowhere.pem"})).open()


@pytest.mark.parametrize(
    ("who", "rule", "word"),
    [
        (f"airy:{OTHER_PASSWORD}", "+get", "password of queue.redis.url"),
        (f"airy:{IN_URL}", "-xadd", "denies our user XADD"),
    ],
)
async def test_a_refused_start_exits_with_78_and_prints_no_secret(
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
        while (ended := await anyio.run_process(airy, check=False)).returncode == TEMPORARY_FAILURE:
            pass  # the machine paused for longer than the reply time-out
    said = (ended.stdout + ended.stderr).decode()
    assert ended.returncode == 78
    assert word in said
    assert not any(secret in said for secret in (PASSWORD, IN_URL, OTHER_PASSWORD))
