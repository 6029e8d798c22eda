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

    async def test_each_filter_matches_exactly_its_contacts(self) -> None:
        names = {chat.conversation_id: name for name, chat in CHATS.items()}
        found = {}
        async with self.opened() as store:
            await self.filled(store, filter_log())
            for filters, _ in filter_cases():
                page = await store.conversations(filters=filters, cursor=None, page_size=50)
                found[filters] = (sorted(names[one] for one in listed(page)), page.total, page.complete)
        assert found == {
            filters: (sorted(expected.split()), len(expected.split()), True) for filters, expected in filter_cases()
        }

    async def test_unsupported_syntax_is_refused_by_name(self) -> None:
        async with self.opened() as store:
            for filters, named in REFUSED_FILTERS:
                with pytest.raises(Refused, match=named) as refused:
                    await store.conversations(filters=filters, cursor=None, page_size=5)
                assert refused.value.field == "filters", filters

    async def test_a_filter_may_have_many_clauses(self) -> None:
        async with self.opened() as store:
            await self.filled(store, filter_log())
            names = " ".join(f"display_name:*{number}x*" for number in range(900))
            found = await store.conversations(filters=f"{names} display_name:ada", cursor=None, page_size=5)
            assert listed(found) == [ADA.conversation_id]
            ids_ = " OR ".join(ids.derive("x", str(number)) for number in range(1000))
            found = await store.conversations(filters=f"id:({ids_} OR {ADA.conversation_id})", cursor=None, page_size=5)
            assert listed(found) == [ADA.conversation_id]
