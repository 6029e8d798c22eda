"""The schema of the configuration (keys, types, bounds, defaults), and the loading of a file.

`airy.yaml` in the root documents the same keys, and a test compares them. A key marked `REQUIRED` must be set for an
enabled component; otherwise the start is refused. Components are described in `airy.components`.
"""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import msgspec.inspect as shapes
from msgspec import Meta, Struct
from msgspec.structs import replace

from airy.config_reader import ConfigProblem, ConfigReader, InvalidConfig, parse, scalar
from airy.errors import Refused
from airy.secret import Secret

FILE = "airy.yaml"
FILE_BYTES_MAX = 1_048_576
TOKEN_CHARS_MIN = 16
TOKEN_FILE = "system-token"  # noqa: S105 - a file's name

_REDIS_URL = re.compile(r"^rediss?://([^\s/@]*@)?(\[[^\s\]]+\]|[^\s/@:]+)(:\d+)?(/\d+)?(\?\S*)?$")

Url = Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+", extra={"expected": "an http(s):// address"})]
Version = Annotated[str, Meta(pattern=r"^v\d+\.\d+$", extra={"expected": "a version like v23.0"})]
Count = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Seconds = Annotated[float, Meta(ge=0.001, le=604_800)]
REQUIRED = Meta(extra={"required": True})


class Section(Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class HttpConfig(Section, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080  # 0: any free one
    allowed_origins: tuple[str, ...] = ()
    body_bytes_max: Annotated[int, Meta(ge=1_024, le=67_108_864)] = 1_048_576
    in_flight_max: Count = 1_024
    public_url: Url | None = None  # how providers reach this installation


class WebhookEgressConfig(Section, frozen=True):
    """The addresses outbound webhooks may go to."""

    allow_private_addresses: bool = False
    allow_http: bool = False
    ports: tuple[Port, ...] = (443,)


class SecurityConfig(Section, frozen=True):
    system_token: Secret | None = None
    tokens: dict[str, Secret] = {}  # name to token
    open: bool = False
    key_file: str | None = None
    webhooks: WebhookEgressConfig = WebhookEgressConfig()


class DataConfig(Section, frozen=True):
    directory: str = "./.airy"
    resume_window_s: Annotated[float, Meta(ge=0, le=604_800)] = 300.0
    resume_window_records: Annotated[int, Meta(ge=0)] = 100_000


class KafkaConfig(Section, frozen=True):
    """The connection to a Kafka cluster, and the settings of its topics."""

    bootstrap: tuple[str, ...] = ()  # host:port; several, in case one is down
    namespace: Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9_-]{0,62})?$")] = ""
    replication: Annotated[int, Meta(ge=1, le=9)] = 3
    min_in_sync: Annotated[int, Meta(ge=1, le=9)] = 2
    tls: bool = False
    ca_file: str | None = None  # None: the system's
    cert_file: str | None = None  # client certificate
    key_file: str | None = None
    sasl: Literal["off", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "off"
    username: str = ""
    password: Secret | None = None
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "zstd"
    session_s: Annotated[float, Meta(ge=1, le=300)] = 45.0
    rebalance_s: Annotated[float, Meta(ge=1, le=300)] = 60.0


class BusConfig(Section, frozen=True):
    kind: Literal["memory", "journal", "kafka"] = "journal"
    kafka: KafkaConfig = KafkaConfig()


class RedisConfig(Section, frozen=True):
    url: Secret | None = None  # redis://user:password@host:port/0, rediss:// with TLS
    ca_file: str | None = None  # None: the system's
    cert_file: str | None = None  # client certificate
    key_file: str | None = None
    cluster: bool = False
    sentinels: tuple[str, ...] = ()  # host:port; the host of `url` is the master's name then
    namespace: Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9_-]{0,62})?$")] = ""


class QueueConfig(Section, frozen=True):
    """The queue of webhook deliveries."""

    kind: Literal["embedded", "redis"] = "embedded"
    redis: RedisConfig = RedisConfig()
    jobs_max: Count = 1_000_000


