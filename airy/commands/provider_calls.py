"""Calls to providers that API callers ask for, such as connecting a channel.

A request that failed because the provider is busy or unreachable is answered without a call until its back-off and the
provider's `Retry-After` are over; a limit of our whole app holds back every call of the source. The caller is told for
how long.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from math import ceil
from typing import TypeVar

import msgspec
from msgspec import Struct

from airy.errors import Unavailable
from airy.secret import Secret
from airy.sources.api import AppRateLimited
from airy.sources.provider_pauses import ProviderPauses

R = TypeVar("R")


class ProviderCalls:
    def __init__(self, pauses: ProviderPauses) -> None:
        self._pauses = pauses

    async def make(self, source: str, request: tuple[str, str, Struct], call: Callable[[], Awaitable[R]]) -> R:
        """Raises what `call` raises, an `Unavailable` always with its `retry_after_s`."""
        name = _name(request)
        wait_s = max(self._pauses.resumes_in_s(source), self._pauses.resumes_in_s(name))
        if wait_s:
            message = f"{source} asked for fewer calls, or could not answer: nothing is asked for {ceil(wait_s)} s"
            raise Unavailable(message, retry_after_s=wait_s)
        try:
            result = await call()
        except AppRateLimited as error:
            self._pauses.pause(source, error.retry_after_s or 0.0)
            raise
        except Unavailable as error:
            raise Unavailable(str(error), retry_after_s=self._pauses.failed(name, error.retry_after_s)) from error
        self._pauses.succeeded(name)
        return result


def _name(request: tuple[str, str, Struct]) -> str:
    """Equal for equal requests; a digest, because a form holds credentials."""
    verb, kind, form = request
    fields = {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in msgspec.structs.asdict(form).items()
    }
    return sha256(msgspec.json.encode([verb, kind, fields])).hexdigest()
