"""The Send API's answer becomes an outcome."""

from collections.abc import Sequence

from airy.http_client import Response
from airy.sources.api import Outcome
from airy.sources.meta import answer


def interpret(answers: Sequence[Response]) -> Outcome:
    return answer.interpret(answers[-1], "messenger")