class LogConfig(Section, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class StatusConfig(Section, frozen=True):
    """The heartbeats of each process."""

    heartbeat_interval_s: Annotated[float, Meta(ge=0.2, le=300)] = 5.0


class FacebookComponent(Section, frozen=True):
    enabled: bool = False
    app_id: Annotated[str, REQUIRED] = ""
    app_secret: Annotated[tuple[Secret, ...], Meta(max_length=2, extra={"required": True})] = ()  # newest first
    webhook_secret: Annotated[Secret | None, REQUIRED] = None
    graph_url: Url = "https://graph.facebook.com"
    graph_version: Version = "v23.0"
    human_agent: bool = False


class CommunicationComponent(Section, frozen=True):
    message_ttl_s: Seconds = 86_400.0


class PublisherComponent(Section, frozen=True):
    enabled: bool = True


class ConsumerComponent(Section, frozen=True):
    enabled: bool = True
    in_flight_max: Count = 200
    per_webhook_max: Count = 20
    timeout_s: Seconds = 15.0


class Components(Struct, frozen=True, kw_only=True, rename="kebab"):
    sources_facebook: FacebookComponent = FacebookComponent()
    api_communication: CommunicationComponent = CommunicationComponent()
    webhook_publisher: PublisherComponent = PublisherComponent()
    webhook_consumer: ConsumerComponent = ConsumerComponent()


class Config(Section, frozen=True):
    http: HttpConfig = HttpConfig()
    security: SecurityConfig = SecurityConfig()
    data: DataConfig = DataConfig()
    bus: BusConfig = BusConfig()
    queue: QueueConfig = QueueConfig()
    log: LogConfig = LogConfig()
    status: StatusConfig = StatusConfig()
    components: Components = Components()


OVERRIDES = {  # environment variable: the key it overrides
    "AIRY_HOST": "http.host",
    "AIRY_PORT": "http.port",
    "AIRY_SYSTEM_TOKEN": "security.systemToken",
    "AIRY_DATA": "data.directory",
    "AIRY_LOG_LEVEL": "log.level",
    "AIRY_KAFKA": "bus.kafka.bootstrap",
    "AIRY_REDIS": "queue.redis.url",
}
IMPLIED = {  # environment variable: a further key and its value
    "AIRY_KAFKA": ("bus.kind", "kafka"),
    "AIRY_REDIS": ("queue.kind", "redis"),
}

_HELM = "is for the original on Kubernetes; known here: http, security, data, bus, queue, log, status, components"
_NESTED = "components are named in one word here, without nesting: write"
HINTS = {  # key of the original's airy.yaml: what to write instead
    "global": f"{_HELM}; where to listen is `http.host` and `http.port`",
    "kubernetes": f"{_HELM}; where to listen is `http.host` and `http.port`",
    "ingress-controller": _HELM,
    "provisioning": _HELM,
    "prerequisites": _HELM,
    "tools": _HELM,
    "repositories": _HELM,
    "config": f"{_HELM}; the log is chosen with `bus.kind`",
    "kafka": "is no key here: the log is chosen with `bus.kind`, and reached with `bus.kafka`",
    "security.jwtSecret": "is not used, because tokens are compared and not signed: remove it",
    "components.sources": f"{_NESTED} `sources-facebook: …`",
    "components.api": f"{_NESTED} `api-communication: …`",
    "components.integration": f"{_NESTED} `webhook-publisher: …` and `webhook-consumer: …`",
}


def load(path: Path | str | None, env: Mapping[str, str]) -> Config:
    """The configuration of a file (None: the defaults) with the environment's overrides. Raises `InvalidConfig`."""
    name = str(path) if path is not None else "(defaults)"
    reader = ConfigReader(name, env, HINTS)
    node = parse(_text(Path(path)), name) if path is not None else None
    config = reader.read(node, _SHAPE, "") if node is not None else Config()
    overrides = _overrides(reader, env)
    if isinstance(config, Config) and not reader.problems:
        for key, value in overrides.items():
            config = _replaced(config, key.split("."), value)
        _check(config, reader)
    if reader.problems:
        raise InvalidConfig(sorted(reader.problems, key=lambda problem: problem.line or 0))
    assert isinstance(config, Config)
    return config


def find(directory: Path = Path()) -> Path | None:
    """The configuration file in a directory, if it exists."""
    path = directory / FILE
    return path if path.is_file() else None


def data_directory(config: Config) -> Path:
    return Path(config.data.directory).expanduser()


def system_token(config: Config) -> Secret | None:
    """The configured token, or the one generated in the data directory; None if authentication is off."""
    if config.security.open:
        return None
    if config.security.system_token:
        return config.security.system_token
    return _read_or_generate(data_directory(config) / TOKEN_FILE)


def secret_values(config: Config) -> list[str]:
    """Every secret of the configuration in clear text, for the masks of the log."""
    security, facebook = config.security, config.components.sources_facebook
    held = (
        security.system_token,
        *security.tokens.values(),
        *facebook.app_secret,
        facebook.webhook_secret,
        config.bus.kafka.password,
        config.queue.redis.url,
        *_passwords(config.queue.redis.url),
    )
    return [secret.reveal() for secret in held if secret]


_SHAPE = shapes.type_info(Config)


def _passwords(url: Secret | None) -> tuple[Secret, ...]:
    """The password of a Redis URL, as written and percent-decoded."""
    found = _REDIS_URL.match(url.reveal()) if url else None
    password = (found[1] or "").rstrip("@").partition(":")[2] if found else ""
    return (Secret(password), Secret(unquote(password))) if password else ()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        text = data.decode()
    except OSError as error:
        raise InvalidConfig([ConfigProblem(str(path), None, "", f"cannot read it: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InvalidConfig([ConfigProblem(str(path), line, "", "expected UTF-8 text, found other bytes")]) from error
    if len(data) > FILE_BYTES_MAX:
        raise InvalidConfig(
            [ConfigProblem(str(path), None, "", f"expected at most {FILE_BYTES_MAX} bytes, found more")]
        )
    return text


def _check(config: Config, reader: ConfigReader) -> None:
    """Rules over several keys."""
    if config.security.open and config.security.system_token:
        both = "disables authentication, so systemToken has no effect: remove one of the two"
        reader.note("security.open", both)
    _check_kafka(config.bus, reader)
    _check_redis(config.queue, reader)
    tokens = {f"tokens.{name}": token for name, token in config.security.tokens.items()}
    for key, token in {"systemToken": config.security.system_token, **tokens}.items():
        if token and len(token.reveal()) < TOKEN_CHARS_MIN:
            short = f"expected at least {TOKEN_CHARS_MIN} characters, found {len(token.reveal())}"
            reader.note(f"security.{key}", short)


def _check_kafka(bus: BusConfig, reader: ConfigReader) -> None:
    kafka = bus.kafka
    if bus.kind == "kafka" and not kafka.bootstrap:
        reader.note("bus.kafka.bootstrap", "required if bus.kind is kafka: say host:port, or set AIRY_KAFKA")
    if kafka.min_in_sync > kafka.replication:
        many = f"expected at most bus.kafka.replication ({kafka.replication}), found {kafka.min_in_sync}"
        reader.note("bus.kafka.minInSync", many)
    if kafka.sasl != "off" and not (kafka.username and kafka.password):
        reader.note("bus.kafka.sasl", f"{kafka.sasl} needs bus.kafka.username and bus.kafka.password")
    if bool(kafka.cert_file) != bool(kafka.key_file):
        reader.note("bus.kafka.certFile", "certFile and keyFile come together: name both or neither")


def _check_redis(queue: QueueConfig, reader: ConfigReader) -> None:
    redis = queue.redis
    if queue.kind == "redis" and not redis.url:
        reader.note("queue.redis.url", "required if queue.kind is redis: say redis://host:port/0, or set AIRY_REDIS")
    if redis.url and not _REDIS_URL.match(redis.url.reveal()):
        wanted = "expected redis://user:password@host:port/0 or rediss://…, with %40 for an @ in a password and so on"
        reader.note("queue.redis.url", wanted)
    if bool(redis.cert_file) != bool(redis.key_file):
        reader.note("queue.redis.certFile", "certFile and keyFile come together: name both or neither")
    if (redis.ca_file or redis.cert_file) and redis.url and not redis.url.reveal().startswith("rediss://"):
        reader.note("queue.redis.url", "caFile and certFile are for TLS: say rediss://, or leave them out")
    if redis.cluster and redis.sentinels:
        reader.note("queue.redis.sentinels", "a cluster has no sentinels: drop cluster, or sentinels")


def _overrides(reader: ConfigReader, env: Mapping[str, str]) -> dict[str, object]:
    """Path and value of each key the environment overrides; problems name the variable instead of a line."""
    values: dict[str, object] = {}
    for variable, key in OVERRIDES.items():
        if env.get(variable):
            one = ConfigReader(f"environment variable {variable}", env)
            values[key] = one.read(scalar(env[variable]), _shape_at(key.split(".")), key)
            reader.problems += one.problems
            if variable in IMPLIED:
                implied, value = IMPLIED[variable]
                values[implied] = value
    return values


def _shape_at(keys: list[str]) -> shapes.Type:
    shape: shapes.Type = _SHAPE
    for key in keys:
        assert isinstance(shape, shapes.StructType)
        shape = next(field.type for field in shape.fields if field.encode_name == key)
    return shape


def _replaced(config: Config, keys: list[str], value: object) -> Config:
    """`config` with the value at a path replaced."""
    *path, last = (_attribute(key) for key in keys)
    parents: list[Any] = [config]
    for name in path:
        parents.append(getattr(parents[-1], name))
    for parent, name in zip(reversed(parents), [last, *reversed(path)], strict=True):
        value = replace(parent, **{name: value})
    assert isinstance(value, Config)
    return value


def _attribute(key: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key)


def _read_or_generate(path: Path) -> Secret:
    """Read or create the token file, with mode 0600 from the start; one of two racing processes wins."""
    try:
        return read_token(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")  # never from a seeded source
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        pass  # another process created it first
    finally:
        temporary.unlink()
    return read_token(path)


def read_token(path: Path) -> Secret:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise Refused(f"{path} can be read by others (mode {mode:o}): run `chmod 600 {path}`")
    token = path.read_text().strip()
    if not token:
        raise Refused(f"{path} is empty: remove it to generate a new token")
    return Secret(token)
