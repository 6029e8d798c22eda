"""How the contract of stores gets its stores."""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

from airy.store.api import Store
from tests.kit.log import Log


class StoreBasics(ABC):
    """How an engine is had. `persistent`: a store outlives its `close`."""

    persistent = True

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[Store]:
        """An open store with nothing in it."""

    async def filled(self, store: Store, log: Log, *, batch: int = 50) -> Store:
        for start in range(0, len(log.records), batch):
            applied = await store.apply(log.records[start : start + batch])
            assert applied.bad == []
        return store
