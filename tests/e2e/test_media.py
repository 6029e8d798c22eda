"""A real process with a real directory: uploads over HTTP, ranges, restarts, and a kill in the middle of one."""

import os
from contextlib import closing
from io import BytesIO
from pathlib import Path

import aiohttp
import anyio
import pytest

from tests.kit.process import TOKEN, AiryProcess, http_session

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

VIDEO = b"\x00\x00\x00\x18ftypmp42" + os.urandom(9_000_000)
WITHIN_S = 60.0  # bounds a hang


async def upload(airy: AiryProcess, session: aiohttp.ClientSession, data: object) -> str:
    form = aiohttp.FormData()
    form.add_field("file", data, filename="visit.mp4")
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with session.post(f"{airy.url}/media.upload", data=form, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        url: str = (await answer.json())["media_url"]
        return url


async def test_uploaded_files_outlive_the_process_and_a_killed_upload_leaves_nothing(tmp_path: Path) -> None:
    media = tmp_path / "data" / "media"
    with closing(AiryProcess(tmp_path, "http://127.0.0.1:9")) as airy:
        airy.start()
        async with http_session() as session:
            await airy.ready(session)
            url = await upload(airy, session, BytesIO(VIDEO))
            (stored,) = media.iterdir()
            assert stored.read_bytes() == VIDEO

            started = anyio.Event()

            async def endless() -> object:
                while True:
                    yield os.urandom(200_000)
                    started.set()
                    await anyio.sleep(0.05)  # real time: another process receives it

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cut, airy, session, endless())
                with anyio.fail_after(WITHIN_S):
                    await started.wait()
                airy.kill()
            assert list(media.iterdir()) == [stored]

            airy.start()
            await airy.ready(session)
            async with session.get(url, headers={"range": "bytes=4-11"}) as answer:
                assert (answer.status, await answer.read()) == (206, b"ftypmp42")
            async with session.get(url) as answer:
                assert (await answer.read(), answer.content_type) == (VIDEO, "video/mp4")
            assert await upload(airy, session, BytesIO(VIDEO)) == url
            async with session.post(f"{airy.url}/client.config", headers={"authorization": TOKEN}) as answer:
                service = (await answer.json())["services"]["media-resolver"]
            assert service == {"enabled": True, "healthy": True, "component": "media-resolver"}
        assert airy.stop() == 0


async def _cut(airy: AiryProcess, session: aiohttp.ClientSession, data: object) -> None:
    with pytest.raises(aiohttp.ClientError):
        await upload(airy, session, data)
