"""Calls to providers for API callers: back-off, `Retry-After`, and limits of the whole app, in virtual time."""

from collections.abc import Iterable

import anyio
import pytest

from airy.commands.provider_calls import ProviderCalls
from airy.errors import Refused, Unavailable
from airy.secret import Secret
from airy.sources.api import AppRateLimited
from airy.sources.facebook.spec import ExplorePages
from airy.sources.provider_pauses import ProviderPauses


class Provider:
    def __init__(self, *errors: Exception | None) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        return "done"


async def explore(calls: ProviderCalls, provider: Provider, token: str = "mine") -> str:
    return await calls.make("facebook", ("explore", "facebook", ExplorePages(auth_token=Secret(token))), provider)


async def delays(calls: ProviderCalls, provider: Provider, times: Iterable[int]) -> list[float | None]:
    found = []
    for _ in times:
        with pytest.raises(Unavailable) as caught:
            await explore(calls, provider)
        found.append(caught.value.retry_after_s)
        await anyio.sleep((caught.value.retry_after_s or 0.0) + 0.01)
    return found


async def test_failures_back_off_until_a_success() -> None:
    calls, provider = ProviderCalls(ProviderPauses()), Provider(*[Unavailable("500")] * 8, None, Unavailable("500"))

    growing = await delays(calls, provider, range(8))

    assert growing == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])
    assert await explore(calls, provider) == "done"
    assert await delays(calls, provider, range(1)) == pytest.approx([1.0])


async def test_a_request_is_not_repeated_before_the_provider_allows_it_and_others_are_made() -> None:
    calls, provider = ProviderCalls(ProviderPauses()), Provider(Unavailable("busy", retry_after_s=600.0))
    with pytest.raises(Unavailable):
        await explore(calls, provider)
    await anyio.sleep(100)
    with pytest.raises(Unavailable) as caught:
        await explore(calls, provider)

    assert caught.value.retry_after_s == pytest.approx(500.0)
    assert provider.calls == 1
    assert await explore(calls, provider, "of another operator") == "done"
    await anyio.sleep(500)
    assert await explore(calls, provider) == "done"


async def test_a_limit_of_the_app_holds_back_every_request() -> None:
    calls, provider = ProviderCalls(ProviderPauses()), Provider(AppRateLimited("code 4", retry_after_s=600.0))
    for token in ("mine", "of another operator"):
        with pytest.raises(Unavailable):
            await explore(calls, provider, token)

    assert provider.calls == 1


async def test_a_refusal_holds_back_nothing() -> None:
    calls, provider = ProviderCalls(ProviderPauses()), Provider(Refused("no such page"))
    with pytest.raises(Refused):
        await explore(calls, provider)

    assert await explore(calls, provider) == "done"
