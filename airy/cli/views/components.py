"""Components, and the services they provide."""

from msgspec import Struct

from airy.cli.view import Document, Field, View


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
