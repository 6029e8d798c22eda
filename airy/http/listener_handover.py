"""Keeps a listening socket open from one run of the server to the next, while the process reloads its configuration.

Connections wait in the socket's queue meanwhile, and none is refused.
"""

import socket
from collections.abc import Callable


class ListenerHandover:
    """`wanted`: whether the server that drains is followed by another one."""

    def __init__(self) -> None:
        self.wanted: Callable[[], bool] = lambda: False
        self._kept: tuple[tuple[str, int], socket.socket] | None = None

    def keep(self, address: tuple[str, int], listener: socket.socket) -> None:
        """Keep a duplicate of a listener that is about to be closed, if another server follows."""
        if self.wanted():
            self.close()
            self._kept = address, listener.dup()

    def take(self, address: tuple[str, int]) -> socket.socket | None:
        """The kept listener of this configured address. One of another address stays, in case the former comes back."""
        if self._kept is None or self._kept[0] != address:
            return None
        (_, listener), self._kept = self._kept, None
        return listener

    def close(self) -> None:
        """Close the kept listener, whose connections are refused from now on."""
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None
