"""Schemas of the answers of `/components.*`; see `airy.http.response_schemas`."""

from typing import Any, Literal

from msgspec import Struct

from airy.live_config.settings import SettingKind


class SettingSchema(Struct, forbid_unknown_fields=True):
    key: str
    path: str
    kind: SettingKind
    value: Any  # of secrets and references null
    reference: str | None  # as it is written
    is_set: bool  # whether it has another value than the default
    default: Any
    description: str
    required: bool
    unit: str | None
    minimum: float | None
    maximum: float | None
    choices: list[str]
    overridden_by: str | None  # the variable that sets it
    fixed: str | None  # why it cannot be changed at runtime


class ComponentSchema(Struct, forbid_unknown_fields=True):
    name: str
    path: str
    summary: str
    state: Literal["ready", "not_ready", "not_running", "disabled"] | None
    processes: int
    ready: int
    settings: list[SettingSchema]


class LastConfigChangeSchema(Struct, forbid_unknown_fields=True):
    at: str
    state: Literal["reloading", "applied", "reverted"]
    problem: str | None


class ComponentListSchema(Struct, forbid_unknown_fields=True):
    file: str
    refused: str | None  # why nothing can be changed here
    last_change: LastConfigChangeSchema | None
    data: list[ComponentSchema]


class ComponentValuesSchema(Struct, forbid_unknown_fields=True):
    components: dict[str, dict[str, str]]


class ConfigDifferenceSchema(Struct, forbid_unknown_fields=True):
    component: str
    path: str
    before: str | None
    after: str | None
    secret: bool


class ConfigProblemSchema(Struct, forbid_unknown_fields=True):
    path: str
    message: str


class ProcessToRestartSchema(Struct, forbid_unknown_fields=True):
    instance: str
    url: str | None
    components: list[str]


class ComponentPlanSchema(Struct, forbid_unknown_fields=True):
    fingerprint: str
    differences: list[ConfigDifferenceSchema]
    problems: list[ConfigProblemSchema]
    refused: str | None
    restarts: list[str]  # components of the process that answers
    restart_by_hand: list[ProcessToRestartSchema]


class ComponentOutcomeSchema(Struct, forbid_unknown_fields=True):
    component: str
    result: Literal["applied", "unchanged"]


class AppliedComponentsSchema(Struct, forbid_unknown_fields=True):
    components: dict[str, bool]
    data: list[ComponentOutcomeSchema]
    reloading: bool
    restarts: list[str]
    restart_by_hand: list[ProcessToRestartSchema]
