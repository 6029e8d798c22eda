"""The base of the store contract: opening and filling a store."""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

from airy.store.api import Store
from tests.kit.log import Log


class StoreBasics(ABC):
    """Defined per engine. `persistent`: the data outlives `close`."""

    persistent = True

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[Store]:
        """An open, empty store."""

    async def filled(self, store: Store, log: Log, *, batch: int = 50) -> Store:
        for start in range(0, len(log.records), batch):
            applied = await store.apply(log.records[start : start + batch])
            assert applied.unprocessable == []
        return store
