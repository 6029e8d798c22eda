"""The settings of the configuration by section, described by the schema: forms and plans are made of them.

A section is that of a component, named by the component's id, or one of the whole process (`http`, `security`, …).
"""

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import msgspec.inspect as shapes
from msgspec import Struct

from airy import components
from airy.config import Config
from airy.config_shape import attribute
from airy.live_config.descriptions import DESCRIPTIONS

SettingKind = Literal["switch", "number", "choice", "text", "secret", "list", "map"]

SUMMARIES = {  # of the sections that belong to no component
    "http": "the HTTP server: address, limits, proxies",
    "security": "tokens, logins, and where webhooks may go",
    "data": "the data directory, and what is kept for clients that reconnect",
    "bus": "the log: journal, memory or Kafka",
    "queue": "the queue of webhook deliveries",
    "media": "uploaded files and attachments",
    "log": "log lines",
    "status": "heartbeats",
}
FIXED = {  # path: why a running installation cannot change it
    "data.directory": "the log, the store and the keys are there: stop, move the directory, then change it",
    "bus.kind": "another kind of log is another log: move it with `airy log export` and `airy log import`",
    "bus.kafka.namespace": "another namespace is another log: move it with `airy log export` and `airy log import`",
    "security.keyFile": "secrets in the log are sealed with the present key: stop, move the key, then change it",
}
MAP_FIXED = "its entries are changed in the file"

_COMMON = {  # keys of components that mean the same in each
    "enabled": "whether the component runs",
    "apiUrl": "address of the provider's API",
    "graphUrl": "address of the provider's API",
    "graphVersion": "of the provider's API",
    "instagramUrl": "address of the provider's API for Instagram Login",
    "messagingUrl": "address of the provider's API for messaging services",
    "oauthUrl": "address where access tokens are issued",
    "appId": "of the app at the provider",
}
_UNITS = {"PerS": "per s", "S": "s", "[bB]ytesMax": "bytes"}  # by the end of a key, the first that fits


class ConfigSetting(Struct, frozen=True, kw_only=True):
    """`key` is below its section (`oidc.provider`), `path` in the whole document. `default` is a plain value.

    A list of secrets is a `secret` with `many`.
    """

    key: str
    path: str
    attributes: tuple[str, ...]  # of `Config`
    kind: SettingKind
    default: Any
    many: bool = False
    whole: bool = False  # of numbers
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    required: bool = False  # while its section is enabled
    description: str = ""
    fixed: str = ""  # why it cannot be changed at runtime

    def value(self, config: Config) -> Any:
        found: Any = config
        for name in self.attributes:
            found = getattr(found, name)
        return found


class ConfigSection(Struct, frozen=True, kw_only=True):
    name: str
    path: str
    summary: str
    settings: tuple[ConfigSetting, ...]
    component: str = ""  # its id; empty: every process uses the section

    @property
    def enabled(self) -> ConfigSetting | None:
        """The switch of the whole component."""
        return self.find("enabled")

    def find(self, key: str) -> ConfigSetting | None:
        """By its key, or by the same in snake case, as the original's clients write it."""
        spelled = {key, ".".join(_camel(part) for part in key.split("."))}
        return next((each for each in self.settings if each.key in spelled), None)


def _sections() -> Iterator[ConfigSection]:
    for component in components.ALL:
        if component.section is not None:
            names = ("components", attribute(component.type), attribute(component.name))
            yield ConfigSection(
                name=component.id,
                path=component.path,
                summary=component.summary,
                settings=tuple(
                    sorted(_settings(component.section, component.path, names), key=lambda each: each.key != "enabled")
                ),
                component=component.id,
            )
    for field in msgspec.structs.fields(Config):
        if field.name != "components":
            assert isinstance(field.type, type)
            yield ConfigSection(
                name=field.name,
                path=field.name,
                summary=SUMMARIES[field.name],
                settings=tuple(_settings(field.type, field.name, (field.name,))),
            )


def _settings(kind: type, path: str, attributes: tuple[str, ...], prefix: str = "") -> Iterator[ConfigSetting]:
    shape = shapes.type_info(kind)
    assert isinstance(shape, shapes.StructType)
    for field in shape.fields:
        key, names = f"{prefix}{field.encode_name}", (*attributes, field.name)
        if isinstance(field.type, shapes.StructType):
            yield from _settings(field.type.cls, path, names, f"{key}.")
        else:
            yield _setting(field, key, f"{path}.{key}", names)


def _setting(field: shapes.Field, key: str, path: str, attributes: tuple[str, ...]) -> ConfigSetting:
    extra, schema = _notes(field.type)
    shape = _bare(field.type)
    kind, many = _kind(shape)
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    number = shape if isinstance(shape, shapes.IntType | shapes.FloatType) else None
    return ConfigSetting(
        key=key,
        path=path,
        attributes=attributes,
        kind=kind,
        many=many,
        default=list(default) if isinstance(default, tuple) else default,
        whole=isinstance(shape, shapes.IntType),
        minimum=number.ge if number else None,
        maximum=number.le if number else None,
        choices=tuple(map(str, shape.values)) if isinstance(shape, shapes.LiteralType) else (),
        unit=_unit(key) if number else "",
        required=bool(extra.get("required")),
        description=str(schema.get("description") or DESCRIPTIONS.get(path) or _COMMON.get(key, "")),
        fixed=FIXED.get(path, MAP_FIXED if kind == "map" else ""),
    )


_KINDS: dict[type[shapes.Type], SettingKind] = {
    shapes.BoolType: "switch",
    shapes.IntType: "number",
    shapes.FloatType: "number",
    shapes.LiteralType: "choice",
    shapes.CustomType: "secret",
    shapes.DictType: "map",
    shapes.StrType: "text",
}


def _kind(shape: shapes.Type) -> tuple[SettingKind, bool]:
    """And whether it is a list."""
    if isinstance(shape, shapes.VarTupleType):
        return ("secret" if _kind(_bare(shape.item_type))[0] == "secret" else "list"), True
    return _KINDS[type(shape)], False


def _bare(shape: shapes.Type) -> shapes.Type:
    """Without `None` and notes."""
    while True:
        if isinstance(shape, shapes.Metadata):
            shape = shape.type
        elif isinstance(shape, shapes.UnionType):
            shape = next(each for each in shape.types if not isinstance(each, shapes.NoneType))
        else:
            return shape


def _notes(shape: shapes.Type) -> tuple[dict[str, Any], dict[str, Any]]:
    if not isinstance(shape, shapes.Metadata):
        return {}, {}
    return shape.extra or {}, shape.extra_json_schema or {}


def _unit(key: str) -> str:
    return next((unit for end, unit in _UNITS.items() if re.search(rf"{end}$", key)), "")


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


SECTIONS = tuple(_sections())
BY_NAME = {section.name: section for section in SECTIONS}
BY_PATH = {setting.path: setting for section in SECTIONS for setting in section.settings}
