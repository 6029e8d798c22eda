"""Twilio's error codes: of refused calls, and of status callbacks about messages it took."""

from typing import NamedTuple

from airy.model.fact import ErrorKind

BUSY_S = 1.0
RATE_S = 10.0
QUEUE_S = 300.0  # this sender has hours of messages queued at Twilio


class CodeMeaning(NamedTuple):
    kind: ErrorKind
    again_s: float | None = None
    stop_lane: bool = False
    attempts_max: int | None = None


CODES: dict[int, CodeMeaning] = {
    **dict.fromkeys((20429, 14107, 63018, 30001, 30022), CodeMeaning("rate", RATE_S)),
    **dict.fromkeys((20003, 20005, 30002), CodeMeaning("auth", stop_lane=True)),
    **dict.fromkeys((21211, 21214, 21217, 21614, 21612, 30005, 30006, 63003, 63024), CodeMeaning("not_found")),
    **dict.fromkeys((21408, 21601, 21606, 30034, 63007, 63051, 63112), CodeMeaning("auth")),
    **dict.fromkeys((63010, 63012, 63009), CodeMeaning("provider", BUSY_S)),
    **dict.fromkeys((30003, 30008), CodeMeaning("provider", BUSY_S, attempts_max=2)),
    **dict.fromkeys((21610, 30004, 30007, 63013, 63032, 63033, 63049), CodeMeaning("blocked")),
    **dict.fromkeys((21617, 21656, 63005, 63021, 63027, 63028, 63030), CodeMeaning("invalid")),
    63019: CodeMeaning("invalid", BUSY_S, attempts_max=2),  # our media was not fetched
    21611: CodeMeaning("rate", QUEUE_S),
    30036: CodeMeaning("expired"),
    63016: CodeMeaning("window"),
}
DELIVERY_CODES = (range(30000, 31000), range(63000, 64000))  # of the network behind Twilio


def meaning_of(code: int | None) -> CodeMeaning | None:
    return None if code is None else CODES.get(code)


def unknown_code(code: int | None) -> CodeMeaning:
    """Twilio splits and renames its codes."""
    return CodeMeaning("provider" if any(code in codes for codes in DELIVERY_CODES) else "invalid")


def reported_kind(code: int | None) -> ErrorKind:
    """The kind of a failure that a status callback reports."""
    meaning = meaning_of(code)
    return "provider" if meaning is None else meaning.kind
