"""The reference store keeps the contract, so both engines have one meaning."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.kit.contracts.store import StoreContract
from tests.kit.reference_store import ReferenceStore


@asynccontextmanager
async def opened() -> AsyncIterator[ReferenceStore]:
    yield ReferenceStore()


class TestInDictionaries(StoreContract):
    persistent = False

    def opened(self) -> AbstractAsyncContextManager[ReferenceStore]:
        return opened()
