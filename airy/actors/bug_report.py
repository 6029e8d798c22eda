"""Bugs that end one piece of work (a delivery, a send, a look-up, a check) instead of the actor that runs it.

A failed dependency (bus, store, queue) is no bug of the work: it raises `Unavailable`, `Fenced` or an error of its
library, which reaches the supervisor.
"""

from collections import Counter
from typing import Literal, get_args

import msgspec

from airy.errors import Refused

BUGS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RecursionError,
    TypeError,
    ValueError,  # and UnicodeError
    msgspec.MsgspecError,
    Refused,  # that no code closer to its cause has handled
)
"""What code raises about the values it was given, as opposed to what a dependency raises when it fails."""

BUG_REASON = "a bug in Airy ended the attempt; its log has the details"  # for subscribers and agents

BugKind = Literal["delivery", "send", "profile", "check", "media", "signal"]
BUG_KINDS: tuple[BugKind, ...] = get_args(BugKind)
BugCounts = Counter[BugKind]
