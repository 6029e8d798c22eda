"""All checks, in the order in which they are decided and printed. `after` names the checks whose problems explain what
this one would find: it is skipped then, and so are those that are after it.
"""

from airy.app.doctor import checks_directory as directory
from airy.app.doctor import checks_instance as instance
from airy.app.doctor import checks_machine as machine
from airy.app.doctor import checks_public_url as public_url
from airy.app.doctor import checks_servers as servers
from airy.app.doctor import checks_work as work
from airy.app.doctor.check import Check
from airy.app.doctor.facts import (
    ConfigFacts,
    DirectoryFacts,
    LocalStoreFacts,
    LogFacts,
    MachineFacts,
    PortFacts,
    PublicUrlFacts,
    SettingFacts,
)
from airy.app.doctor.instance_facts import InstanceFacts, WebhookUrlFacts
from airy.bus.kafka.inspection import KafkaFacts
from airy.queue.redis.inspection import RedisFacts

DIRECTORY = ("data.directory",)
REDIS_UP = ("redis.reachable",)
KAFKA_UP = ("kafka.reachable",)
KAFKA_SECURE = ("kafka.security",)
INSTANCE = ("instance.reachable",)
JOURNAL = ("journal.file",)
LOCK = ("journal.lock",)
TOPICS = ("kafka.topics",)
REDIS = ("redis.security",)
KAFKA = ("kafka.cluster",)
PORT = ("http.port",)
TOKEN = ("instance.token",)
DEPENDENCIES = ("data.space", "redis.role", "redis.writes", "redis.commands", "kafka.access")
READY = ("instance.ready",)
ENDPOINTS = (*READY, "webhooks.endpoints")

