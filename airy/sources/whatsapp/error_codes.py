"""WhatsApp's error codes: of refused calls, and of statuses about messages it took."""

from typing import NamedTuple

from airy.model.fact import ErrorKind

BUSY_S = 1.0
BUSY_ATTEMPTS_MAX = 3
THROUGHPUT_S = 2.0
PAIR_S = 6.0  # one message to one contact, on average
UPGRADE_S = 60.0
RATE_S = 60.0
RESTRICTED_S = 3_600.0
MARKETING_STOPPED = "131050"
APP_RATE_CODES = frozenset({4})


class ErrorMeaning(NamedTuple):
    """`contact_only`: other contacts of the number are not concerned."""

    kind: ErrorKind
    again_s: float | None = None
    stop_lane: bool = False
    attempts_max: int | None = None
    contact_only: bool = False


_BAD_TOKEN = ErrorMeaning("auth", stop_lane=True)
_LOCKED = ErrorMeaning("auth", RESTRICTED_S, stop_lane=True)
_MEDIA = ErrorMeaning("invalid", BUSY_S, attempts_max=2)

CODES: dict[int, ErrorMeaning] = {
    **dict.fromkeys((3, 10, *range(200, 300), 131005), ErrorMeaning("auth")),  # a good token without the permission
    **dict.fromkeys((0, 102, 190, 463, 467), _BAD_TOKEN),
    **dict.fromkeys((133010, 131045), _BAD_TOKEN),  # the number is not registered
    **dict.fromkeys((131042, 134011), _BAD_TOKEN),  # payment: templates are refused, and an operator has to act
    **dict.fromkeys((131031, 368, 130497, 131037), _LOCKED),  # the account, its countries or its display name
    **dict.fromkeys((4, 80007), ErrorMeaning("rate", RATE_S)),
    130429: ErrorMeaning("rate", THROUGHPUT_S),
    133016: ErrorMeaning("rate", RESTRICTED_S),  # of registering
    131056: ErrorMeaning("rate", PAIR_S, contact_only=True),
    **dict.fromkeys(
        (131048, 131064), ErrorMeaning("rate", RESTRICTED_S, contact_only=True)
    ),  # what is sent, not the rest
    **dict.fromkeys((1, 2, 131016, 133004), ErrorMeaning("provider", BUSY_S)),
    131000: ErrorMeaning("provider", BUSY_S, attempts_max=BUSY_ATTEMPTS_MAX),
    **dict.fromkeys((131057, 2494100), ErrorMeaning("provider", UPGRADE_S)),
    131047: ErrorMeaning("window"),
    **dict.fromkeys((131026, 131030), ErrorMeaning("not_found")),
    **dict.fromkeys((130403, 131049, 130472, 131050, 137000), ErrorMeaning("blocked")),
    **dict.fromkeys((131052, 131053), _MEDIA),
    **dict.fromkeys((33, 100, 131008, 131009, 131021, 135000), ErrorMeaning("invalid")),
    **dict.fromkeys((131051, 131060, 131062, 131063, 131055, 134100, 134101, 134102), ErrorMeaning("invalid")),
    **dict.fromkeys((132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016, 132018), ErrorMeaning("invalid")),
    **dict.fromkeys((132068, 132069), ErrorMeaning("invalid")),
    **dict.fromkeys((131020, 131041, *range(131200, 131300)), ErrorMeaning("invalid")),  # of groups
    **dict.fromkeys((2593107, 2593108, 2593109), ErrorMeaning("invalid")),  # of the history of a phone's app
    **{code: ErrorMeaning("auth") for code in range(133000, 133016) if code not in {133004, 133010}},  # of registering
}
STATUSES: dict[int, ErrorMeaning] = {  # where the answer holds no Graph error
    401: _BAD_TOKEN,
    403: ErrorMeaning("auth"),
    408: ErrorMeaning("provider", BUSY_S),
    413: ErrorMeaning("invalid"),
    429: ErrorMeaning("rate", RATE_S),
    503: ErrorMeaning("provider", BUSY_S),
}


def reported_kind(code: str) -> ErrorKind:
    """The kind of a failure that a status reports."""
    meaning = CODES.get(int(code)) if code.isdigit() else None
    return "provider" if meaning is None else meaning.kind
