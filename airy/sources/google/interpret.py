"""Google's answer becomes an outcome: as for all of its APIs, but for 403. Pure, and never raises.

403 is about one conversation: it does not exist, or the agent has no part in it any more. One that gives a `reason`
among its details is about the caller, as elsewhere.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from airy.http_client import Response
from airy.sources import payload
from airy.sources.api import Failed, Outcome
from airy.sources.google_api import answer


def interpret(answers: Sequence[Response]) -> Outcome:
    outcome = answer.interpret(answers)
    if isinstance(outcome, Failed) and outcome.kind == "auth" and _is_of_a_conversation(answers[-1]):
        return replace(outcome, kind="not_found", stop_lane=False)
    return outcome


def _is_of_a_conversation(response: Response) -> bool:
    error = payload.record((payload.object_of(response.body) or {}).get("error"))
    details = error.get("details")
    reasons = [payload.record(each).get("reason") for each in details] if isinstance(details, list) else []
    return error.get("code") == 403 and not any(reasons)
