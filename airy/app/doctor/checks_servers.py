"""Checks of Redis and of Kafka. Pure."""

from airy.app.doctor.check import Findings, each, ok, problem, skipped, warning
from airy.app.doctor.checks_instance import names, skew
from airy.app.doctor.facts import SettingFacts
from airy.bus.kafka.inspection import BrokerFacts, KafkaFacts
from airy.bus.kafka.producer import missing_codec
from airy.queue.redis.inspection import RedisFacts
from airy.queue.redis.memory_guard import FULL_SHARE, WARN_SHARE, evicts

REDIS_MIN = 7
UNREACHABLE = frozenset({"host", "refused", "timeout"})


# --- Redis


UNREACHABLE_REDIS: dict[str, tuple[str, str]] = {  # cause and next step
    "host": ("the host name in {at} cannot be resolved", "correct queue.redis.url"),
    "refused": ("nothing listens at {at}", "start Redis (systemctl start redis), or correct queue.redis.url"),
    "timeout": ("{at} does not answer", "open the port in the firewall, or correct queue.redis.url"),
    "sentinels": (
        "no sentinel knows a master called {host}",
        "correct queue.redis.sentinels and the host of queue.redis.url: redis-cli -p 26379 sentinel masters",
    ),
    "standalone": ("{at} is a server of its own, and queue.redis.cluster is true", "set queue.redis.cluster: false"),
    "loading": (
        "{at} is loading its data",
        "wait until it has loaded; `redis-cli info persistence` shows how far it is",
    ),
}


def redis_reachable(facts: RedisFacts) -> Findings:
    if facts.failure not in UNREACHABLE_REDIS:
        return ok(facts.address)
    cause, step = UNREACHABLE_REDIS[facts.failure]
    return problem(cause.format(at=facts.address, host=facts.address.partition(":")[0]), step)


def redis_security(facts: RedisFacts) -> Findings:
    match facts.failure:
        case "password":
            return problem(
                f"{facts.address} refuses the user or the password of queue.redis.url (user {facts.user})",
                "correct queue.redis.url: redis://USER:PASSWORD@HOST:6379/0, with %40 for an @ in a password",
            )
        case "certificate":
            return problem(
                f"the certificate of {facts.address} is not trusted: {facts.detail}",
                "set queue.redis.caFile to the authority that issued it",
            )
        case "tls":
            return problem(
                f"{facts.address} does not speak TLS", "set queue.redis.url to redis:// in place of rediss://"
            )
        case "files":
            return problem(facts.detail, "correct queue.redis.caFile, certFile and keyFile")
        case "protocol":
            other = "redis:// in place of rediss://" if facts.tls else "rediss:// in place of redis://, if it wants TLS"
            return problem(f"{facts.address} does not answer as Redis: {facts.detail}", f"try {other}; check the port")
    return ok(f"user {facts.user}{', TLS' if facts.tls else ''}")


def redis_version(facts: RedisFacts) -> Findings:
    found = facts.version.partition(".")[0]
    if found.isdigit() and int(found) < REDIS_MIN:
        return problem(
            f"{facts.address} runs Redis {facts.version}; the queue's scripts need {REDIS_MIN} or later",
            f"upgrade Redis to {REDIS_MIN} or later",
        )
    return ok(facts.version or "unknown: INFO is denied")


def redis_role(facts: RedisFacts) -> Findings:
    if facts.role == "slave":
        return problem(
            f"{facts.address} is a read-only replica of {facts.master}",
            f"set queue.redis.url to {facts.master}, or name the sentinels in queue.redis.sentinels",
        )
    if facts.mode == "cluster" and not facts.cluster:
        return problem(
            f"{facts.address} is a node of a cluster, and queue.redis.cluster is false", "set queue.redis.cluster: true"
        )
    return ok("a master" if facts.role else "unknown: INFO is denied")


def redis_writes(facts: RedisFacts) -> Findings:
    if facts.writes_refused:
        return problem(
            f"{facts.address} refuses writes: {facts.writes_refused}", "free space on the disk of Redis; see its log"
        )
    return ok("accepted")


def redis_commands(facts: RedisFacts) -> Findings:
    if facts.denied:
        return problem(
            f"user {facts.user} may not use {names(facts.denied)}", "run what `airy queue acl` prints in redis-cli"
        )
    return ok("the user has every right that the queue needs")


def redis_eviction(facts: RedisFacts) -> Findings:
    memory = facts.memory
    if memory is None:
        return ok("unknown: INFO is denied")
    if evicts(memory):
        return problem(
            f"maxmemory-policy is {memory.policy}: Redis may evict deliveries",
            "redis-cli config set maxmemory-policy noeviction, and the same in redis.conf",
        )
    return ok(memory.policy)


def redis_memory(facts: RedisFacts) -> Findings:
    memory = facts.memory
    if memory is None:
        return ok("unknown: INFO is denied")
    step = "deliver some, or redis-cli config set maxmemory to more"
    if not memory.max_bytes:
        return warning(
            "maxmemory is not set: Redis grows until the system ends it", "redis-cli config set maxmemory 1gb"
        )
    if memory.share > FULL_SHARE:
        return problem(f"{memory.share:.0%} of maxmemory is used: the publisher waits", step)
    if memory.share > WARN_SHARE:
        return warning(f"{memory.share:.0%} of maxmemory is used", step)
    return ok(f"{memory.share:.0%} of maxmemory is used")


