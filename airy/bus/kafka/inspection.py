"""Looks at a Kafka cluster without changing it: for `airy doctor`.

The client reports every failure to connect as one error. So each address is connected to here, step by step: the name,
the socket, TLS, the user.
"""

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Literal

import anyio
from aiokafka import errors
from aiokafka.conn import create_conn
from aiokafka.protocol.metadata import MetadataRequest
from msgspec import Struct
from msgspec.structs import replace

from airy.bus.kafka.admin import TopicStanding, open_admin
from airy.bus.kafka.client import connection_options
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.provision import DesiredTopic, TopicPlan, plan_topics
from airy.errors import Refused, Unavailable

CONNECT_S = 3.0
PORT = 9092

BrokerFailure = Literal[
    "",
    "files",
    "host",
    "refused",
    "timeout",
    "tls_expected",
    "tls_unexpected",
    "certificate",
    "client_certificate",
    "mechanism",
    "password",
    "closed",
]


class BrokerFacts(Struct, frozen=True):
    """One address of `bus.kafka.bootstrap`."""

    address: str
    failure: BrokerFailure = ""
    detail: str = ""


class KafkaFacts(Struct, frozen=True, kw_only=True):
    """`failure`: why nothing is known beyond the addresses. `plan`: for the topics that this user may describe."""

    bootstrap: tuple[BrokerFacts, ...]
    failure: str = ""
    brokers: int = 0
    standings: Mapping[str, TopicStanding] = {}
    components: Mapping[str, frozenset[str]] = {}  # the topics each uses
    plan: TopicPlan | None = None
    plan_denied: str = ""
    min_in_sync: int = 1
    tls: bool = False
    sasl: str = "off"


async def inspect_kafka(settings: KafkaSettings, desired: Sequence[DesiredTopic], *, min_in_sync: int) -> KafkaFacts:
    """Never raises for what the cluster or the network does."""
    brokers: dict[str, BrokerFacts] = {}

    async def look(address: str) -> None:
        brokers[address] = await _inspect_broker(settings, address)

    async with anyio.create_task_group() as tasks:
        for address in settings.bootstrap:
            tasks.start_soon(look, address)
    facts = KafkaFacts(
        bootstrap=tuple(brokers[address] for address in settings.bootstrap),
        min_in_sync=min_in_sync,
        tls=settings.tls,
        sasl=settings.sasl,
    )
    if all(broker.failure for broker in facts.bootstrap):
        return facts
    try:
        return await _inspect_cluster(settings, desired, facts)
    except (Unavailable, Refused) as error:
        return replace(facts, failure=str(error))


async def _inspect_cluster(settings: KafkaSettings, desired: Sequence[DesiredTopic], facts: KafkaFacts) -> KafkaFacts:
    names = [topic.name for topic in desired]
    async with open_admin(settings) as admin:
        standings = await admin.standings(names)
        plan, denied = None, ""
        denied_names = {name for name, standing in standings.items() if standing.denied}
        visible = [topic for topic in desired if topic.name not in denied_names]
        if visible:
            try:
                keys = {key for topic in visible for key in topic.config}
                plan = plan_topics(visible, await admin.describe_topics([topic.name for topic in visible], keys), ())
            except (Unavailable, Refused) as error:
                denied = str(error)
        return replace(facts, brokers=admin.broker_count, standings=standings, plan=plan, plan_denied=denied)


async def _inspect_broker(settings: KafkaSettings, address: str) -> BrokerFacts:
    host, _, port = address.rpartition(":")
    host, number = (host, int(port)) if host and port.isdigit() else (address, PORT)
    try:
        options = connection_options(settings)
    except (OSError, ValueError) as error:
        return BrokerFacts(address, "files", str(error))
    plain = await _connect(host, number)
    if plain is not None:
        return BrokerFacts(address, *plain)
    for name in ("bootstrap_servers", "metadata_max_age_ms"):
        options.pop(name)
    options["request_timeout_ms"] = round(CONNECT_S * 1000)
    try:
        connection = await create_conn(host, number, **options)
    except Exception as error:  # noqa: BLE001 - the client raises many kinds; each becomes a cause
        failure = failure_of(error)
        if failure == "closed":
            failure = _closed(settings, speaks_tls=await _speaks_tls(host, number))
        return BrokerFacts(address, failure, str(error) or type(error).__name__)
    try:
        with anyio.fail_after(CONNECT_S):
            await connection.send(MetadataRequest([]))
    except (errors.KafkaError, OSError, TimeoutError) as error:
        return BrokerFacts(address, "closed", str(error) or type(error).__name__)  # SASL is asked for after a request
    finally:
        connection.close()
    return BrokerFacts(address)


def _closed(settings: KafkaSettings, *, speaks_tls: bool) -> BrokerFailure:
    """Why a broker closes the connection before it answers. Pure."""
    if speaks_tls != settings.tls:
        return "tls_expected" if speaks_tls else "tls_unexpected"
    return "client_certificate" if settings.tls and not settings.cert_file else "closed"


async def _connect(host: str, port: int) -> tuple[BrokerFailure, str] | None:
    """Why no socket can be connected; None if one can."""
    try:
        with anyio.fail_after(CONNECT_S):
            stream = await anyio.connect_tcp(host, port)
    except socket.gaierror as error:
        return "host", error.strerror or str(error)
    except TimeoutError:
        return "timeout", f"no connection within {CONNECT_S:g} s"
    except OSError as error:
        return _socket_failure(error)
    await stream.aclose()
    return None


def _socket_failure(error: OSError) -> tuple[BrokerFailure, str]:
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, socket.gaierror):
            return "host", each.strerror or str(each)
        if isinstance(each, ConnectionRefusedError):
            return "refused", "connection refused"
        each = each.__cause__ or each.__context__
    return "refused", error.strerror or str(error)


async def _speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake at this port gets anywhere."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with anyio.fail_after(CONNECT_S):
            stream = await anyio.connect_tcp(host, port, tls=True, ssl_context=context, tls_standard_compatible=False)
    except ssl.SSLError as error:
        return error.reason is not None and "WRONG_VERSION" not in error.reason and "EOF" not in error.reason
    except (OSError, TimeoutError, anyio.BrokenResourceError, anyio.EndOfStream):
        return False
    await anyio.aclose_forcefully(stream)
    return True


FAILURES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], BrokerFailure], ...] = (
    (ssl.SSLCertVerificationError, "certificate"),
    (errors.UnsupportedSaslMechanismError, "mechanism"),
    ((errors.SaslAuthenticationFailed, errors.AuthenticationFailedError), "password"),
)


def failure_of(error: BaseException) -> BrokerFailure:
    """The kind of a failure after the socket was connected. Pure."""
    for kind, name in FAILURES:
        if isinstance(error, kind):
            return name
    if isinstance(error, ssl.SSLError) and "CERTIFICATE" in str(error).upper():
        return "client_certificate"
    return "tls_unexpected" if isinstance(error, ssl.SSLError) else "closed"
