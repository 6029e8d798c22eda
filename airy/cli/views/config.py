"""The effective configuration, and what is wrong with a file."""

from typing import Any

from msgspec import Struct

from airy.cli.view import View
from airy.config_document import ConfigProblem


class ValidationRow(Struct, forbid_unknown_fields=True):
    file: str | None
    valid: bool
    problems: list[ConfigProblem]


CONFIG = View(name="config", row=dict[str, Any], fields=(), one=True)
VALIDATION = View(name="config-validation", row=ValidationRow, fields=(), one=True)