def redis_clock(facts: RedisFacts) -> Findings:
    return skew("Redis", facts.skew_ms)


# --- Kafka


def kafka_codec(facts: SettingFacts) -> Findings:
    compression = facts.config.bus.kafka.compression
    if facts.config.bus.kind != "kafka":
        return skipped(f"bus.kind is {facts.config.bus.kind}")
    if missing_codec(compression):
        return problem(f"bus.kafka.compression is {compression}, and cramjam is missing", "pip install cramjam")
    return ok(compression)


def kafka_reachable(facts: KafkaFacts) -> Findings:
    lost = [broker for broker in facts.bootstrap if broker.failure in UNREACHABLE]
    say = warning if len(lost) < len(facts.bootstrap) else problem
    return each((say(*_unreachable(broker)) for broker in lost), f"{len(facts.bootstrap)} addresses answer")


def _unreachable(broker: BrokerFacts) -> tuple[str, str]:
    match broker.failure:
        case "host":
            return f"the host name in {broker.address} cannot be resolved", "correct bus.kafka.bootstrap"
        case "refused":
            return f"nothing listens at {broker.address}", "start the broker, or correct bus.kafka.bootstrap"
    return f"{broker.address} does not answer", "open the port in the firewall, or correct bus.kafka.bootstrap"


def kafka_security(facts: KafkaFacts) -> Findings:
    failed = [broker for broker in facts.bootstrap if broker.failure and broker.failure not in UNREACHABLE]
    return each((_insecure(broker) for broker in failed[:1]), f"TLS {'on' if facts.tls else 'off'}, SASL {facts.sasl}")


INSECURE: dict[str, tuple[str, str]] = {  # cause and next step; {detail} is what the client says
    "files": ("the files of bus.kafka cannot be used: {detail}", "correct bus.kafka.caFile, certFile and keyFile"),
    "tls_expected": ("{at} speaks TLS, and bus.kafka.tls is false", "set bus.kafka.tls: true"),
    "tls_unexpected": (
        "{at} does not speak TLS, and bus.kafka.tls is true",
        "set bus.kafka.tls: false, or name its TLS port in bus.kafka.bootstrap",
    ),
    "certificate": (
        "the certificate of {at} is not trusted: {detail}",
        "set bus.kafka.caFile to the authority that issued it",
    ),
    "client_certificate": ("{at} wants a client certificate", "set bus.kafka.certFile and bus.kafka.keyFile"),
    "mechanism": ("{at} does not take this SASL mechanism: {detail}", "set bus.kafka.sasl to one it has"),
    "password": (
        "{at} refuses the user or the password: {detail}",
        "correct bus.kafka.username and bus.kafka.password",
    ),
    "closed": (
        "{at} closes the connection: its listener has another security protocol",
        "set bus.kafka.tls and bus.kafka.sasl as the listener has them",
    ),
}


def _insecure(broker: BrokerFacts) -> Findings:
    cause, step = INSECURE[broker.failure]
    return problem(cause.format(at=broker.address, detail=broker.detail), step)


def kafka_cluster(facts: KafkaFacts) -> Findings:
    if facts.failure:
        return problem(
            f"the cluster cannot be described: {facts.failure}",
            "check that its advertised.listeners are addresses this machine reaches",
        )
    return ok(f"{facts.brokers} brokers")


def kafka_access(facts: KafkaFacts) -> Findings:
    """A user of one component needs the topics of that component only."""
    denied = {name for name, standing in facts.standings.items() if standing.denied}
    served = [component for component, used in facts.components.items() if not used & denied]
    step = "run what `airy topics acls --commands` prints as an operator of the cluster"
    if facts.plan_denied:
        return problem(f"the settings of topics cannot be read: {facts.plan_denied}", step)
    if not denied:
        return ok("every topic can be described")
    if served:
        return ok(f"the topics of {names(served)} can be described")
    return problem(f"this user may not describe {names(sorted(denied))}", step)


def kafka_topics(facts: KafkaFacts) -> Findings:
    plan = facts.plan
    if plan is None or plan.empty:
        return ok("as this version needs them")
    missing = [topic.name for topic in plan.create]
    altered = sorted({change.name for change in plan.alter})
    findings: list[Findings] = [problem(f"{change.name}: {change.difference}", change.remedy) for change in plan.refuse]
    if missing:
        findings.append(problem(f"{len(missing)} topics are missing: {names(missing)}", "airy topics apply"))
    if altered:
        findings.append(problem(f"topics have other settings: {names(altered)}", "airy topics plan, then apply"))
    return each(findings, "")


def kafka_replicas(facts: KafkaFacts) -> Findings:
    min_in_sync = facts.min_in_sync
    leaderless = sorted(name for name, standing in facts.standings.items() if standing.leaderless)
    under = sorted(
        name
        for name, standing in facts.standings.items()
        if standing.partitions and not standing.leaderless and standing.in_sync_min < min_in_sync
    )
    step = "start the brokers that are down; kafka-topics.sh --describe --under-min-isr-partitions"
    findings = []
    if leaderless:
        findings.append(problem(f"partitions have no leader: {names(leaderless)}", step))
    if under:
        findings.append(
            problem(f"fewer than {min_in_sync} replicas are in sync, so nothing can be written: {names(under)}", step)
        )
    return each(findings, f"at least {min_in_sync} in sync")
