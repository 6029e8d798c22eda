"""`/tags.*` as clients of the original Airy use them."""

import pytest

from airy.http.response_schemas import (
    ListSchema,
    TagSchema,
)
from tests.kit.api import api_harness
from tests.kit.response_schemas import validated


async def test_a_tag_is_created_listed_updated_and_deleted() -> None:
    async with api_harness() as api:
        tag = validated(TagSchema, await api.call("/tags.create", {"name": "urgent", "color": "tag-red"}, status=201))
        assert (tag.name, tag.color) == ("urgent", "tag-red")
        assert validated(ListSchema[TagSchema], await api.call("/tags.list")).data == [tag]
        await api.call("/tags.update", {"id": tag.id, "name": "soon"}, status=204)
        assert (await api.call("/tags.list"))["data"] == [{"id": tag.id, "name": "soon", "color": "tag-red"}]
        await api.call("/tags.update", {"id": tag.id, "color": "tag-blue", "name": None}, status=204)
        assert (await api.call("/tags.list"))["data"] == [{"id": tag.id, "name": "soon", "color": "tag-blue"}]
        await api.call("/tags.delete", {"id": tag.id}, status=204)
        assert (await api.call("/tags.list"))["data"] == []
        for path in ("/tags.update", "/tags.delete"):
            await api.call(path, {"id": tag.id}, status=404)


async def test_there_are_four_colours() -> None:
    async with api_harness() as api:
        problem = await api.call("/tags.create", {"name": "x", "color": "red"}, status=400)
        message = "must be one of tag-red, tag-green, tag-blue, tag-purple"
        assert problem["fields"] == [{"field": "color", "message": message}]
        problem = await api.call("/tags.create", {}, status=400)
        assert [error["field"] for error in problem["fields"]] == ["name", "color"]


@pytest.mark.parametrize(
    ("path", "body", "other"),
    [
        ("/tags.create", {"name": "a", "color": "tag-red"}, {"name": "b", "color": "tag-red"}),
        ("/templates.create", {"name": "a", "source": "s", "content": 1}, {"name": "a", "source": "s", "content": 2}),
    ],
)
async def test_creating_under_one_key_creates_once(
    path: str, body: dict[str, object], other: dict[str, object]
) -> None:
    async with api_harness() as api:
        first = await api.call(path, body, status=201, idempotency_key="k")
        assert await api.call(path, body, status=201, idempotency_key="k") == first
        await api.call(path, other, status=409, idempotency_key="k")
        assert (await api.call(path, body, status=201))["id"] != first["id"]
