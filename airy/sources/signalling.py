"""Makes the calls of a signal: that a message was read, or that an answer is being written.

A signal is worth one attempt: no caller waits for it, and what was not shown once says nothing later.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from airy.errors import Refused
from airy.http_client import HttpClient
from airy.sources import calling
from airy.sources.abilities import Signals, TokenExchange
from airy.sources.api import Call, Target
from airy.sources.spec import SourceSpec

CALL_S = 5.0


class Specified(Protocol):
    """A source, of which a kind declares the signal."""

    spec: SourceSpec


async def signal(
    client: HttpClient,
    source: Specified,
    target: Target,
    calls: Callable[[Signals, Target], Sequence[Call]],
    now_ms: int,
) -> None:
    """Raises `Refused`, with the status of an answer that is no success, and `Unavailable`."""
    if source.spec.token_exchange:
        exchange: TokenExchange = source  # type: ignore[assignment]  # the specification declares it
        target = await exchange.authorize(client, target, now_ms)
    signals: Signals = source  # type: ignore[assignment]  # the kind declares it
    for call in calls(signals, target):
        answer = await calling.call(client, call, total_s=CALL_S)
        if not 200 <= answer.status < 300:
            raise Refused(f"{call.host} answers {answer.status}")
