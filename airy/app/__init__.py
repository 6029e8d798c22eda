"""The composition root, the only package that knows all others: `up` runs an installation, `verify` proves it."""

from airy.app.up import Running, up
from airy.app.verify import verify

__all__ = ["Running", "up", "verify"]
