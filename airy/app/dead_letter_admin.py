"""`airy dlq …`: dead letters through the API of a running process, or in the log itself if none runs."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol

from msgspec import Struct

from airy.api_client import ApiClient
from airy.app.log_transfer.open_log import open_log
from airy.clock import SystemClock
from airy.commands import DeadLetterCommands
from airy.commands.dead_letters import AT_ONCE_MAX
from airy.config import Config
from airy.egress import UNRESTRICTED
from airy.errors import Refused, Unavailable
from airy.http import dead_letters as documents
from airy.http_client_aiohttp import AiohttpClient
from airy.secret import Secret
from airy.tui.instance import instance

PAGE_SIZE = 500
ACTOR = "airy-dlq"  # without an API there is no caller
REASON_CHARS_MAX = documents.Reason.chars_max

Document = dict[str, Any]
State = Literal["open", "replayed", "discarded"]
Verb = Literal["replay", "discard"]


class DeadLetters(Struct, frozen=True):
    data: list[Document]
    complete: bool = True


class _Pagination(Struct, frozen=True):
    next_cursor: str | None
    complete: bool = True


class _Page(Struct, frozen=True):
    data: list[Document]
    pagination_data: _Pagination


class _Outcomes(Struct, frozen=True):
    data: list[Document]


class DeadLetterAdmin(Protocol):
    async def find_all(self, topic: str | None, state: State | None) -> DeadLetters: ...
    async def get(self, letter_id: str) -> Document: ...
    async def resolve(self, verb: Verb, letter_ids: Sequence[str], reason: str) -> list[Document]: ...


class _ApiAdmin:
    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def find_all(self, topic: str | None, state: State | None) -> DeadLetters:
        letters: list[Document] = []
        body: dict[str, object] = {"topic": topic, "state": state or "all", "page_size": PAGE_SIZE, "cursor": None}
        while True:
            page = await self._client.call("/dead-letters.list", body, _Page)
            letters += page.data
            body["cursor"] = page.pagination_data.next_cursor
            if body["cursor"] is None:
                return DeadLetters(letters, page.pagination_data.complete)

    async def get(self, letter_id: str) -> Document:
        return await self._client.call("/dead-letters.info", {"id": letter_id}, Document)

    async def resolve(self, verb: Verb, letter_ids: Sequence[str], reason: str) -> list[Document]:
        body = {"ids": letter_ids, **({"reason": reason} if reason else {})}
        return (await self._client.call(f"/dead-letters.{verb}", body, _Outcomes)).data


class _LogAdmin:
    def __init__(self, commands: DeadLetterCommands) -> None:
        self._commands = commands

    async def find_all(self, topic: str | None, state: State | None) -> DeadLetters:
        found = await self._commands.find_all(topic, state)
        return DeadLetters([documents.render(letter) for letter in found.letters], found.complete)

    async def get(self, letter_id: str) -> Document:
        return documents.render_detail(*await self._commands.get(letter_id))

    async def resolve(self, verb: Verb, letter_ids: Sequence[str], reason: str) -> list[Document]:
        if verb == "replay":
            outcomes = await self._commands.replay(letter_ids, actor=ACTOR)
        else:
            outcomes = await self._commands.discard(letter_ids, actor=ACTOR, reason=reason[:REASON_CHARS_MAX])
        return [documents.render_outcome(outcome) for outcome in outcomes]


@asynccontextmanager
async def open_admin(config: Config, url: str | None, token: str | None) -> AsyncIterator[DeadLetterAdmin]:
    """The API at `url`, or at the configured address if a process answers there; else the configured log.

    Raises `Unavailable` if nothing answers at `url`, and `InUse` if a process without an API has the journal open.
    """
    address, secret = instance(config, url, token)
    if url or await _answers(address, secret):
        async with AiohttpClient(UNRESTRICTED) as http:
            yield _ApiAdmin(ApiClient(http, address, secret))
    else:
        async with open_log(config, reading=True) as bus:
            yield _LogAdmin(DeadLetterCommands(bus, SystemClock()))


async def _answers(address: str, secret: Secret | None) -> bool:
    async with AiohttpClient(UNRESTRICTED) as http:
        try:
            await ApiClient(http, address, secret).get("/livez", Document, may_fail=True)
        except (Unavailable, Refused):
            return False
    return True


async def find_all(
    config: Config, url: str | None, token: str | None, *, topic: str | None, state: State | None
) -> DeadLetters:
    """Newest first."""
    async with open_admin(config, url, token) as admin:
        return await admin.find_all(topic, state)


async def get(config: Config, url: str | None, token: str | None, letter_id: str) -> Document:
    async with open_admin(config, url, token) as admin:
        return await admin.get(letter_id)


async def resolve(
    config: Config,
    url: str | None,
    token: str | None,
    verb: Verb,
    letter_ids: Sequence[str],
    *,
    all_of: str | None,
    everything: bool,
    confirm: Callable[[str], bool],
    reason: str = "",
) -> list[Document]:
    """Replay or discard these dead letters, or all open ones (of the topic `all_of`) that `confirm` agrees to."""
    async with open_admin(config, url, token) as admin:
        wanted = list(letter_ids)
        if everything:
            wanted = [letter["id"] for letter in (await admin.find_all(all_of, "open")).data][::-1]
            if not wanted or not confirm(f"{verb} {len(wanted)} dead letters?"):
                return []
        outcomes: list[Document] = []
        for start in range(0, len(wanted), AT_ONCE_MAX):
            outcomes += await admin.resolve(verb, wanted[start : start + AT_ONCE_MAX], reason)
    return outcomes
