"""Loopback ports that stay reserved while a server is down.

A bound socket that does not listen keeps the kernel from assigning the port, and lets a server with SO_REUSEADDR (the
JVM and Redis set it) listen on it. Otherwise a client that reconnects repeatedly may be assigned the port it connects
to, connect to itself, and block the server's restart.
"""

import socket
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"


class Port:
    """A port chosen by the kernel, or the given one."""

    def __init__(self, wanted: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((HOST, wanted))
        except BaseException:
            self._socket.close()
            raise
        self.number: int = self._socket.getsockname()[1]

    def __str__(self) -> str:
        return f"{HOST}:{self.number}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()
