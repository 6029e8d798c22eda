"""The composition root, the only package that imports all others: `up` runs Airy, `verify` checks its stores."""

from airy.app.up import RunningSystem, up
from airy.app.verify import verify

__all__ = ["RunningSystem", "up", "verify"]
