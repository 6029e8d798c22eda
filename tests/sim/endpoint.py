"""A webhook endpoint behind the outbound HTTP port that records deliveries and fails by seed."""

from collections.abc import Mapping
from random import Random

import anyio
import msgspec
from msgspec import Struct

from airy.http_client import ConnectFailed, Response, ResponseLost


class ReceivedDelivery(Struct, frozen=True):
    event_id: str
    body: bytes
    headers: dict[str, str]


class SimulatedEndpoint:
    """`failure_rate` is the fraction of requests that fail, in one of the ways endpoints fail. `badly_framed_rate` is
    the fraction of answers, of any status, whose body is badly framed or does not end. `slow_rate` is the fraction of
    requests, of any outcome, that take `slow_s` longer.
    """

    def __init__(
        self,
        random: Random,
        *,
        failure_rate: float = 0.2,
        badly_framed_rate: float = 0.0,
        slow_rate: float = 0.0,
        slow_s: float = 0.0,
    ) -> None:
        self._random = random
        self._slow_rate = slow_rate
        self._slow_s = slow_s
        self.failure_rate = failure_rate
        self.badly_framed_rate = badly_framed_rate
        self.accepted: list[ReceivedDelivery] = []  # in the order they were taken, lost answers included
        self.answered: list[ReceivedDelivery] = []  # those whose 2xx arrived
        self.requests = 0

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        connect_s: float = 5.0,
        total_s: float = 15.0,
        body_bytes_max: int = 1_048_576,
    ) -> Response:
        assert method == "POST", url
        self.requests += 1
        lower = {name.lower(): value for name, value in headers.items()}
        received = ReceivedDelivery(lower["webhook-id"], body or b"", lower)
        await anyio.sleep(self._random.choice((0.001, 0.01, 0.1, 1.0)))
        if self._random.random() < self._slow_rate:
            await anyio.sleep(self._slow_s)
        response = self._respond(received)
        if self._random.random() < self.badly_framed_rate:
            raise ResponseLost("the answer is incomplete or badly framed", received=response)
        return response

    def _respond(self, received: ReceivedDelivery) -> Response:
        if self._random.random() >= self.failure_rate:
            return self._take(received)
        match self._random.randrange(6):
            case 0:
                raise ConnectFailed("connection refused")
            case 1:
                self.accepted.append(received)  # acted, and the answer was lost
                raise ResponseLost("no answer in time")
            case 2:
                raise ResponseLost("connection reset")
            case 3:
                return Response(429, {"retry-after": "3"}, b"")
            case 4:
                return Response(503, {}, b"busy")
            case _:
                return Response(302, {"location": "http://169.254.169.254/"}, b"")

    def _take(self, received: ReceivedDelivery) -> Response:
        self.accepted.append(received)
        self.answered.append(received)
        return Response(200, {}, b"")


def payload_of(received: ReceivedDelivery) -> dict[str, object]:
    return msgspec.json.decode(received.body, type=dict[str, object])
