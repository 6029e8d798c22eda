"""The system's resolver, on threads.

A name server that does not answer holds a thread until the system gives up. Names whose last resolution failed
therefore have threads of their own, and do not delay the others.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

THREADS_MAX = 128  # of each kind, started as needed
FAILED_MAX = 10_000  # names that are known to have failed; beyond it the oldest counts as new


class SystemResolver(AbstractResolver):
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS_MAX, "resolve")
        self._threads_of_failed = ThreadPoolExecutor(THREADS_MAX, "resolve-again")
        self._failed: dict[str, None] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        threads = self._threads_of_failed if host in self._failed else self._threads
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                threads,
                lambda: socket.getaddrinfo(host.encode("ascii"), port, family, socket.SOCK_STREAM),  # no IDNA codec
            )
        except OSError:
            self._failed[host] = None
            while len(self._failed) > FAILED_MAX:
                del self._failed[next(iter(self._failed))]
            raise
        self._failed.pop(host, None)
        return [
            ResolveResult(
                hostname=host,
                host=str(sockaddr[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, sockaddr in found
        ]

    async def close(self) -> None:
        for threads in (self._threads, self._threads_of_failed):
            threads.shutdown(wait=False, cancel_futures=True)
