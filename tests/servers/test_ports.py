"""A server keeps its port while it is down."""

import socket

import pytest

from tests.kit.servers.ports import HOST, Port


def test_a_reserved_port_can_be_bound_by_a_server_and_not_used_before() -> None:
    with Port() as port:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port.number))
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((HOST, port.number))
            server.listen()
            socket.create_connection((HOST, port.number)).close()


def test_a_reserved_port_is_never_assigned_elsewhere() -> None:
    """Without the reservation a client may be assigned the port it connects to, and connect to itself."""
    with Port() as port, socket.socket() as client, pytest.raises(OSError, match="in use"):
        client.bind((HOST, port.number))
