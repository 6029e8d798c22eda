"""Every write returns a position, and a read that presents it sees the write (G6)."""

from random import Random

import anyio
import pytest

from airy import topics
from airy.actors.runtime import Context
from airy.bus.record import Position
from airy.clock import LoopClock
from tests.kit.api import ApiHarness, api_harness, position_of
from tests.kit.builders import Chat, channel

TAG = {"name": "urgent", "color": "tag-red"}


async def project(api: ApiHarness) -> None:
    await api.projector.run(Context("store", clock=LoopClock(), random=Random(0)))


async def test_a_write_is_answered_only_when_it_can_be_read() -> None:
    async with api_harness(projecting=False) as api, anyio.create_task_group() as tasks:
        answered = anyio.Event()

        async def create() -> None:
            await api.call("/tags.create", TAG, status=201)
            answered.set()

        tasks.start_soon(create)
        await anyio.sleep(4)
        assert not answered.is_set()
        tasks.start_soon(project, api)
        await answered.wait()
        assert [tag["name"] for tag in (await api.call("/tags.list"))["data"]] == ["urgent"]
        tasks.cancel_scope.cancel()


async def test_a_write_not_folded_in_time_is_a_503_with_its_position() -> None:
    async with api_harness(projecting=False, wait_s=5) as api, anyio.create_task_group() as tasks:
        began = anyio.current_time()
        answer = await api.post("/tags.create", TAG)
        assert anyio.current_time() - began == 5
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "durable" in answer.json()["message"]
        position = answer.headers["x-airy-position"]
        tasks.start_soon(project, api)
        listed = await api.call("/tags.list", None, x_airy_position=position)
        assert [tag["name"] for tag in listed["data"]] == ["urgent"]
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("carrier", ["header", "body"])
async def test_a_read_waits_for_the_position_it_presents(carrier: str) -> None:
    async with api_harness(projecting=False) as api, anyio.create_task_group() as tasks:
        [position] = await api.bus.publish([topics.CHANNELS.record(channel().id, channel())])
        token = topics.position_token(position)
        began = anyio.current_time()

        async def later() -> None:
            await anyio.sleep(2)
            await project(api)

        tasks.start_soon(later)
        if carrier == "header":
            listed = await api.call("/channels.list", None, x_airy_position=token)
        else:
            listed = await api.call("/channels.list", {"position": token})
        assert [found["id"] for found in listed["data"]] == [channel().id]
        assert anyio.current_time() - began == 2
        tasks.cancel_scope.cancel()


async def test_a_read_whose_position_is_not_reached_in_time_is_a_503() -> None:
    async with api_harness() as api:
        ahead = topics.position_token(Position(topics.EVENTS.name, 3, 1_000))
        began = anyio.current_time()
        answer = await api.post("/conversations.list", {"position": ahead})
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert anyio.current_time() - began == 5


async def test_several_positions_may_be_presented_at_once() -> None:
    async with api_harness() as api:
        one = (await api.post("/tags.create", TAG)).headers["x-airy-position"]
        two = (await api.post("/tags.create", TAG)).headers["x-airy-position"]
        assert len((await api.call("/tags.list", {"position": two}, x_airy_position=f"{one}, {two}"))["data"]) == 2
        assert (await api.post("/tags.list", x_airy_position=",".join([one] * 33))).status == 400


@pytest.mark.parametrize("token", ["x", "0.0", "99.0.0", "0.99.0", "0.0.-1", "-1.0.0", "0.0.1e3", "٣.0.0x"])
async def test_an_invalid_position_is_a_400_that_names_the_field(token: str) -> None:
    async with api_harness() as api:
        problem = await api.call("/tags.list", {"position": token}, status=400)
        assert [error["field"] for error in problem["fields"]] == ["position"]


async def test_every_write_returns_the_position_of_its_record() -> None:
    async with api_harness() as api:
        chat = Chat()
        await api.append(channel(), chat.received("hello"))
        conversation = {"conversation_id": chat.conversation_id}
        tag = (await api.post("/tags.create", TAG)).json()["id"]
        template = (await api.post("/templates.create", {"name": "t", "source": "s", "content": 1})).json()["id"]
        webhook = (await api.post("/webhooks.subscribe", {"url": "https://x.y"})).json()["id"]
        about = {"subject": "conversation", "id": chat.conversation_id}
        for path, body, topic in (
            ("/conversations.mark-read", conversation, topics.EVENTS),
            ("/conversations.tag", {**conversation, "tag_id": tag}, topics.EVENTS),
            ("/conversations.untag", {**conversation, "tag_id": tag}, topics.EVENTS),
            ("/conversations.set-state", {**conversation, "state": "OPEN"}, topics.EVENTS),
            ("/conversations.remove-state", conversation, topics.EVENTS),
            ("/conversations.update-contact", {**conversation, "display_name": "G"}, topics.EVENTS),
            ("/conversations.refetch", conversation, topics.EVENTS),
            ("/messages.send", {**conversation, "message": 1}, topics.EVENTS),
            ("/metadata.upsert", {**about, "data": {"a": 1}}, topics.EVENTS),
            ("/metadata.remove", {**about, "keys": ["a"]}, topics.EVENTS),
            ("/tags.update", {"id": tag, "name": "n"}, topics.TAGS),
            ("/tags.delete", {"id": tag}, topics.TAGS),
            ("/templates.update", {"id": template, "name": "n"}, topics.TEMPLATES),
            ("/templates.delete", {"id": template}, topics.TEMPLATES),
            ("/channels.update", {"channel_id": chat.channel_id, "name": "n"}, topics.CHANNELS),
            ("/channels.facebook.disconnect", {"channel_id": chat.channel_id}, topics.CHANNELS),
            ("/webhooks.update", {"id": webhook, "name": "n"}, topics.WEBHOOKS),
            ("/webhooks.rotate-secret", {"id": webhook}, topics.WEBHOOKS),
            ("/webhooks.unsubscribe", {"id": webhook}, topics.WEBHOOKS),
            ("/webhooks.delete", {"id": webhook}, topics.WEBHOOKS),
        ):
            before = len(await api.records(topic))
            answer = await api.post(path, body)
            assert answer.status < 300, (path, answer.body)
            position = position_of(answer)
            assert position.topic == topic.name, path
            newest = max(
                record.position
                for record in await api.records(topic)
                if record.topic_partition == position.topic_partition
            )
            assert (position, len(await api.records(topic))) == (newest, before + 1), path


async def test_a_replica_that_has_not_caught_up_answers_503() -> None:
    """A replica that is still folding the log at its start would answer with stale data."""
    folded: list[bool] = []
    async with api_harness(caught_up=lambda: bool(folded)) as api:
        for path in ("/tags.list", "/conversations.list", "/tags.create"):
            answer = await api.post(path, {"name": "n", "color": "tag-red"} if path == "/tags.create" else {})
            assert (answer.status, "retry-after" in answer.headers) == (503, True), path
        assert await api.records(topics.TAGS) == []
        folded.append(True)
        assert (await api.post("/tags.list", {})).status == 200


async def test_a_process_serves_the_actions_of_its_components_only() -> None:
    async with api_harness(running={"http", "api-communication"}) as api:
        assert (await api.post("/conversations.list", {})).status == 200
        for path in ("/tags.list", "/channels.list", "/channels.facebook.explore"):
            assert (await api.post(path, {})).status == 404, path