CHECKS = (
    Check("config.valid", "unknown keys, wrong values, variables that are not set", ConfigFacts, machine.valid),
    Check("config.spelling", "deprecated spellings", ConfigFacts, machine.spelling),
    Check("config.secrets", "secrets in a file that others can read", ConfigFacts, machine.secrets_in_file),
    Check("config.authentication", "an open API that other machines reach", SettingFacts, machine.authentication),
    Check("config.queue", "a cluster whose processes share no webhook queue", SettingFacts, machine.shared_queue),
    Check("config.public-url", "an address that no provider can call", SettingFacts, public_url.callable_by_providers),
    Check("machine.python", "a version of Python that is not supported", MachineFacts, machine.python),
    Check("machine.packages", "Python packages that are missing", MachineFacts, machine.packages),
    Check("machine.files", "a limit of open files that is too low", MachineFacts, machine.open_files),
    Check("machine.terminal", "a terminal that cannot show the console", MachineFacts, machine.terminal),
    Check("data.directory", "a directory that cannot be created or written", DirectoryFacts, directory.directory),
    Check("data.space", "a full disk, a quota, a limit of file sizes", DirectoryFacts, directory.space, DIRECTORY),
    Check("data.file-system", "a network file system", DirectoryFacts, directory.file_system),
    Check("data.secrets", "a token, key or journal that others can read", DirectoryFacts, directory.secrets),
    Check("data.sealing-key", "a damaged sealing key", DirectoryFacts, directory.sealing_key, ("data.secrets",)),
    Check("data.key-kept", "a sealing key that was lost", DirectoryFacts, directory.sealing_key_kept),
    Check("journal.file", "a damaged, foreign or newer journal", LogFacts, directory.journal, DIRECTORY),
    Check("journal.lock", "another process that has the journal open", LogFacts, directory.journal_lock),
    Check(
        "journal.topics", "topics with another number of partitions", LogFacts, directory.journal_partitions, JOURNAL
    ),
    Check("http.port", "a port that is taken, reserved or not local", PortFacts, machine.port, LOCK),
    Check("redis.reachable", "a wrong address, a server that is down", RedisFacts, servers.redis_reachable),
    Check("redis.security", "a wrong password, TLS on one side only", RedisFacts, servers.redis_security, REDIS_UP),
    Check("redis.version", "a version that is too old", RedisFacts, servers.redis_version, REDIS),
    Check("redis.role", "a read-only replica", RedisFacts, servers.redis_role, REDIS),
    Check("redis.writes", "a server that cannot persist", RedisFacts, servers.redis_writes, REDIS),
    Check("redis.commands", "missing rights of the user", RedisFacts, servers.redis_commands, ("redis.version",)),
    Check("redis.eviction", "a policy that evicts deliveries", RedisFacts, servers.redis_eviction, REDIS),
    Check("redis.memory", "memory that is nearly full or unbounded", RedisFacts, servers.redis_memory, REDIS),
    Check("redis.clock", "a clock that differs", RedisFacts, servers.redis_clock, REDIS),
    Check("kafka.codec", "a compression whose library is missing", SettingFacts, servers.kafka_codec),
    Check("kafka.reachable", "a wrong address, brokers that are down", KafkaFacts, servers.kafka_reachable),
    Check("kafka.security", "a wrong security protocol or password", KafkaFacts, servers.kafka_security, KAFKA_UP),
    Check("kafka.cluster", "advertised addresses that lead nowhere", KafkaFacts, servers.kafka_cluster, KAFKA_SECURE),
    Check("kafka.access", "missing rights of the user", KafkaFacts, servers.kafka_access, KAFKA),
    Check("kafka.topics", "missing or different topics", KafkaFacts, servers.kafka_topics, ("kafka.access",)),
    Check("kafka.replicas", "too few replicas in sync, no leader", KafkaFacts, servers.kafka_replicas, TOPICS),
    Check("store.file", "a damaged or foreign store, or one of another version", LocalStoreFacts, directory.store),
    Check("store.log", "a store of another log", LocalStoreFacts, directory.store_log, (*JOURNAL, *TOPICS)),
    Check("instance.reachable", "an address at which no instance answers", InstanceFacts, instance.reachable, PORT),
    Check("instance.token", "a wrong, unreadable or missing token", InstanceFacts, instance.token, INSTANCE),
    Check("instance.clock", "a clock that differs", InstanceFacts, instance.clock, INSTANCE),
    Check("instance.version", "versions that differ", InstanceFacts, instance.version, TOKEN),
    Check("instance.configuration", "a file that is not applied", InstanceFacts, instance.configuration, TOKEN),
    Check(
        "instance.ready",
        "components that wait, with the reason",
        InstanceFacts,
        instance.ready,
        (*TOKEN, *DEPENDENCIES),
    ),
    Check("instance.components", "components without a ready process", InstanceFacts, instance.components, READY),
    Check("instance.processes", "processes without heartbeats", InstanceFacts, instance.processes, TOKEN),
    Check("instance.fleet", "other processes that are not ready", InstanceFacts, instance.fleet, READY),
    Check("instance.held", "partitions with records of a newer version", InstanceFacts, instance.held, TOKEN),
    Check("instance.fold", "a store behind the log", InstanceFacts, instance.fold, READY),
    Check("instance.lag", "consumer groups that are behind", InstanceFacts, instance.lag, READY),
    Check("instance.event-loop", "a blocked event loop", InstanceFacts, instance.event_loop, TOKEN),
    Check("instance.bugs", "unexpected errors", InstanceFacts, instance.bugs, TOKEN),
    Check(
        "instance.public-url", "a public address that leads elsewhere", PublicUrlFacts, public_url.leads_here, INSTANCE
    ),
    Check("webhooks.queue", "a queue that is full or away", InstanceFacts, work.queue, READY),
    Check("webhooks.url", "a forbidden, wrong or unreachable address", WebhookUrlFacts, work.webhook_urls, TOKEN),
    Check("webhooks.endpoints", "an endpoint that fails", InstanceFacts, work.endpoints, ("webhooks.url",)),
    Check("webhooks.backlog", "an endpoint that is slow", InstanceFacts, work.backlog, ENDPOINTS),
    Check("webhooks.dead", "deliveries that failed for good", InstanceFacts, work.dead_deliveries, ENDPOINTS),
    Check("records.dead-letters", "records that cannot be processed", InstanceFacts, work.dead_letters, TOKEN),
    Check("channels.health", "channels that do not work", InstanceFacts, work.channel_health, TOKEN),
    Check("channels.credentials", "provider tokens that expire", InstanceFacts, work.credentials, TOKEN),
)
