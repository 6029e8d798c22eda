"""A test broker's settings as values: small, fast to start, fast to detect a lost node."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
PLAIN, SASL, TLS, SASL_TLS, CONTROLLER = "plain", "sasl", "tls", "sasl_tls", "controller"
PROTOCOLS = {
    PLAIN: "PLAINTEXT",
    SASL: "SASL_PLAINTEXT",
    TLS: "SSL",
    SASL_TLS: "SASL_SSL",
    CONTROLLER: "PLAINTEXT",
}
SMALL_JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k")
"""Quick to start; compiles no hot code to its best, so measure with `STEADY_JVM`."""
STEADY_JVM = ("-Xms512m", "-Xmx1g", "-XX:+UseSerialGC")
QUICK_COMPACTION = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
"""A topic's settings with which the cleaner comes within a second, once a later record has closed the segment."""

_USER = re.compile(r"[A-Za-z0-9_.-]+")
_BASE = {
    "process.roles": "broker,controller",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.num.partitions": "3",
    "share.coordinator.state.topic.num.partitions": "1",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.cleaner.io.buffer.size": "131072",
    "log.cleaner.backoff.ms": "250",
    "log.retention.check.interval.ms": "1000",
    "log.segment.delete.delay.ms": "1000",
    "log.index.size.max.bytes": "1048576",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "broker.heartbeat.interval.ms": "300",
}


@dataclass(frozen=True, kw_only=True)
class Node:
    """One broker that is its own controller's peer."""

    number: int
    ports: Mapping[str, int]  # by listener
    host: str = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Security:
    """Authentication. The plain listener stays open to the tests, with all rights."""

    users: Mapping[str, str] = field(default_factory=dict)  # name → password, with every mechanism
    tls_folder: Path | None = None  # with ca.pem and server.pem
    acl: bool = False
    super_user: str = "admin"

    @property
    def listeners(self) -> tuple[str, ...]:
        chosen = {PLAIN: True, SASL: self.users, TLS: self.tls_folder, SASL_TLS: self.users and self.tls_folder}
        return tuple(name for name, wanted in chosen.items() if wanted)


def settings(
    node: Node, nodes: list[Node], security: Security, folder: Path, session_s: float, changed: Mapping[str, str]
) -> dict[str, str]:
    """All settings of a node. `changed` overrides."""
    copies = min(3, len(nodes))
    own = {
        "node.id": str(node.number),
        "log.dirs": str(folder),
        "broker.session.timeout.ms": str(round(session_s * 1000)),
        "controller.listener.names": CONTROLLER.upper(),
        "controller.quorum.voters": ",".join(f"{each.number}@{each.host}:{each.ports[CONTROLLER]}" for each in nodes),
        "inter.broker.listener.name": PLAIN.upper(),
        "listeners": _addresses(node, (*security.listeners, CONTROLLER)),
        "advertised.listeners": _addresses(node, security.listeners),
        "listener.security.protocol.map": ",".join(
            f"{name.upper()}:{PROTOCOLS[name]}" for name in (*security.listeners, CONTROLLER)
        ),
    }
    return {**_BASE, **_copies(copies), **own, **_sasl(security), **_tls(security), **_acl(security), **changed}


def text(values: Mapping[str, str]) -> str:
    """As a properties file."""
    return "".join(f"{name}={value}\n".replace("\\", "\\\\") for name, value in values.items())


def scram(security: Security) -> list[str]:
    """The formatter's arguments that create the users."""
    return [
        argument
        for name, password in security.users.items()
        for mechanism in MECHANISMS
        if mechanism.startswith("SCRAM")
        for argument in ("--add-scram", f"{mechanism}=[name={name},password={password}]")
    ]


def _addresses(node: Node, listeners: tuple[str, ...]) -> str:
    return ",".join(f"{name.upper()}://{node.host}:{node.ports[name]}" for name in listeners)


def _copies(copies: int) -> dict[str, str]:
    in_sync = "2" if copies == 3 else "1"
    replicated = {
        f"{name}.replication.factor": str(copies)
        for name in ("default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    }
    minimum = ("min.insync.replicas", "transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr")
    return replicated | dict.fromkeys(minimum, in_sync)


def _sasl(security: Security) -> dict[str, str]:
    if not security.users:
        return {}
    for word in (*security.users, *security.users.values()):
        if not _USER.fullmatch(word):
            raise ValueError("users and passwords of a test broker are letters, digits, _ . and -")
    known = " ".join(f'user_{name}="{password}"' for name, password in security.users.items())
    modules = {
        "scram-sha-512": "scram.ScramLoginModule required;",
        "scram-sha-256": "scram.ScramLoginModule required;",
        "plain": f"plain.PlainLoginModule required {known};",
    }
    return {"sasl.enabled.mechanisms": ",".join(MECHANISMS)} | {
        f"listener.name.{listener}.{mechanism}.sasl.jaas.config": f"org.apache.kafka.common.security.{module}"
        for listener in (SASL, SASL_TLS)
        if listener in security.listeners
        for mechanism, module in modules.items()
    }


def _tls(security: Security) -> dict[str, str]:
    if security.tls_folder is None:
        return {}
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(security.tls_folder / "server.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(security.tls_folder / "ca.pem"),
        f"listener.name.{TLS}.ssl.client.auth": "required",
        f"listener.name.{SASL_TLS}.ssl.client.auth": "none",
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
    }


def _acl(security: Security) -> dict[str, str]:
    """Without ANONYMOUS a broker with a plain controller listener waits for itself for ever, without a message."""
    if not security.acl:
        return {}
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{security.super_user}",
    }
