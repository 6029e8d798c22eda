"""What a caller wants to change, checked against the schema before the file is touched."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from airy.config import Config
from airy.config_document import kind_of, scalar
from airy.config_reader import closest
from airy.config_references import has_reference
from airy.errors import Refused
from airy.live_config.settings import BY_NAME, ConfigSection, ConfigSetting
from airy.secret import MASK, Secret


class SectionChange(Struct, frozen=True):
    """`data`: values by key; null is the default. What is not given stays. `enabled` is the key of that name."""

    name: str
    enabled: bool | None = None
    data: Mapping[str, object] = {}


class Entered(Struct, frozen=True):
    """`value`: plain, or secrets; None: the default, so the key leaves the file."""

    section: ConfigSection
    setting: ConfigSetting
    value: object


class PlanProblem(Struct, frozen=True):
    """`path`: of the key; empty if none is to blame."""

    path: str
    message: str


class Present(Struct, frozen=True, kw_only=True):
    """What the file has now: its values, the text of each reference, and what sets a key instead of the file."""

    config: Config
    references: Mapping[str, str]
    overridden: Mapping[str, str]


def entered_values(changes: Iterable[SectionChange], present: Present) -> tuple[list[Entered], list[PlanProblem]]:
    """What differs from `present`, and what cannot be changed."""
    found: dict[str, Entered] = {}
    problems: list[PlanProblem] = []
    for change in changes:
        section = BY_NAME.get(change.name)
        if section is None:
            problems.append(
                PlanProblem(change.name, f"no component has this name{closest(change.name, list(BY_NAME))}")
            )
            continue
        for key, value in _values(change).items():
            setting = section.find(key)
            if setting is None:
                near = closest(key, [each.key for each in section.settings])
                problems.append(PlanProblem(f"{section.path}.{key}", f"unknown key{near}"))
                continue
            try:
                entry = _entered(section, setting, value, present)
            except Refused as error:
                problems.append(PlanProblem(setting.path, str(error)))
            else:
                if entry is not None:
                    found[setting.path] = entry
    return list(found.values()), problems


def plain(value: object) -> object:
    """A value of the configuration or of a request, comparable with the other."""
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _values(change: SectionChange) -> dict[str, object]:
    return dict(change.data) if change.enabled is None else {**change.data, "enabled": change.enabled}


def _entered(section: ConfigSection, setting: ConfigSetting, value: object, present: Present) -> Entered | None:
    """None: nothing changes. Raises `Refused`."""
    if setting.kind == "map":
        raise Refused(setting.fixed)
    now = setting.value(present.config)
    reference = present.references.get(setting.path)
    if value is None and (setting.kind != "secret" and setting.key == "enabled"):
        value = setting.default
    wanted = None if value is None else _converted(setting, value, reference)
    if reference is not None and wanted == reference:
        return None
    after = setting.default if wanted is None else wanted
    if reference is None and plain(after) == plain(now):
        return None
    if setting.fixed:
        raise Refused(setting.fixed)
    if variable := present.overridden.get(setting.path):
        raise Refused(f"is set by {variable}, which overrides the file: change it there")
    return Entered(section, setting, wanted)


def _converted(setting: ConfigSetting, value: object, reference: str | None) -> object:
    """Texts of forms become what the key takes; what cannot be one is left to the reader of the file."""
    if isinstance(value, list):
        if not setting.many:
            raise Refused(f"expected {_expected(setting)}, found a list")
        return [_one(setting, each, None) for each in value]
    if isinstance(value, str) and setting.kind == "list" and value != reference:
        return [_one(setting, part.strip(), None) for part in value.split(",") if part.strip()]
    return _one(setting, value, reference)


def _one(setting: ConfigSetting, value: object, reference: str | None) -> object:
    if not isinstance(value, str | int | float):
        raise Refused(f"expected {_expected(setting)}, found {'nothing' if value is None else 'keys and values'}")
    if isinstance(value, str) and value == reference:
        return value
    if isinstance(value, str) and has_reference(value):
        raise Refused("a reference is written in the file itself: a request that could name any file could read it")
    if setting.kind == "secret":
        return _secret(str(value))
    if setting.kind in ("switch", "number") and isinstance(value, str):
        return _number_or_switch(value.strip())
    return str(value) if setting.kind in ("text", "choice") and not isinstance(value, bool) else value


def _secret(text: str) -> Secret:
    if text == MASK:
        raise Refused("is the mask of the present secret: leave the key out to keep it")
    try:
        secret = Secret.entered(text)
    except ValueError as error:
        raise Refused(str(error)) from error
    if not secret:
        raise Refused("is empty: null removes the secret")
    return secret


def _number_or_switch(text: str) -> object:
    try:
        match kind_of(scalar(text)):
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text)
            case "float":
                return float(text)
    except ValueError:
        pass
    return text


def _expected(setting: ConfigSetting) -> str:
    words: Sequence[str] = {
        "switch": ("true or false",),
        "number": ("a number",),
        "choice": ("one of", ", ".join(setting.choices)),
        "secret": ("a secret",),
        "list": ("a list",),
    }.get(setting.kind, ("text",))
    return " ".join(words)
