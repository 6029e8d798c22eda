"""The store contract: the conversations of a participant's names."""

from airy.model.identity import IdentityKey
from tests.kit.builders import START_MS, Chat, channel
from tests.kit.contracts.store_basics import StoreBasics
from tests.kit.log import Log


class IdentitiesContract(StoreBasics):
    async def test_a_name_leads_to_the_conversation_it_derives_from_then_to_those_it_is_an_alias_of(self) -> None:
        first, second, third = Chat(1), Chat(2), Chat(3)
        log = Log()
        log.append(
            channel(),
            first.received("a"),
            third.received("a"),
            third.identified("shared", first.participant_id, at_ms=START_MS + 1),
            second.identified("shared", at_ms=START_MS),
        )

        def key(name: str) -> IdentityKey:
            return IdentityKey(first.channel_id, name)

        wanted = {
            key("shared"): (second.conversation_id, third.conversation_id),
            key(first.participant_id): (first.conversation_id, third.conversation_id),
            key(third.participant_id): (third.conversation_id,),
        }
        asked = [*wanted, key("unknown"), key(second.participant_id), IdentityKey("another channel", "shared")]
        async with self.opened() as store:
            await self.filled(store, log)
            assert await store.conversations_of(asked) == wanted

    async def test_an_alias_that_is_dropped_is_not_found_any_more(self) -> None:
        chat = Chat()
        log = Log()
        log.append(channel(), chat.received("a"), *(chat.identified(f"n{number}") for number in range(65)))
        keys = [IdentityKey(chat.channel_id, name) for name in ("n0", "n1")]
        async with self.opened() as store:
            await self.filled(store, log)
            assert list(await store.conversations_of(keys)) == keys[1:]
