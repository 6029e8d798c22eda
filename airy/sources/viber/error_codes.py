"""The statuses of Viber's answers."""

from typing import NamedTuple

from airy.model.fact import ErrorKind

AGAIN_S = 1.0
ATTEMPTS_MAX = 3
UNANSWERED_MAX = 100  # messages to one contact within an hour, until the contact answers


class StatusMeaning(NamedTuple):
    kind: ErrorKind
    again_s: float | None = None
    stop_lane: bool = False
    attempts_max: int | None = None
    advice: str = ""


RATE = 12
STATUSES: dict[int, StatusMeaning] = {
    **dict.fromkeys((1, 3, 4), StatusMeaning("invalid")),  # URL or data
    **dict.fromkeys((2, 7, 8, 9, 15), StatusMeaning("auth", stop_lane=True)),  # token, blocked or suspended bot
    5: StatusMeaning("not_found"),  # the contact has no Viber
    6: StatusMeaning("blocked"),  # not subscribed
    10: StatusMeaning("auth", stop_lane=True, advice="the bot has no webhook: connect the channel again"),
    11: StatusMeaning("not_found"),  # no device that can show it
    RATE: StatusMeaning(
        "rate",
        AGAIN_S,
        attempts_max=ATTEMPTS_MAX,
        advice=f"after {UNANSWERED_MAX} messages within an hour the contact has to answer first",
    ),
    **dict.fromkeys((13, 14), StatusMeaning("invalid")),  # version of the API or of the contact's app
    **dict.fromkeys((16, 17, 18), StatusMeaning("invalid")),  # inline and public chats
    **dict.fromkeys((19, 20), StatusMeaning("invalid")),  # broadcasts
    21: StatusMeaning("blocked"),  # not in the contact's country
    22: StatusMeaning("invalid"),  # payments
    **dict.fromkeys((23, 24), StatusMeaning("auth", advice="the bot's free messages or its balance are used up")),
}
OTHER = StatusMeaning("provider", AGAIN_S, attempts_max=ATTEMPTS_MAX)


def meaning_of(status: int) -> StatusMeaning:
    return STATUSES.get(status, OTHER)
