"""Components, the services they provide, and the configuration."""

from msgspec import Struct

from airy.cli.view import Document, Field, View
from airy.http.component_schemas import ConfigDifferenceSchema, SettingSchema
from airy.secret import MASK


class SettingRow(SettingSchema, forbid_unknown_fields=True):
    section: str


class ServiceRow(Struct, forbid_unknown_fields=True):
    """`healthy`: whether a process is ready that runs the component."""

    service: str
    component: str
    enabled: bool
    healthy: bool


def _state(row: Document) -> str:
    if not row["enabled"]:
        return "disabled"
    return "ready" if row["healthy"] else "not ready"


COMPONENTS = View(
    name="components",
    row=ServiceRow,
    fields=(
        Field("COMPONENT", "component"),
        Field("SERVICE", "service"),
        Field("STATE", _state, styles={"ready": "green", "not ready": "red", "disabled": "bright_black"}),
    ),
    what="components",
    order=lambda row: (row["component"], row["service"]),
)


def _value(setting: Document) -> object:
    if setting["kind"] == "secret" and setting["is_set"] and not setting["reference"]:
        return MASK
    return setting["reference"] or setting["value"]


def _locked(setting: Document) -> object:
    return f"set by {setting['overridden_by']}" if setting["overridden_by"] else setting["fixed"]


SETTINGS = View(
    name="settings",
    row=SettingRow,
    fields=(
        Field("SECTION", "section"),
        Field("KEY", "key"),
        Field("VALUE", _value, chars_max=48),
        Field("DEFAULT", "default", chars_max=40),
        Field("CHANGED ELSEWHERE", _locked, chars_max=60),
    ),
    what="settings with another value than their default",
)
DIFFERENCES = View(
    name="config-differences",
    row=ConfigDifferenceSchema,
    fields=(
        Field("KEY", "path"),
        Field("BEFORE", "before", chars_max=60),
        Field("AFTER", "after", chars_max=60),
    ),
    what="differences: nothing changes",
)
