"""A server's port stays its own while the server is down."""

import socket

import pytest

from tests.kit.servers.ports import HOST, Port


def test_a_reserved_port_takes_a_server_and_no_client_until_then() -> None:
    with Port() as port:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port.number))
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((HOST, port.number))
            server.listen()
            socket.create_connection((HOST, port.number)).close()


def test_nobody_else_is_given_it() -> None:
    """Without the reservation a client may be given the very port it connects to, and reach itself."""
    with Port() as port, socket.socket() as client, pytest.raises(OSError, match="in use"):
        client.bind((HOST, port.number))
