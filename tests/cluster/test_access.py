"""Access lists against a broker that enforces them, and the ways in: SCRAM, PLAIN, TLS, and what is said there."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from aiokafka.protocol.admin import DescribeAclsRequest
from msgspec.structs import replace

from airy import access, process, topics
from airy.app.provision import verify_topics
from airy.bus.kafka import KafkaBus, KafkaSettings
from airy.bus.kafka.admin import ACL_OPERATIONS, ACL_RESOURCES, administration
from airy.bus.topic import Topic
from airy.cli import main
from airy.errors import Unavailable
from airy.secret import Secret
from tests.kit.bus import running
from tests.kit.servers.fixtures import needed
from tests.kit.servers.kafka import KafkaCluster

pytestmark = pytest.mark.cluster

NAMESPACE = "prod"
PASSWORD = "pass-word"
STRANGER = "stranger"
ANY = 1  # in a question about access lists
WAIT_S = 120.0  # for what has to come
USERS = {**{f"airy-{component}": PASSWORD for component in access.ACTORS}, "admin": PASSWORD, STRANGER: PASSWORD}
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A broker that lets nobody do what no list allows, with the topics and lists that the commands make."""
    folder = tmp_path_factory.mktemp("guarded")
    with needed(), KafkaCluster(folder / "kafka", users=USERS, tls=True, acl=True, session_s=60.0) as cluster:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(process, "configure_log", lambda _: None)  # it is the whole process's
            config = folder / "airy.yaml"
            config.write_text(
                f"bus: {{kind: kafka, kafka: {{bootstrap: ['{cluster.bootstrap[0]}'], namespace: {NAMESPACE}, "
                "replication: 1, minInSync: 1}}"
            )
            assert main(["topics", "apply", "--yes", "--config", str(config)]) == 0
            assert main(["topics", "acls", "--apply", "--config", str(config)]) == 0
        anyio.run(enforced, cluster)
        yield cluster


async def enforced(cluster: KafkaCluster) -> None:
    """Wait until the broker goes by the lists, which is a moment after they were added."""
    given = KafkaSettings(bootstrap=tuple(cluster.bootstrap), namespace=NAMESPACE)
    wanted = {
        (acl.principal, ACL_RESOURCES[acl.resource], acl.name, ACL_OPERATIONS[acl.operation])
        for component in access.ACTORS
        for acl in access.acls(component, named=given.named, principal=f"{access.PRINCIPAL}{component}")
    }
    every = DescribeAclsRequest(ANY, None, ANY, None, None, ANY, ANY)
    async with administration(given) as admin:
        while True:
            answer = await admin._ask(every, "reading the access lists")
            listed = {
                (acl["principal"], one["resource_type"], one["resource_name"], acl["operation"])
                for one in answer["resources"]
                for acl in one["acls"]
            }
            if wanted <= listed:
                return
            await anyio.sleep(0.02)  # the test's time-out is the bound


def settings(cluster: KafkaCluster, user: str, *, sasl: Mechanism = "SCRAM-SHA-512", **changed: Any) -> KafkaSettings:
    given = KafkaSettings(
        bootstrap=tuple(cluster.listener("sasl")),
        namespace=NAMESPACE,
        sasl=sasl,
        username=user,
        password=Secret(PASSWORD),
        request_s=60.0,
        call_s=120.0,
        publish_s=120.0,
    )
    return replace(given, **changed)


def run(test: Callable[[], Awaitable[None]]) -> None:
    anyio.run(test)


async def verify(given: KafkaSettings, wanted: Sequence[Topic[Any]]) -> None:
    await verify_topics(given, wanted, replication=1, min_in_sync=1)


def refused() -> Any:
    return pytest.raises(Unavailable, match=r"may not .*airy topics acls")


# --- what each component may do


@pytest.mark.parametrize("component", access.ACTORS)
def test_a_component_may_do_what_is_on_its_list_and_nothing_else(guarded: KafkaCluster, component: str) -> None:
    given = settings(guarded, f"airy-{component}")
    reads = [topic for topic in topics.ALL if access.reads(component, topic)]
    writes = [topic for topic in topics.ALL if access.writes(component, topic)]
    others = [group for group in access.GROUPS.values() if group not in access.groups(component)]

    async def test() -> None:
        await verify(given, access.used([component]))
        for topic in set(topics.ALL) - {*reads, *writes}:
            with refused():
                await verify(given, [topic])
        async with running(KafkaBus(topics.ALL, given)) as bus:
            await bus.publish([topic.emit("key", None) for topic in writes])
            ends = await bus.ends(access.used([component]))
            for topic in reads:
                async with bus.tail(dict.fromkeys(topic.where, 0)) as tail:
                    assert topic not in writes or await tail.fetch(records_max=1, wait_s=WAIT_S)
            for group in access.groups(component):
                async with bus.subscribe([topics.CHANNELS], group=group) as member:
                    while not member.assignment:
                        await member.fetch(records_max=0, wait_s=0.1)
                    await member.commit({where: ends[where] for where in member.assignment})
                assert set(await bus.committed(group, [topics.CHANNELS])) == set(topics.CHANNELS.where)
            for topic in writes:
                if topic not in reads:
                    with refused():
                        async with bus.tail(dict.fromkeys(topic.where, 0)) as tail:
                            await tail.fetch(records_max=1, wait_s=WAIT_S)
            for group in others[:1]:
                with refused():
                    async with bus.subscribe([topics.CHANNELS], group=group) as member:
                        await member.fetch(records_max=0, wait_s=WAIT_S)

    run(test)


