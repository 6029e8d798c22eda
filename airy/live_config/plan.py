"""What a change of the configuration would do, before anything is written: the difference of each key, and problems."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import yaml
from msgspec import Struct

from airy import components
from airy.config import Config, components_to_run
from airy.config_document import InvalidConfig, parse
from airy.config_reader import ConfigReader, join
from airy.config_references import concealed, has_reference
from airy.errors import Refused
from airy.flat_components import nest_components
from airy.live_config.edit import Edit, edited
from airy.live_config.entered import Entered, PlanProblem, Present, SectionChange, entered_values, plain
from airy.live_config.settings import BY_NAME, BY_PATH, SECTIONS, ConfigSetting
from airy.secret import MASK, Secret

FIRST_LINE = (
    "# The configuration of Airy. Keys that are not here have the defaults of the reference.\n"  # of a new file
)
_ENTERED = "AIRY_ENTERED_"  # begins the variables by which entered secrets are checked without being written


class Loads(Protocol):
    """`ConfigSource.config_of`."""

    def __call__(self, text: str | None, more: Mapping[str, str] = {}, /) -> Config: ...


class Difference(Struct, frozen=True):
    """Of one key, as text; None: nothing. Secrets are masked, references are shown as they are written."""

    section: str
    path: str
    before: str | None
    after: str | None
    secret: bool = False


class ConfigState(Struct, frozen=True, kw_only=True):
    """The configuration that runs, and the text of the file now; a text None: there is no file."""

    config: Config
    text: str | None
    stored: str | None
    overridden: Mapping[str, str] = {}
    chosen: frozenset[str] | None = None  # the components of this process; None: all that are enabled
    file: str = "airy.yaml"


class Plan(Struct, frozen=True, kw_only=True):
    """`fingerprint`: of the configuration it was made for."""

    fingerprint: str = ""
    differences: tuple[Difference, ...] = ()
    problems: tuple[PlanProblem, ...] = ()
    entered: tuple[Entered, ...] = ()

    @property
    def sections(self) -> list[str]:
        """The names of those that change."""
        return list(dict.fromkeys(each.section for each in self.differences))


def make_plan(state: ConfigState, changes: Sequence[SectionChange], loads: Loads) -> Plan:
    """From the configuration that runs to the file with `changes`: what was edited in the file by hand counts too."""
    try:
        present = Present(
            config=loads(state.stored), references=references(state.stored, state.file), overridden=state.overridden
        )
    except InvalidConfig as error:
        return Plan(problems=problems_of(error))
    entered, problems = entered_values(changes, present)
    masked, values = _checked(entered)
    try:
        text = text_with(state.stored, masked, present.config, state.file)
        config = loads(text, values)
        components_to_run(config, state.chosen)
    except InvalidConfig as error:
        problems += [PlanProblem(each.path, each.message) for each in error.problems]
        return Plan(problems=tuple(problems))
    except Refused as error:
        return Plan(problems=(*problems, PlanProblem(_enabled_path(error.field), str(error))))
    problems += _unwritten(entered, present.config, config, state.file)
    shown_after = {path: text for path, text in references(text, state.file).items() if _ENTERED not in text}
    found = tuple(differences(state.config, references(state.text, state.file), config, shown_after))
    problems += [
        PlanProblem(each.path, BY_PATH[each.path].fixed)
        for each in found
        if BY_PATH[each.path].fixed and BY_PATH[each.path].kind != "map"
    ]
    return Plan(differences=found, problems=tuple(problems), entered=tuple(entered))


def problems_of(error: InvalidConfig) -> tuple[PlanProblem, ...]:
    """Of the file as it is, so with their lines."""
    return tuple(PlanProblem(each.path, str(each)) for each in error.problems)


def text_with(stored: str | None, entered: Sequence[Entered], config: Config, file: str) -> str | None:
    """The text of the file with what was entered. Secrets have to be references by now. Raises `Refused`."""
    if not entered:
        return stored
    given = sorted(entered, key=lambda each: each.setting.key != "enabled")  # the switch is first in a new section
    edits = [
        Edit(tuple(each.setting.path.split(".")), each.value, each.setting.default)
        for each in (*_switches(entered, stored, config, file), *given)
    ]
    return edited(FIRST_LINE if stored is None else stored, edits, file)


def references(text: str | None, file: str) -> dict[str, str]:
    """The text of each value that is or has a reference, by path."""
    node = parse(text, file) if text is not None else None
    if node is None:
        return {}
    for _ in nest_components(node, ConfigReader(file, {}), components.ALL):
        pass
    return dict(_references(node, ""))


def differences(
    before: Config, before_references: Mapping[str, str], after: Config, after_references: Mapping[str, str]
) -> Iterator[Difference]:
    for section in SECTIONS:
        for setting in section.settings:
            values = setting.value(before), setting.value(after)
            written = before_references.get(setting.path), after_references.get(setting.path)
            if plain(values[0]) != plain(values[1]) or written[0] != written[1]:
                yield Difference(
                    section.name,
                    setting.path,
                    shown(setting, values[0], written[0]),
                    shown(setting, values[1], written[1]),
                    setting.kind == "secret",
                )


def shown(setting: ConfigSetting, value: object, reference: str | None) -> str | None:
    """A value as text. The values of references, and of secrets, are not shown."""
    secret = setting.kind == "secret"
    if reference is not None:
        return concealed(reference, MASK) if secret else reference
    match value:
        case None | "" | () | []:
            return None
        case bool():
            return "true" if value else "false"
        case Mapping():
            return (
                ", ".join(f"{name}: {MASK if isinstance(each, Secret) else each}" for name, each in value.items())
                or None
            )
        case tuple() | list():
            return MASK if secret else ", ".join(map(str, value))
    return MASK if secret else str(value)


def _checked(entered: Sequence[Entered]) -> tuple[list[Entered], dict[str, str]]:
    """Entered secrets as variables, and the values of these."""
    values: dict[str, str] = {}

    def variable(value: object) -> object:
        if isinstance(value, list):
            return [variable(each) for each in value]
        if not isinstance(value, Secret):
            return value
        name = f"{_ENTERED}{len(values)}"
        values[name] = value.reveal()
        return f"env:{name}"

    return [Entered(each.section, each.setting, variable(each.value)) for each in entered], values


def _switches(entered: Sequence[Entered], stored: str | None, config: Config, file: str) -> Iterator[Entered]:
    """A section that is present is enabled: one that begins to be written keeps the state it has."""
    node = parse(stored, file) if stored is not None else None
    given = {each.setting.path for each in entered}
    for section in {each.section.name: each.section for each in entered}.values():
        switch = section.enabled
        if switch is not None and switch.path not in given and not _has(node, section.path.split(".")):
            yield Entered(section, switch, switch.value(config))


def _has(node: yaml.Node | None, path: Sequence[str]) -> bool:
    for key in path:
        values = node.value if isinstance(node, yaml.MappingNode) else ()
        node = next((value for name, value in values if name.value == key), None)
    return node is not None


def _unwritten(entered: Sequence[Entered], before: Config, after: Config, file: str) -> list[PlanProblem]:
    """Keys whose value in the edited file is not the one that was meant."""
    wanted = {each.setting.path: each.setting.default if each.value is None else each.value for each in entered}
    return [
        PlanProblem(
            setting.path, f"cannot be written into {file}, whose other parts would change with it: edit the file"
        )
        for setting in BY_PATH.values()
        if _compared(setting, wanted.get(setting.path, setting.value(before)))
        != _compared(setting, setting.value(after))
    ]


def _compared(setting: ConfigSetting, value: object) -> object:
    """A single secret is as good as a list of one."""
    return plain([value] if setting.many and not isinstance(value, list | tuple) else value)


def _enabled_path(component_ids: str | None) -> str:
    first = (component_ids or "").partition(", ")[0]
    return f"{BY_NAME[first].path}.enabled" if first in BY_NAME else ""


def _references(node: yaml.Node, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _references(value, join(path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        texts = [str(each.value) for each in node.value if isinstance(each, yaml.ScalarNode)]
        if any(map(has_reference, texts)):
            secret = path in BY_PATH and BY_PATH[path].kind == "secret"
            yield path, ", ".join(concealed(each, MASK) if secret else each for each in texts)
    elif isinstance(node, yaml.ScalarNode) and has_reference(str(node.value)):
        yield path, str(node.value)
