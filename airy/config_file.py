"""Loads the configuration: a YAML file, the environment's overrides, and the rules over several keys."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec.inspect as shapes
from msgspec.structs import replace

from airy import components
from airy.config import BusConfig, Config, MediaConfig, OidcConfig, QueueConfig
from airy.config_document import ConfigProblem, InvalidConfig, parse, scalar
from airy.config_reader import ConfigReader
from airy.egress import EgressPolicy, check_url
from airy.email_patterns import EmailPatterns
from airy.entered_text import trimmed
from airy.errors import Refused
from airy.flat_components import nest_components
from airy.secret import TOKEN_CHARS_MIN
from airy.signing_key import signing_key
from airy.sources.catalogue import SOURCES

FILE = "airy.yaml"
FILE_BYTES_MAX = 1_048_576
OIDC_PRESETS = ("github", "google")  # whose addresses are known

_REDIS_URL = re.compile(r"^rediss?://([^\s/@]*@)?(\[[^\s\]]+\]|[^\s/@:]+)(:\d+)?(/\d+)?(\?\S*)?$")
_SHAPE = shapes.type_info(Config)

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

_HELM = (
    "is for the original on Kubernetes; known here: http, security, data, bus, queue, media, log, status, components"
)
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
    "components.integration": "is spelled differently here: write `webhook: {publisher: …, consumer: …}`",
}


def load(path: Path | str | None, env: Mapping[str, str], *, warn: Callable[[str], object] = lambda _: None) -> Config:
    """The configuration of a file (None: the defaults) with the environment's overrides. Raises `InvalidConfig`.

    `warn` is called with a sentence for each deprecated spelling.
    """
    name = str(path) if path is not None else "(defaults)"
    return load_text(None if path is None else read_text(Path(path)), name, env, warn=warn)


def config_of_text(text: str) -> Config:
    """The configuration that a YAML document holds. Raises `InvalidConfig`."""
    return load_text(text, "(text)", {})


def load_text(
    text: str | None, name: str, env: Mapping[str, str], *, warn: Callable[[str], object] = lambda _: None
) -> Config:
    """The same as `load` for the text of a file; `name` is its name in problems."""
    reader = ConfigReader(name, env, HINTS)
    node = parse(text, name) if text is not None else None
    for warning in nest_components(node, reader, components.ALL) if node is not None else ():
        warn(f"{name}:{warning}")
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


def overridden(env: Mapping[str, str]) -> dict[str, str]:
    """The keys that the environment sets, with the variable; `--data`, `--kafka` and `--redis` set variables too."""
    given = {variable: key for variable, key in OVERRIDES.items() if env.get(variable)}
    implied = {IMPLIED[variable][0]: variable for variable in given if variable in IMPLIED}
    return {key: variable for variable, key in given.items()} | implied


def read_text(path: Path) -> str:
    """Raises `InvalidConfig` if the file cannot be read or is no text."""
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
    _check_security(config, reader)
    _check_kafka(config.bus, reader)
    _check_redis(config.queue, reader)
    _check_media(config.media, reader)
    _check_sources(config, reader)
    tokens = {f"tokens.{name}": token for name, token in config.security.tokens.items()}
    for key, token in {"systemToken": config.security.system_token, **tokens}.items():
        if token and len(token.reveal()) < TOKEN_CHARS_MIN:
            short = f"expected at least {TOKEN_CHARS_MIN} characters, found {len(token.reveal())}"
            reader.note(f"security.{key}", short)
    for name in config.security.token_roles.keys() - config.security.tokens.keys():
        reader.note(f"security.tokenRoles.{name}", f"there is no token {name!r} in security.tokens")


def _check_security(config: Config, reader: ConfigReader) -> None:
    """Half-configured authentication would be none, or one that fails at the first login."""
    security, oidc = config.security, config.security.oidc
    if security.jwt_secret:
        _note_refused(reader, "security.jwtSecret", partial(signing_key, security.jwt_secret))
    if oidc == OidcConfig():
        return
    path = "security.oidc"
    given = {
        f"{path}.provider": oidc.provider,
        f"{path}.clientId": oidc.client_id,
        f"{path}.clientSecret": oidc.client_secret,
        f"{path}.allowedEmailPatterns": oidc.allowed_email_patterns,
        f"{path}.issuer": oidc.issuer or oidc.provider in ("", *OIDC_PRESETS),
        "http.publicUrl": config.http.public_url,
    }
    for key, value in given.items():
        if not value:
            reader.note(key, "is required for logins (security.oidc)", line=reader.lines.get(path))
    for key, patterns in {"allowedEmailPatterns": oidc.allowed_email_patterns, "admins": oidc.admins}.items():
        _note_refused(reader, f"{path}.{key}", partial(EmailPatterns, patterns))
    urls = {
        f"{path}.issuer": oidc.issuer,
        f"{path}.githubUrl": oidc.github_url,
        f"{path}.githubApiUrl": oidc.github_api_url,
        "http.publicUrl": config.http.public_url,
    }
    for key, url in urls.items():
        if url and not _is_confidential(url):
            reader.note(key, "expected https://, because sessions begin with it; http:// is for localhost")
    if security.open:
        reader.note("security.open", "disables authentication, so security.oidc has no effect: remove one of the two")


def _note_refused(reader: ConfigReader, key: str, check: Callable[[], object]) -> None:
    try:
        check()
    except Refused as error:
        reader.note(key, str(error))


def _is_confidential(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def _check_sources(config: Config, reader: ConfigReader) -> None:
    if config.http.public_url and not _is_base_url(config.http.public_url):
        wanted = "expected the address that paths are appended to, like https://inbox.example.org, with digits as port"
        reader.note("http.publicUrl", wanted)
    for spec in SOURCES:
        if spec.public_url and config.section(spec.section).enabled and not config.http.public_url:
            needed = f"is required while components.sources.{spec.name} is enabled: the address providers call"
            reader.note("http.publicUrl", needed)


def _is_base_url(url: str) -> bool:
    """Without query and fragment, and with a port that is a number: providers sign the address they call."""
    try:
        parts = urlsplit(url)
        return parts.port != 0 and bool(parts.hostname) and not (parts.query or parts.fragment)
    except ValueError:
        return False


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


def _check_media(media: MediaConfig, reader: ConfigReader) -> None:
    bucket = media.s3
    if media.kind == "s3" and not bucket.bucket:
        reader.note("media.s3.bucket", "required if media.kind is s3")
    if bool(bucket.access_key_id) != bool(bucket.secret_access_key):
        missing = "secretAccessKey" if bucket.access_key_id else "accessKeyId"
        reader.note(f"media.s3.{missing}", "accessKeyId and secretAccessKey come together: name both or neither")
    if bucket.endpoint:
        private = bucket.allow_private_addresses
        try:
            check_url(bucket.endpoint, EgressPolicy(ports=(), http=private, private=private))
        except Refused as error:
            reader.note("media.s3.endpoint", f"{error}; or set media.s3.allowPrivateAddresses")


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
            values[key] = one.read(scalar(trimmed(env[variable])), _shape_at(key.split(".")), key)
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
