"""Tags by name: people know a tag by its name, the API by its id."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from airy.cli.view import Document

if TYPE_CHECKING:
    from airy.api_client import ApiClient


def tag_id(name: str) -> "Callable[[ApiClient], Awaitable[Document]]":
    """Finds the tag with this id or name, as the field `tag_id` of a request."""

    async def find(client: "ApiClient") -> Document:
        from airy.api_client import RequestRefused

        tags = (await client.call("/tags.list", {}, dict[str, Any]))["data"]
        found = [tag["id"] for tag in tags if name in (tag["id"], tag["name"])]
        if not found:
            raise RequestRefused(f"no tag is called {name}; `airy tags list` has all", status=404)
        if len(found) > 1:
            raise RequestRefused(f"{len(found)} tags are called {name}: pass an id, {', '.join(found)}", status=409)
        return {"tag_id": found[0]}

    return find