@pytest.mark.parametrize("component", access.ACTORS)
def test_a_component_cannot_write_elsewhere(guarded: KafkaCluster, component: str) -> None:
    elsewhere = next(topic for topic in topics.ALL if not access.writes(component, topic))

    async def test() -> None:
        async with running(KafkaBus(topics.ALL, settings(guarded, f"airy-{component}"))) as bus:
            with refused():
                await bus.publish([elsewhere.emit("key", None)])

    run(test)


def test_a_component_cannot_even_look_at_topics_it_does_not_use(guarded: KafkaCluster) -> None:
    with refused():
        run(lambda: verify(settings(guarded, "airy-http"), topics.ALL))


def test_a_stranger_sees_nothing(guarded: KafkaCluster) -> None:
    with refused():
        run(lambda: verify(settings(guarded, STRANGER), topics.FOLDED))


def test_a_component_cannot_make_topics_or_lists(
    guarded: KafkaCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "configure_log", lambda _: None)
    config = tmp_path / "airy.yaml"
    config.write_text(
        f"bus: {{kind: kafka, kafka: {{bootstrap: ['{guarded.listener('sasl')[0]}'], namespace: {NAMESPACE}, "
        f"sasl: SCRAM-SHA-512, username: airy-http, password: {PASSWORD}, replication: 1, minInSync: 1}}}}"
    )

    assert main(["topics", "acls", "http", "--apply", "--config", str(config)]) == 78

    assert "needs Alter on the cluster" in capsys.readouterr().err


# --- the ways in


@pytest.mark.parametrize("sasl", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("tls", [False, True])
def test_a_user_comes_in_with_a_password(guarded: KafkaCluster, sasl: Mechanism, tls: bool) -> None:
    assert guarded.authority is not None
    given = settings(guarded, "airy-http", sasl=sasl)
    if tls:
        where = tuple(guarded.listener("sasl_tls"))
        given = replace(given, bootstrap=where, tls=True, ca_file=str(guarded.authority.ca_file))

    run(lambda: verify(given, access.used(["http"])))


def with_certificate(cluster: KafkaCluster, user: str) -> KafkaSettings:
    assert cluster.authority is not None
    certificate, key = cluster.authority.issue(user)
    return KafkaSettings(
        bootstrap=tuple(cluster.listener("tls")),
        namespace=NAMESPACE,
        tls=True,
        ca_file=str(cluster.authority.ca_file),
        cert_file=str(certificate),
        key_file=str(key),
        request_s=60.0,
        call_s=120.0,
    )


def test_a_user_comes_in_with_a_certificate(guarded: KafkaCluster) -> None:
    run(lambda: verify(with_certificate(guarded, "airy-http"), access.used(["http"])))
    with refused():
        run(lambda: verify(with_certificate(guarded, STRANGER), topics.FOLDED))


@pytest.mark.parametrize(
    "change",
    [
        lambda cluster: settings(cluster, "airy-http", password=Secret("wrong")),
        lambda cluster: settings(cluster, "nobody"),
        lambda cluster: settings(cluster, "airy-http", sasl="off"),
        lambda cluster: settings(cluster, "airy-http", bootstrap=tuple(cluster.listener("sasl_tls")), tls=True),
        lambda cluster: replace(with_certificate(cluster, "airy-http"), cert_file=None, key_file=None),
    ],
    ids=["wrong password", "unknown user", "no user", "unknown authority", "no certificate"],
)
def test_whoever_is_not_let_in_is_told_what_to_check(
    guarded: KafkaCluster, change: Callable[[KafkaCluster], KafkaSettings]
) -> None:
    """The client knows no more than that it was not let in: all the reasons are named."""
    given = change(guarded)

    with pytest.raises(Unavailable) as told:
        run(lambda: verify(given, access.used(["http"])))

    for word in ("address", "TLS", "authority", "certificate", "user", "password"):
        assert word in str(told.value)
    assert PASSWORD not in str(told.value)
