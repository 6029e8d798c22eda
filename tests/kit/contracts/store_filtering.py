"""The store contract: filters."""

import pytest

from airy.errors import Refused
from airy.model import ids
from tests.kit.contracts.store_basics import StoreBasics
from tests.kit.filter_cases import ADA, CHATS, REFUSED_FILTERS, filter_cases, filter_log
from tests.kit.store import (
    listed,
)


class FilteringContract(StoreBasics):
    """The filter language over five contacts."""

    @pytest.mark.parametrize(("filters", "expected"), filter_cases(), ids=lambda text: text[:60])
    async def test_a_filter_matches_exactly_these_contacts(self, filters: str, expected: str) -> None:
        names = {chat.conversation_id: name for name, chat in CHATS.items()}
        async with self.opened() as store:
            await self.filled(store, filter_log())
            page = await store.conversations(filters=filters, cursor=None, page_size=50)
            assert sorted(names[found] for found in listed(page)) == sorted(expected.split())
            assert page.total == len(expected.split())
            assert page.complete

    @pytest.mark.parametrize(("filters", "named"), REFUSED_FILTERS, ids=lambda text: text[:30])
    async def test_unsupported_syntax_is_refused_by_name(self, filters: str, named: str) -> None:
        async with self.opened() as store:
            with pytest.raises(Refused, match=named) as refused:
                await store.conversations(filters=filters, cursor=None, page_size=5)
            assert refused.value.field == "filters"

    async def test_a_filter_may_have_many_clauses(self) -> None:
        async with self.opened() as store:
            await self.filled(store, filter_log())
            names = " ".join(f"display_name:*{number}x*" for number in range(900))
            found = await store.conversations(filters=f"{names} display_name:ada", cursor=None, page_size=5)
            assert listed(found) == [ADA.conversation_id]
            ids_ = " OR ".join(ids.derive("x", str(number)) for number in range(1000))
            found = await store.conversations(filters=f"id:({ids_} OR {ADA.conversation_id})", cursor=None, page_size=5)
            assert listed(found) == [ADA.conversation_id]
