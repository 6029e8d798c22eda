"""Google's answer becomes an outcome: as for all of its APIs. Pure, and never raises."""

from collections.abc import Sequence

from airy.http_client import Response
from airy.sources.api import Outcome
from airy.sources.google_api import answer


def interpret(answers: Sequence[Response]) -> Outcome:
    return answer.interpret(answers)
