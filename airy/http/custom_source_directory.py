"""Finds the custom source of a token."""

from collections.abc import Awaitable, Callable
from hmac import compare_digest

from airy.commands import CustomSourceCommands
from airy.errors import Unavailable
from airy.http.auth import Caller, CallerKind
from airy.model.entity import CustomSource
from airy.permissions import PERMISSIONS, Role
from airy.store.api import EntityReader

NAME_PREFIX = "source_app:"


class CustomSourceDirectory:
    """The token of a deleted source finds its caller, which is then told that the source does not exist."""

    def __init__(
        self,
        sources: CustomSourceCommands,
        store: EntityReader,
        caught_up: Callable[[], bool],
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        self._sources = sources
        self._store = store
        self._caught_up = caught_up
        self._refresh = refresh

    async def find(self, token: bytes, /) -> Caller | None:
        source_id = self._sources.tokens.source_of(token.decode("latin-1"))
        if source_id is None:
            return None
        if not self._caught_up():
            raise Unavailable("this replica is still folding the log: retry, or ask another replica")
        source = await self._store.custom_source(source_id)
        if source is None or not self._counts(source, token):
            await self._refresh()
            source = await self._store.custom_source(source_id)
        return None if source is not None and not self._counts(source, token) else caller_of(source_id)

    def _counts(self, source: CustomSource, token: bytes) -> bool:
        tokens = [compare_digest(each.reveal().encode(), token) for each in self._sources.tokens_of(source)]
        return any(tokens)


def caller_of(source_id: str) -> Caller:
    name = f"{NAME_PREFIX}{source_id}"
    return Caller(name, PERMISSIONS[Role.SOURCE], name, CallerKind.SOURCE, {"source": source_id})
