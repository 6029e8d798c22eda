"""Custom sources over HTTP: as the original's own tests expect them, and where a source makes mistakes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from msgspec import Struct

from airy import topics
from airy.egress import PUBLIC_ONLY
from airy.model import ids
from airy.model.fact import MessageQueued, SendStarted
from airy.sources.custom.batch import ITEMS_MAX
from tests.kit.api import JWT_SECRET
from tests.kit.builders import START_MS, Chat, channel, raw
from tests.kit.conformance import Installation, installation
from tests.kit.jwt import signed_token, token_claims

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

SOURCE, DESK = "crm-bridge", "ch-1"
MESSAGE = {
    "source_message_id": "m-0001",
    "source_conversation_id": "c-0001",
    "source_channel_id": DESK,
    "source_sender_id": "customer-88",
    "content": {"text": "Where is my order?"},
    "from_contact": True,
    "sent_at": "2025-01-01T00:00:00.000Z",
}
PROFILE = {
    "namespace": "conversation",
    "source_id": "c-0001",
    "metadata": {"contact": {"display_name": "Ines Kuhn"}, "tier": 3, "open": [1, "a"]},
}
CONVERSATION_ID = "fcad8696-09af-599f-be13-a45f069af5b9"  # of the reference's vectors
MESSAGE_ID = "c360e589-4c14-5826-9533-cf88c10b841c"
CHANNEL_ID = "dd15b97a-7560-500d-95f0-529c59a53fc5"


class Bridge(Struct):
    """A custom source with its token."""

    airy: Installation
    token: str

    async def call(self, path: str, body: object = None, status: int = 200, **headers: str) -> Any:
        return await self.airy.call(path, body, status, **({"Authorization": f"Bearer {self.token}"} | headers))

    async def ingest(self, status: int = 200, **sections: object) -> Any:
        return await self.call("sources.webhook", sections, status)

    async def refused(self, **sections: object) -> str:
        """The field that is at fault; nothing was appended."""
        before = len(await self.airy.api.records(topics.EVENTS))
        answer = await self.ingest(400, **sections)
        assert len(await self.airy.api.records(topics.EVENTS)) == before
        return str(answer["fields"][0]["field"])

    async def conversation(self) -> Any:
        return await self.airy.call("conversations.info", {"conversation_id": CONVERSATION_ID})

    async def messages(self) -> list[Any]:
        return list((await self.airy.call("messages.list", {"conversation_id": CONVERSATION_ID}))["data"])


@asynccontextmanager
async def bridge(**options: Any) -> AsyncIterator[Bridge]:
    async with installation(**options) as airy:
        made = await airy.call("sources.create", {"source_id": SOURCE, "name": "CRM"})
        it = Bridge(airy, made["token"])
        created = await it.call("sources.channels.create", {"source_channel_id": DESK, "name": "Desk"}, 201)
        assert created["id"] == CHANNEL_ID
        yield it


async def test_src_1_r1_r2_a_source_is_created_with_a_token_that_makes_its_channels() -> None:
    async with installation() as airy:
        made = await airy.call("sources.create", {"source_id": SOURCE, "image_url": "https://x.y/z.png"})
        assert made == {
            "source_id": SOURCE,
            "name": None,
            "image_url": "https://x.y/z.png",
            "action_endpoint": None,
            "token": made["token"],
        }
        assert (await airy.call("sources.list"))["data"] == [{**made, "token": None}]
        assert await airy.call("sources.info", {"source_id": SOURCE}) == {**made, "token": None}
        await airy.call("sources.create", {"source_id": SOURCE}, 409)
        await airy.call("sources.create", {"source_id": "twilio.sms"}, 409)
        body = {"source_channel_id": DESK, "name": "Desk", "metadata": {"region": {"code": "eu"}}}
        await airy.call("sources.channels.create", body, 403, Authorization="")
        await airy.call("sources.channels.create", body, 403)
        made_by = Bridge(airy, made["token"])
        created = await made_by.call("sources.channels.create", body, 201)
        assert (created["id"], created["source"], created["source_channel_id"]) == (CHANNEL_ID, SOURCE, DESK)
        assert created["metadata"] == {"name": "Desk", "region": {"code": "eu"}}
        assert (await made_by.call("sources.channels.list"))["data"] == [created]
        [listed] = (await airy.call("channels.list", {"source": SOURCE}))["data"]
        assert listed == {**listed, **created}


async def test_src_2_r3_r4_a_batch_brings_in_messages_and_metadata_or_is_refused_by_field() -> None:
    async with bridge() as it:
        wrong = {"namespace": "channel", "source_id": "x", "metadata": {}}
        assert await it.refused(messages=[MESSAGE], metadata=[wrong]) == "metadata[0].namespace"
        about = {"namespace": "message", "source_id": "m-0001", "metadata": {"priority": True}}
        answer = await it.ingest(messages=[MESSAGE], metadata=[PROFILE, about])
        assert answer == {
            "messages": [{"source_message_id": "m-0001", "message_id": MESSAGE_ID, "conversation_id": CONVERSATION_ID}]
        }
        conversation = await it.conversation()
        assert conversation["channel"]["id"] == CHANNEL_ID
        assert conversation["metadata"]["contact"]["display_name"] == "Ines Kuhn"
        assert (conversation["metadata"]["tier"], conversation["metadata"]["open"]) == (3, [1, "a"])
        (message,) = await it.messages()
        assert (message["id"], message["source"], message["from_contact"]) == (MESSAGE_ID, SOURCE, True)
        assert (message["sent_at"], message["delivery_state"]) == ("2025-01-01T00:00:00.000Z", "delivered")
        assert message["sender"]["id"] == "customer-88"
        assert message["canonical"] == [{"type": "text", "text": "Where is my order?"}]
        assert message["metadata"]["priority"] is True
        (found,) = (await it.airy.call("conversations.list", {"filters": f"source:({SOURCE})"}))["data"]
        assert found["id"] == CONVERSATION_ID


async def test_five_deliveries_at_once_and_one_more_are_one() -> None:
    async with bridge() as it:
        batch = {"messages": [MESSAGE], "metadata": [PROFILE]}
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(lambda: it.ingest(**batch))
        version = (await it.conversation())["metadata"]
        before = len(await it.airy.api.records(topics.EVENTS))
        await it.ingest(**batch)
        assert len(await it.airy.api.records(topics.EVENTS)) == before
        assert len(await it.messages()) == 1
        assert version["unread_count"] == 1
        position = await it.airy.post("sources.webhook", batch, Authorization=f"Bearer {it.token}")
        assert position.status == 200


async def test_metadata_goes_back_to_an_older_value() -> None:
    async with bridge() as it:
        await it.ingest(messages=[MESSAGE])
        for name in ("Ines", "Ada", "Ines", "Ada"):
            metadata = {"contact": {"display_name": name}, "stage": name}
            await it.ingest(metadata=[{"namespace": "conversation", "source_id": "c-0001", "metadata": metadata}])
            found = (await it.conversation())["metadata"]
            assert (found["contact"]["display_name"], found["stage"]) == (name, name)


async def test_a_message_that_is_brought_in_again_with_other_content_is_edited() -> None:
    async with bridge() as it:
        for text in ("one", "two", "one", "two"):
            await it.ingest(messages=[{**MESSAGE, "content": text}])
            (message,) = await it.messages()
            assert message["content"] == text
            assert message["canonical"] == [{"type": "text", "text": text}]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sent_at": "yesterday"}, "messages[1].sent_at"),
        ({"sent_at": "2025-01-01T00:00:00"}, "messages[1].sent_at"),
        ({"sent_at": True}, "messages[1].sent_at"),
        ({"sent_at": 4_102_444_800_000}, "messages[1].sent_at"),
        ({"content": None}, "messages[1].content"),
        ({"content": {"canonical": {"type": "media"}}}, "messages[1].content.canonical"),
        ({"source_sender_id": ""}, "messages[1].source_sender_id"),
        ({"source_channel_id": "ch-2"}, "messages[1].source_channel_id"),
        ({"source_channel_id": "other"}, "messages[1].source_channel_id"),
        ({"source_message_id": "m-0001"}, "messages[1].source_message_id"),
        ({"from_contact": "perhaps"}, "messages[1].from_contact"),
    ],
)
async def test_a_batch_with_one_mistake_appends_nothing(change: dict[str, object], field: str) -> None:
    async with bridge() as it:
        await it.call("sources.channels.create", {"source_channel_id": "other", "name": "Other"}, 201)
        second = {**MESSAGE, "source_message_id": "m-0002", "content": "second", **change}
        assert await it.refused(messages=[MESSAGE, second]) == field


async def test_a_batch_refers_to_what_exists_and_is_bounded() -> None:
    async with bridge() as it:
        nowhere = {"source_conversation_id": "c-9", "source_message_id": "m-9"}
        assert await it.refused(metadata=[{**PROFILE, "source_id": "c-9"}]) == "metadata[0].source_id"
        assert await it.refused(metadata=[{**PROFILE, "namespace": "message"}]) == "metadata[0].source_id"
        assert await it.refused(receipts=[{**nowhere, "state": "read"}]) == "receipts[0].source_conversation_id"
        assert await it.refused(deletions=[nowhere]) == "deletions[0].source_conversation_id"
        await it.ingest(messages=[MESSAGE])
        reserved = {**PROFILE, "metadata": {"tags": {"x": 1}}}
        assert await it.refused(metadata=[reserved]) == "metadata[0].metadata.tags.x"
        assert await it.refused(messages=[MESSAGE] * (ITEMS_MAX + 1)) == "messages"
        elsewhere = {**MESSAGE, "source_conversation_id": "c-0002"}
        assert await it.refused(messages=[elsewhere]) == "messages[0].source_message_id"


async def test_a_source_cannot_reach_what_belongs_to_another() -> None:
    async with bridge() as it:
        await it.ingest(messages=[MESSAGE])
        rival = Bridge(it.airy, (await it.airy.call("sources.create", {"source_id": "crm"}))["token"])
        await rival.call("sources.channels.create", {"source_channel_id": DESK, "name": "Rival"}, 201)
        assert (await rival.call("sources.channels.disconnect", {"channel_id": CHANNEL_ID}, 403))["fields"]
        taken = {**MESSAGE, "source_message_id": "m-2", "source_conversation_id": "-bridgec-0001"}
        assert ids.derive("crm", taken["source_conversation_id"]) == CONVERSATION_ID
        assert await rival.refused(messages=[taken]) == "messages[0].source_conversation_id"
        taken = {**PROFILE, "source_id": "-bridgec-0001"}
        assert await rival.refused(metadata=[taken]) == "metadata[0].source_id"
        await it.airy.api.append(channel())
        await it.call("sources.channels.disconnect", {"channel_id": Chat().channel_id}, 403)
        for path in ("conversations.list", "messages.list", "sources.list", "channels.list", "sources.create"):
            await it.call(path, {}, 403)


async def test_messages_of_others_receipts_reactions_and_deletions_are_brought_in() -> None:
    async with bridge() as it:
        ours = {**MESSAGE, "source_message_id": "m-2", "source_sender_id": "ada", "from_contact": False}
        await it.ingest(messages=[MESSAGE, ours])
        reference = {"source_conversation_id": "c-0001", "source_message_id": "m-2"}
        liked = {"source_conversation_id": "c-0001", "source_message_id": "m-0001", "source_sender_id": "customer-88"}
        await it.ingest(
            receipts=[{**reference, "state": "read"}],
            reactions=[{**liked, "emoji": "👍", "sent_at": START_MS}],
        )
        answer, question = await it.messages()
        assert (answer["from_contact"], answer["sender"]["id"]) == (False, "ada")
        assert answer["metadata"]["source"]["delivery_state"] == "read"
        assert question["metadata"]["reaction"]["emoji"] == "👍"
        await it.ingest(reactions=[{**liked, "sent_at": START_MS + 1}], deletions=[reference])
        (left,) = await it.messages()
        assert "reaction" not in left["metadata"]


async def test_a_receipt_settles_a_message_that_the_source_took_without_an_id() -> None:
    async with bridge() as it:
        await it.ingest(messages=[MESSAGE])
        message_id = ids.derive("answer")
        base: dict[str, Any] = {
            "conversation_id": CONVERSATION_ID,
            "channel_id": CHANNEL_ID,
            "source": SOURCE,
            "at_ms": START_MS,
            "message_id": message_id,
        }
        await it.airy.api.append(
            MessageQueued(id=ids.derive("q"), sender_id="ada", content=raw({"text": "Here."}), **base),
            SendStarted(id=ids.derive("s"), attempt=1, worker="w", **base),
        )
        receipt = {"source_conversation_id": "c-0001", "message_id": message_id, "source_message_id": "m-9"}
        await it.ingest(receipts=[{**receipt, "state": "delivered"}])
        (answer, _) = await it.messages()
        assert answer["metadata"]["source"] == {"id": "m-9", "delivery_state": "delivered"}
        assert await it.refused(receipts=[{**receipt, "message_id": MESSAGE_ID[::-1], "state": "read"}])


async def test_a_disconnected_channel_takes_nothing_until_it_is_created_again() -> None:
    async with bridge() as it:
        await it.call("sources.channels.disconnect", {"channel_id": CHANNEL_ID}, 204)
        await it.call("sources.channels.disconnect", {"channel_id": CHANNEL_ID}, 204)
        assert (await it.call("sources.channels.list"))["data"] == []
        assert await it.refused(messages=[MESSAGE]) == "messages[0].source_channel_id"
        again = await it.call("sources.channels.create", {"source_channel_id": DESK, "name": "Desk"}, 201)
        assert again["id"] == CHANNEL_ID
        await it.ingest(messages=[MESSAGE])
        await it.airy.call("channels.custom.disconnect", {"channel_id": CHANNEL_ID}, 204)
        assert (await it.call("sources.channels.list"))["data"] == []


async def test_a_deleted_source_is_gone_and_its_token_opens_no_later_one() -> None:
    async with bridge() as it:
        await it.ingest(messages=[MESSAGE])
        await it.airy.call("sources.delete", {"source_id": SOURCE}, 202)
        await it.airy.call("sources.delete", {"source_id": SOURCE}, 202)
        assert (await it.airy.call("channels.list"))["data"] == []
        assert len(await it.messages()) == 1
        for path, body in (
            ("sources.channels.list", None),
            ("sources.channels.create", {"source_channel_id": DESK, "name": "Desk"}),
            ("sources.channels.disconnect", {"channel_id": CHANNEL_ID}),
            ("sources.webhook", {"messages": [MESSAGE]}),
        ):
            await it.call(path, body, 404)
        again = await it.airy.call("sources.create", {"source_id": SOURCE})
        assert again["token"] != it.token
        await it.call("sources.channels.list", None, 403)


async def test_tokens_of_the_original_open_the_source_that_exists() -> None:
    async with bridge() as it:
        for source_id, status in ((SOURCE, 200), ("gone", 404)):
            token = signed_token(token_claims(f"source_app:{source_id}", {"source": source_id}), JWT_SECRET)
            await Bridge(it.airy, token).call("sources.channels.list", None, status)
        forged = signed_token(token_claims(f"source_app:{SOURCE}", {"source": SOURCE}), JWT_SECRET[::-1])
        await Bridge(it.airy, forged).call("sources.channels.list", None, 403)


async def test_a_token_is_rotated_without_a_gap() -> None:
    async with bridge() as it:
        rotate = {"source_id": SOURCE}
        tokens = [it.token, *[(await it.airy.call("sources.rotate-token", rotate))["token"] for _ in range(2)]]
        first, second, third = (Bridge(it.airy, token) for token in tokens)
        await first.call("sources.channels.list", None, 403)
        await second.call("sources.channels.list")
        await third.call("sources.channels.list")
        sealed = b"".join(record.value or b"" for record in await it.airy.api.records(topics.CUSTOM_SOURCES))
        assert [token for token in tokens if token.encode() in sealed] == []


async def test_what_is_updated_changes_and_what_is_not_given_stays() -> None:
    async with bridge(egress_policy=PUBLIC_ONLY) as it:
        call = it.airy.call
        changed = await call("sources.update", {"source_id": SOURCE, "action_endpoint": "https://crm.example.com/act"})
        assert (changed["name"], changed["action_endpoint"]) == ("CRM", "https://crm.example.com/act")
        changed = await call("sources.update", {"source_id": SOURCE, "action_endpoint": "", "name": "Desk"})
        assert (changed["name"], changed["action_endpoint"]) == ("Desk", None)
        await call("sources.update", {"source_id": "unknown"}, 404)
        for inside in ("http://127.0.0.1/act", "https://10.0.0.1/act", "ftp://crm.example.com", "https://localhost/x"):
            refused = await call("sources.update", {"source_id": SOURCE, "action_endpoint": inside}, 400)
            assert refused["fields"][0]["field"] == "action_endpoint"
