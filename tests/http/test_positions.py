"""Whoever presents a position reads at least that far, and every write gives one (G6)."""

from random import Random

import anyio
import pytest

from airy import topics
from airy.actors.runtime import Context
from airy.bus.record import Position
from airy.clock import LoopClock
from tests.kit.builders import Chat, channel
from tests.kit.edge import Desk, desk, token_of

TAG = {"name": "urgent", "color": "tag-red"}


async def follow(edge: Desk) -> None:
    await edge.follower.run(Context("store", clock=LoopClock(), random=Random(0)))


async def test_a_write_is_answered_only_once_it_can_be_read() -> None:
    async with desk(following=False) as edge, anyio.create_task_group() as tasks:
        answered = anyio.Event()

        async def create() -> None:
            await edge.asked("/tags.create", TAG, status=201)
            answered.set()

        tasks.start_soon(create)
        await anyio.sleep(4)
        assert not answered.is_set()
        tasks.start_soon(follow, edge)
        await answered.wait()
        assert [tag["name"] for tag in (await edge.asked("/tags.list"))["data"]] == ["urgent"]
        tasks.cancel_scope.cancel()


async def test_a_write_that_cannot_be_read_back_in_time_says_that_it_is_durable_and_where() -> None:
    async with desk(following=False, wait_s=5) as edge, anyio.create_task_group() as tasks:
        began = anyio.current_time()
        answer = await edge.post("/tags.create", TAG)
        assert anyio.current_time() - began == 5
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "durable" in answer.json()["message"]
        position = answer.headers["x-airy-position"]
        tasks.start_soon(follow, edge)
        listed = await edge.asked("/tags.list", None, x_airy_position=position)
        assert [tag["name"] for tag in listed["data"]] == ["urgent"]
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("where", ["header", "body"])
async def test_a_read_waits_for_the_position_it_presents(where: str) -> None:
    async with desk(following=False) as edge, anyio.create_task_group() as tasks:
        [position] = await edge.bus.publish([topics.CHANNELS.emit(channel().id, channel())])
        token = topics.position_token(position)
        began = anyio.current_time()

        async def later() -> None:
            await anyio.sleep(2)
            await follow(edge)

        tasks.start_soon(later)
        if where == "header":
            listed = await edge.asked("/channels.list", None, x_airy_position=token)
        else:
            listed = await edge.asked("/channels.list", {"position": token})
        assert [found["id"] for found in listed["data"]] == [channel().id]
        assert anyio.current_time() - began == 2
        tasks.cancel_scope.cancel()


async def test_a_read_whose_position_is_not_reached_in_time_is_a_503() -> None:
    async with desk() as edge:
        ahead = topics.position_token(Position(topics.EVENTS.name, 3, 1_000))
        began = anyio.current_time()
        answer = await edge.post("/conversations.list", {"position": ahead})
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert anyio.current_time() - began == 5


async def test_several_positions_may_be_presented_at_once() -> None:
    async with desk() as edge:
        one = (await edge.post("/tags.create", TAG)).headers["x-airy-position"]
        two = (await edge.post("/tags.create", TAG)).headers["x-airy-position"]
        assert len((await edge.asked("/tags.list", {"position": two}, x_airy_position=f"{one}, {two}"))["data"]) == 2
        assert (await edge.post("/tags.list", x_airy_position=",".join([one] * 33))).status == 400


@pytest.mark.parametrize("token", ["x", "0.0", "99.0.0", "0.99.0", "0.0.-1", "-1.0.0", "0.0.1e3", "٣.0.0x"])
async def test_what_is_no_position_is_a_400_that_names_it(token: str) -> None:
    async with desk() as edge:
        problem = await edge.asked("/tags.list", {"position": token}, status=400)
        assert [fault["field"] for fault in problem["fields"]] == ["position"]


async def test_every_kind_of_write_gives_the_position_of_its_record() -> None:
    async with desk() as edge:
        chat = Chat()
        await edge.happen(channel(), chat.received("hello"))
        conversation = {"conversation_id": chat.conversation_id}
        tag = (await edge.post("/tags.create", TAG)).json()["id"]
        template = (await edge.post("/templates.create", {"name": "t", "source": "s", "content": 1})).json()["id"]
        webhook = (await edge.post("/webhooks.subscribe", {"url": "https://x.y"})).json()["id"]
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
            before = len(await edge.records(topic))
            answer = await edge.post(path, body)
            assert answer.status < 300, (path, answer.body)
            position = token_of(answer)
            assert position.topic == topic.name, path
            newest = max(record.position for record in await edge.records(topic) if record.where == position.where)
            assert (position, len(await edge.records(topic))) == (newest, before + 1), path


async def test_half_a_log_answers_nobody() -> None:
    """A replica that folds the log at its start would miss what was written long ago, and not know it."""
    folded: list[bool] = []
    async with desk(caught_up=lambda: bool(folded)) as edge:
        for path in ("/tags.list", "/conversations.list", "/tags.create"):
            answer = await edge.post(path, {"name": "n", "color": "tag-red"} if path == "/tags.create" else {})
            assert (answer.status, "retry-after" in answer.headers) == (503, True), path
        assert await edge.records(topics.TAGS) == []
        folded.append(True)
        assert (await edge.post("/tags.list", {})).status == 200


async def test_a_process_serves_what_its_components_serve() -> None:
    async with desk(running={"http", "api-communication"}) as edge:
        assert (await edge.post("/conversations.list", {})).status == 200
        for path in ("/tags.list", "/channels.list", "/channels.facebook.explore"):
            assert (await edge.post(path, {})).status == 404, path
