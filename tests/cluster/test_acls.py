"""ACLs on a broker that enforces them; SCRAM, PLAIN and TLS, and their error messages."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from aiokafka.protocol.admin import DescribeAclsRequest
from msgspec.structs import replace

from airy import acls, process, topics
from airy.app.topic_admin import verify_topics
from airy.bus.kafka import KafkaBus, KafkaSettings
from airy.bus.kafka.admin import ACL_OPERATIONS, ACL_RESOURCES, open_admin
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
ANY = 1  # in an ACL filter
WAIT_S = 120.0  # bounds waits
USERS = {**{f"airy-{component}": PASSWORD for component in acls.ACTORS}, "admin": PASSWORD, STRANGER: PASSWORD}
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A broker that denies everything without an ACL, with the topics and ACLs of the commands."""
    folder = tmp_path_factory.mktemp("guarded")
    with needed(), KafkaCluster(folder / "kafka", users=USERS, tls=True, acl=True, session_s=60.0) as cluster:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(process, "configure_log", lambda _: None)  # it is global to the process
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
    """Wait until the broker applies the ACLs, a moment after their creation."""
    given = KafkaSettings(bootstrap=tuple(cluster.bootstrap), namespace=NAMESPACE)
    wanted = {
        (acl.principal, ACL_RESOURCES[acl.resource], acl.name, ACL_OPERATIONS[acl.operation])
        for component in acls.ACTORS
        for acl in acls.required_acls(component, wire_name=given.wire_name, principal=f"{acls.PRINCIPAL}{component}")
    }
    every = DescribeAclsRequest(ANY, None, ANY, None, None, ANY, ANY)
    async with open_admin(given) as admin:
        while True:
            answer = await admin._send(every, "reading the access lists")
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


# --- authorization


@pytest.mark.parametrize("component", acls.ACTORS)
def test_a_component_can_use_its_topics_and_groups_only(guarded: KafkaCluster, component: str) -> None:
    given = settings(guarded, f"airy-{component}")
    reads = [topic for topic in topics.ALL if acls.reads(component, topic)]
    writes = [topic for topic in topics.ALL if acls.writes(component, topic)]
    others = [group for group in acls.GROUPS.values() if group not in acls.groups(component)]

    async def test() -> None:
        await verify(given, acls.used([component]))
        for topic in set(topics.ALL) - {*reads, *writes}:
            with refused():
                await verify(given, [topic])
        async with running(KafkaBus(topics.ALL, given)) as bus:
            await bus.publish([topic.record("key", None) for topic in writes])
            ends = await bus.end_offsets(acls.used([component]))
            for topic in reads:
                async with bus.tail(dict.fromkeys(topic.topic_partitions, 0)) as tail:
                    assert topic not in writes or await tail.fetch(records_max=1, wait_s=WAIT_S)
            for group in acls.groups(component):
                async with bus.subscribe([topics.CHANNELS], group=group) as member:
                    while not member.assignment:
                        await member.fetch(records_max=0, wait_s=0.1)
                    await member.commit({tp: ends[tp] for tp in member.assignment})
                assert set(await bus.committed(group, [topics.CHANNELS])) == set(topics.CHANNELS.topic_partitions)
            for topic in writes:
                if topic not in reads:
                    with refused():
                        async with bus.tail(dict.fromkeys(topic.topic_partitions, 0)) as tail:
                            await tail.fetch(records_max=1, wait_s=WAIT_S)
            for group in others[:1]:
                with refused():
                    async with bus.subscribe([topics.CHANNELS], group=group) as member:
                        await member.fetch(records_max=0, wait_s=WAIT_S)

    run(test)


@pytest.mark.parametrize("component", acls.ACTORS)
def test_a_component_cannot_write_other_topics(guarded: KafkaCluster, component: str) -> None:
    elsewhere = next(topic for topic in topics.ALL if not acls.writes(component, topic))

    async def test() -> None:
        async with running(KafkaBus(topics.ALL, settings(guarded, f"airy-{component}"))) as bus:
            with refused():
                await bus.publish([elsewhere.record("key", None)])

    run(test)


def test_a_component_cannot_describe_topics_it_does_not_use(guarded: KafkaCluster) -> None:
    with refused():
        run(lambda: verify(settings(guarded, "airy-http"), topics.ALL))


def test_an_unknown_user_sees_no_topics(guarded: KafkaCluster) -> None:
    with refused():
        run(lambda: verify(settings(guarded, STRANGER), topics.FOLDED))


def test_a_component_cannot_create_topics_or_acls(
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


# --- authentication


@pytest.mark.parametrize("sasl", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("tls", [False, True])
def test_a_user_authenticates_with_a_password(guarded: KafkaCluster, sasl: Mechanism, tls: bool) -> None:
    assert guarded.authority is not None
    given = settings(guarded, "airy-http", sasl=sasl)
    if tls:
        where = tuple(guarded.listener("sasl_tls"))
        given = replace(given, bootstrap=where, tls=True, ca_file=str(guarded.authority.ca_file))

    run(lambda: verify(given, acls.used(["http"])))


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


def test_a_user_authenticates_with_a_certificate(guarded: KafkaCluster) -> None:
    run(lambda: verify(with_certificate(guarded, "airy-http"), acls.used(["http"])))
    with refused():
        run(lambda: verify(with_certificate(guarded, STRANGER), topics.FOLDED))


@pytest.mark.parametrize(
    "change",
    [
        lambda cluster: settings(cluster, "airy-http", password=Secret("wrong")),
        lambda cluster: settings(cluster, "unknown"),
        lambda cluster: settings(cluster, "airy-http", sasl="off"),
        lambda cluster: settings(cluster, "airy-http", bootstrap=tuple(cluster.listener("sasl_tls")), tls=True),
        lambda cluster: replace(with_certificate(cluster, "airy-http"), cert_file=None, key_file=None),
    ],
    ids=["wrong password", "unknown user", "no user", "unknown authority", "no certificate"],
)
def test_a_failed_authentication_says_what_to_check(
    guarded: KafkaCluster, change: Callable[[KafkaCluster], KafkaSettings]
) -> None:
    """The client only knows that authentication failed, so the message names all possible reasons."""
    given = change(guarded)

    with pytest.raises(Unavailable) as told:
        run(lambda: verify(given, acls.used(["http"])))

    for word in ("address", "TLS", "authority", "certificate", "user", "password"):
        assert word in str(told.value)
    assert PASSWORD not in str(told.value)
