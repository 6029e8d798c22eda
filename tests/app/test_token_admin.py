"""`airy token …` through the API of a running process."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest

from airy.actors.runtime import Context
from airy.app import token_admin as admin
from airy.clock import SystemClock
from airy.config import Config
from airy.errors import Refused
from airy.http.server import HttpServer
from tests.kit.api import TOKEN, api_harness

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@asynccontextmanager
async def running() -> AsyncIterator[str]:
    async with api_harness() as api, anyio.create_task_group() as tasks:
        ready = anyio.Event()
        ctx = Context("http", clock=SystemClock(), random=Random(0), on_ready=ready.set)
        server = HttpServer(api.app)
        tasks.start_soon(server.run, ctx)
        with anyio.fail_after(60):
            await ready.wait()
        assert server.address is not None
        yield f"http://127.0.0.1:{server.address[1]}"
        ctx.draining.set()


async def test_a_token_is_created_listed_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    config = Config()
    async with running() as url:
        body = {"name": "re\x1b[31mports", "role": "admin", "permissions": [], "expires_in_s": 86_400}
        await admin.create(config, url, TOKEN, body, as_json=False)
        printed = capsys.readouterr()
        token = printed.out.strip()
        assert token.startswith("airy_")
        assert token not in printed.err

        await admin.create(config, url, token, {**body, "name": "crm", "permissions": ["read"]}, as_json=True)
        crm = json.loads(capsys.readouterr().out)
        await admin.show_list(config, url, token, as_json=False)
        listed = capsys.readouterr().out
        assert "admin:read" in listed
        assert "\x1b" not in listed
        assert token not in listed

        await admin.revoke(config, url, TOKEN, crm["id"], as_json=False)
        assert "revoked 2" in capsys.readouterr().out
        await admin.show_list(config, url, TOKEN, as_json=True)
        states = {each["name"]: each["revoked_at"] for each in json.loads(capsys.readouterr().out)["data"]}
        assert (states["crm"] is None, states["re\x1b[31mports"] is None) == (False, True)
        with pytest.raises(Refused, match=r"forbidden$"):
            await admin.show_list(config, url, crm["token"], as_json=True)
        with pytest.raises(Refused, match="no token was sent: pass --token, or --data"):
            await admin.show_list(config, url, None, as_json=True)
