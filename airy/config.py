"""The schema of the configuration: keys, types, bounds and defaults.

`airy.yaml` in the root documents the same keys, and a test compares them. The sections of components are declared
beside them (`airy.components`, `airy.sources.*.spec`); `Config.section` returns one by its type. `airy.config_file`
loads a file.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from airy import components
from airy.components import Count, Section
from airy.config_shape import attribute, components_type
from airy.errors import Refused
from airy.permissions import GrantedRole
from airy.secret import Secret

Url = Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+", extra={"expected": "an http(s):// address"})]
Origin = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?/?$",
        extra={
            "expected": "an origin (https://www.example.org, in lower case, without a path; * would be any website)"
        },
    ),
]
Network = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$",
        extra={"expected": "a network or an address (10.0.0.0/8, fd00::/8, 192.0.2.7)"},
    ),
]
Port = Annotated[int, Meta(ge=1, le=65_535)]
MEDIA_TYPES = r"^(\*/\*|[a-z]+/(\*|[a-z0-9.+-]+))$"

S = TypeVar("S", bound=Struct)


class HttpConfig(Section, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080  # 0: any free one
    allowed_origins: tuple[Origin, ...] = ()
    body_bytes_max: Annotated[int, Meta(ge=1_024, le=2_000_000)] = 1_048_576  # a fact of 4 MiB has it twice
    in_flight_max: Count = 1_024
    api_in_flight_max: Count = 256
    caller_requests_per_s: Annotated[float, Meta(ge=1, le=1_000_000)] = 1_000.0
    caller_burst: Count = 2_000
    anonymous_requests_per_s: Annotated[float, Meta(ge=1, le=1_000_000)] = 100.0
    anonymous_burst: Count = 1_000
    trusted_proxies: tuple[Network, ...] = ()
    public_url: Url | None = None  # how providers reach this installation


class WebhookEgressConfig(Section, frozen=True):
    """The addresses outbound webhooks may go to."""

    allow_private_addresses: bool = False
    allow_http: bool = False
    ports: tuple[Port, ...] = (443,)


class OidcConfig(Section, frozen=True):
    """Logins of people at an identity provider. Enabled if `provider` is set."""

    provider: Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9-]{0,31})?$")] = ""  # github, google, or any name
    issuer: Url | None = None
    client_id: str = ""
    client_secret: Secret | None = None
    allowed_email_patterns: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    role: GrantedRole = "agent"
    login_success_url: str = "/"
    logout_success_url: str = "/"
    github_url: Url = "https://github.com"
    github_api_url: Url = "https://api.github.com"


class SecurityConfig(Section, frozen=True):
    system_token: Secret | None = None
    tokens: dict[str, Secret] = field(default_factory=dict)  # by name
    token_roles: dict[str, GrantedRole] = field(default_factory=dict)  # by name of a token
    open: bool = False
    jwt_secret: Secret | None = None
    session_s: Annotated[int, Meta(ge=300, le=2_592_000)] = 86_400
    oidc: OidcConfig = OidcConfig()
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


class BucketConfig(Section, frozen=True):
    """An S3-compatible bucket."""

    bucket: str = ""
    region: str = "us-east-1"
    endpoint: Url | None = None  # None: Amazon's of the region
    access_key_id: str = ""  # empty: the credentials of the environment
    secret_access_key: Secret | None = None
    path_style: bool = True
    allow_private_addresses: bool = False
    public_url: Url | None = None  # where the bucket's files are public


class MediaFetchConfig(Section, frozen=True):
    """Attachments of contacts, which are fetched from providers and stored beside the uploaded files."""

    enabled: bool = True
    bytes_max: Annotated[int, Meta(ge=1_024, le=2_147_483_648)] = 104_857_600
    types: tuple[Annotated[str, Meta(pattern=MEDIA_TYPES)], ...] = ("*/*",)
    parallel_max: Annotated[int, Meta(ge=1, le=256)] = 8
    timeout_s: Annotated[float, Meta(ge=1, le=600)] = 60.0
    allow_http: bool = False
    allow_private_addresses: bool = False


class MediaConfig(Section, frozen=True):
    """Uploaded files, and the attachments of contacts."""

    kind: Literal["local", "s3"] = "local"
    directory: str | None = None
    prefix: Annotated[str, Meta(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*/?)*$", max_length=256)] = ""
    bytes_max: Annotated[int, Meta(ge=1_024, le=536_870_912)] = 26_214_400
    types: tuple[Annotated[str, Meta(pattern=MEDIA_TYPES)], ...] = ("*/*",)
    uploads_max: Count = 16
    urls_valid_s: Annotated[int, Meta(ge=60, le=31_536_000)] | None = None
    s3: BucketConfig = BucketConfig()
    fetch: MediaFetchConfig = MediaFetchConfig()


class LogConfig(Section, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class StatusConfig(Section, frozen=True):
    """The heartbeats of each process."""

    heartbeat_interval_s: Annotated[float, Meta(ge=0.2, le=300)] = 5.0


if TYPE_CHECKING:

    class Components(Struct, frozen=True):
        """The sections of all components, by type and name; built from `airy.components`. Read them with `section`."""
else:
    Components = components_type(components.ALL)


class Config(Section, frozen=True):
    http: HttpConfig = HttpConfig()
    security: SecurityConfig = SecurityConfig()
    data: DataConfig = DataConfig()
    bus: BusConfig = BusConfig()
    queue: QueueConfig = QueueConfig()
    media: MediaConfig = MediaConfig()
    log: LogConfig = LogConfig()
    status: StatusConfig = StatusConfig()
    components: Components = Components()

    def section(self, section: type[S]) -> S:
        """The section of the component that declares this type."""
        component = _BY_SECTION[section]
        found = getattr(getattr(self.components, attribute(component.type)), attribute(component.name))
        assert isinstance(found, section)
        return found

    def with_sections(self, *sections: Struct) -> "Config":
        """A copy with these sections in place of the present ones."""
        groups: dict[str, dict[str, Struct]] = {}
        for section in sections:
            component = _BY_SECTION[type(section)]
            groups.setdefault(attribute(component.type), {})[attribute(component.name)] = section
        changed: dict[str, Any] = {
            name: replace(getattr(self.components, name), **group) for name, group in groups.items()
        }
        return replace(self, components=replace(self.components, **changed))


_BY_SECTION = {component.section: component for component in components.ALL if component.section is not None}


def enabled_components(config: Config) -> frozenset[str]:
    """The ids of the components this configuration enables."""
    return frozenset(
        component.id
        for component in components.ALL
        if component.mandatory
        or component.section is None
        or getattr(config.section(component.section), "enabled", True)
    )


def components_to_run(config: Config, chosen: frozenset[str] | None) -> frozenset[str]:
    """The enabled components, or those `chosen` for this process. Raises `Refused` if one of these is disabled."""
    enabled = enabled_components(config)
    if chosen is None:
        return enabled
    if disabled := chosen - enabled:
        names = ", ".join(sorted(disabled))
        raise Refused(f"not enabled in the configuration: {names}; give it its section under components", field=names)
    return chosen | {"http"}


def data_directory(config: Config) -> Path:
    return Path(config.data.directory).expanduser()
