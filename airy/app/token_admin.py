"""`airy token …`, through the API of a running process."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct

from airy.api_client import ApiClient
from airy.app.dead_letter_text import printable
from airy.app.topic_text import aligned
from airy.config import Config
from airy.egress import UNRESTRICTED
from airy.http_client_aiohttp import AiohttpClient
from airy.tui.status import instance

OK = 0

Document = dict[str, Any]


class TokenList(Struct, frozen=True):
    data: list[Document]


async def create(config: Config, url: str | None, token: str | None, body: Document, *, as_json: bool) -> int:
    async with _client(config, url, token) as client:
        created = await client.call("/tokens.create", body, Document)
    _print(created if as_json else [created["token"]])
    if not as_json:
        sys.stderr.write(f"id {created['id']}, expires {created['expires_at']}; the token cannot be shown again\n")
    return OK


async def show_list(config: Config, url: str | None, token: str | None, *, as_json: bool) -> int:
    async with _client(config, url, token) as client:
        found = await client.call("/tokens.list", {}, TokenList)
    _print(found if as_json else list_lines(found.data))
    return OK


async def revoke(config: Config, url: str | None, token: str | None, token_id: str, *, as_json: bool) -> int:
    async with _client(config, url, token) as client:
        revoked = await client.call("/tokens.revoke", {"id": token_id}, Document)
    _print(revoked if as_json else list_lines([revoked]))
    return OK


def list_lines(tokens: Sequence[Document]) -> list[str]:
    """A line per token: id, name, what it may do, and until when."""
    rows = [(each["id"], printable(each["name"]), _scope(each), _state(each)) for each in tokens]
    return aligned(rows) or ["no API tokens"]


def _scope(token: Document) -> str:
    permissions = ",".join(token["permissions"])
    return f"{token['role']}:{permissions}" if token["role"] and permissions else token["role"] or permissions


def _state(token: Document) -> str:
    revoked: str | None = token["revoked_at"]
    return f"revoked {revoked}" if revoked else f"expires {token['expires_at']}"


@asynccontextmanager
async def _client(config: Config, url: str | None, token: str | None) -> AsyncIterator[ApiClient]:
    address, secret = instance(config, url, token)
    async with AiohttpClient(UNRESTRICTED) as http:
        yield ApiClient(http, address, secret)


def _print(output: list[str] | Document | TokenList) -> None:
    shown = "\n".join(output) if isinstance(output, list) else msgspec.json.format(msgspec.json.encode(output)).decode()
    sys.stdout.write(f"{shown}\n")
