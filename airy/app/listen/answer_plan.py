"""Which status a receiver answers. Pure, except for the draws."""

from random import Random

from msgspec import Struct

OK = 200
UNAUTHORIZED = 401


class AnswerPlan(Struct, frozen=True, kw_only=True):
    """Failures of an endpoint: the first requests, a part of all, or every one."""

    status: int = 500  # of a failure
    always: bool = False
    first: int = 0  # requests
    rate: float = 0.0  # from 0 to 1
    delay_s: float = 0.0  # before any answer

    def answer(self, number: int, *, genuine: bool, random: Random) -> int:
        """The status for request `number`, counted from 1. One with a bad signature that does not fail is refused."""
        if self.always or number <= self.first or random.random() < self.rate:
            return self.status
        return OK if genuine else UNAUTHORIZED
