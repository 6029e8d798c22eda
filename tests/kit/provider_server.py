"""A scripted provider over real HTTP, and the webhooks it posts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from airy.http_client import ConnectFailed, ResponseLost
from tests.kit.providers.base import Webhook, Wire
from tests.kit.scripted_provider import ScriptedProvider


@asynccontextmanager
async def serving(provider: ScriptedProvider) -> AsyncIterator[str]:
    """The address of a server on loopback that answers as the provider does."""

    async def handle(request: web.Request) -> web.Response:
        url = f"https://{provider.wire.host}{request.path_qs}"
        try:
            answer = await provider(request.method, url, headers=request.headers, body=await request.read())
        except (ConnectFailed, ResponseLost):
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def post(session: aiohttp.ClientSession, airy: str, wire: Wire, webhook: Webhook) -> int:
    """Posts a signed webhook; the signature is over the public address. Returns the status."""
    headers = {name.decode(): value.decode() for name, value in wire.signed(webhook)}
    url = f"{airy}{webhook.path}{'?' if webhook.query else ''}{webhook.query}"
    async with session.post(
        url, data=webhook.body, headers={**headers, "content-type": webhook.content_type}
    ) as response:
        await response.read()
        return response.status
