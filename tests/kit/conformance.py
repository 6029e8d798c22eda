"""Airy behind a real HTTP server, for clients that behave as those of the original.

`Installation.call` sends requests as the original's JavaScript client does. What contacts and providers cause is
appended to the log by `Installation.api`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from airy.model import ids
from tests.kit.api import TOKEN, ApiHarness, api_harness
from tests.kit.builders import Chat, channel
from tests.kit.serving import serving

JSON_TYPE = "application/json"
CLIENT_HEADERS = {"Accept": JSON_TYPE, "Content-Type": JSON_TYPE, "X-Requested-With": "XMLHttpRequest"}
OTHER = "17841400000000001"  # account of the second channel


class Answer(Struct):
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def document(self) -> Any:
        return msgspec.json.decode(self.body)


class Installation(Struct):
    url: str
    api: ApiHarness
    session: aiohttp.ClientSession

    async def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Exactly this request; redirects are not followed."""
        async with self.session.request(
            method, f"{self.url}{path}", data=body, headers=headers, allow_redirects=False, skip_auto_headers=["Accept"]
        ) as response:
            return Answer(
                response.status, await response.read(), {name.lower(): text for name, text in response.headers.items()}
            )

    async def post(self, path: str, body: object = None, **headers: str) -> Answer:
        """With the token. None: the empty body that the client sends with a call without arguments."""
        given = CLIENT_HEADERS | {"Authorization": f"Bearer {TOKEN}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send("POST", f"/{path}", b"" if body is None else msgspec.json.encode(body), given)

    async def call(self, path: str, body: object = None, status: int = 200, **headers: str) -> Any:
        """The document of the answer, which must have `status`; None for an empty one."""
        answer = await self.post(path, body, **headers)
        assert answer.status == status, (path, answer.status, answer.body)
        return answer.document if answer.body else None


@asynccontextmanager
async def installation(**options: Any) -> AsyncIterator[Installation]:
    async with (
        api_harness(**options) as api,
        serving(api) as (url, _),
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield Installation(url, api, session)


class FiveConversations:
    """Two conversations on a Facebook channel, then three on an Instagram channel, each newer than the one before.

    The first contact is Grace; the second and the third have 2 and 5 unread messages, the others one.
    """

    urgent, later = ids.derive("tag", "urgent"), ids.derive("tag", "later")

    def __init__(self) -> None:
        self.chats = [
            *(Chat(seed) for seed in (1, 2)),
            *(Chat(seed, source="instagram", source_channel_id=OTHER) for seed in (3, 4, 5)),
        ]
        self.names = [chat.conversation_id for chat in self.chats]

    async def write(self, airy: Installation) -> None:
        await airy.api.append(channel(), channel("instagram", OTHER, name="Bakery on Instagram"))
        for number, chat in enumerate(self.chats):
            chat.now_ms += number * 60_000
            unread = {1: 2, 2: 5}.get(number, 1)
            await airy.api.append(*(chat.received(nth) for nth in range(unread)))
        await airy.call(
            "conversations.update-contact", {"conversation_id": self.names[0], "display_name": "Grace"}, 204
        )
        for name, tag in ((0, self.urgent), (0, self.later), (1, self.urgent)):
            await airy.call("conversations.tag", {"conversation_id": self.names[name], "tag_id": tag}, 204)
        data = {"subject": "conversation", "id": self.names[3], "data": {"erp": {"id": "abc"}}}
        await airy.call("metadata.upsert", data, 204)
