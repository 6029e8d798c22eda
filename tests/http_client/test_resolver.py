"""The system's resolver, with a scripted `getaddrinfo`."""

import socket
from threading import Event
from typing import Any

import anyio
import pytest

from airy import http_client_resolver
from airy.http_client_resolver import SystemResolver

WITHIN_S = 60.0  # bounds a hang


async def test_names_that_cannot_be_resolved_do_not_delay_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    failed, over = set[bytes](), Event()

    def getaddrinfo(host: bytes, port: int, *_more: object) -> list[Any]:
        if host == b"good.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]
        if host in failed:
            over.wait(WITHIN_S)
        failed.add(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async def fails(name: str) -> None:
        with pytest.raises(OSError, match="Temporary failure"):
            await resolver.resolve(name, 443)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(http_client_resolver, "THREADS_MAX", 2)
    resolver = SystemResolver()
    names = [f"away{number}.example" for number in range(4)]
    for name in names:
        await fails(name)
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(fails, name)
        await anyio.lowlevel.checkpoint()
        with anyio.fail_after(WITHIN_S / 2):
            (found,) = await resolver.resolve("good.example", 443)
        over.set()
    assert found["host"] == "192.0.2.1"
    await resolver.close()
