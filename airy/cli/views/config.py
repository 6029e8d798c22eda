"""The effective configuration."""

from typing import Any

from airy.cli.view import View

CONFIG = View(name="config", row=dict[str, Any], fields=(), one=True)
