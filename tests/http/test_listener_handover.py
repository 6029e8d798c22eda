"""A listening socket is handed from one server to the next: kept if one follows, and until another address is bound."""

import socket
from collections.abc import Iterator

import pytest

from airy.http.listener_handover import ListenerHandover

ADDRESS = ("127.0.0.1", 0)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(ADDRESS) as opened:
        yield opened


def test_connections_wait_in_the_kept_socket_for_the_next_server(listener: socket.socket) -> None:
    handover = ListenerHandover()
    handover.wanted = lambda: True
    handover.keep(ADDRESS, listener)
    bound = listener.getsockname()
    listener.close()

    with socket.create_connection(bound, timeout=10) as client:
        kept = handover.take(ADDRESS)
        assert kept is not None
        with kept:
            accepted, address = kept.accept()
            accepted.close()
        assert address == client.getsockname()
    assert handover.take(ADDRESS) is None


def test_a_server_that_is_not_followed_by_another_keeps_nothing(listener: socket.socket) -> None:
    handover = ListenerHandover()
    handover.keep(ADDRESS, listener)
    assert handover.take(ADDRESS) is None


def test_the_former_address_stays_until_another_one_is_bound(listener: socket.socket) -> None:
    handover = ListenerHandover()
    handover.wanted = lambda: True
    handover.keep(ADDRESS, listener)
    bound = listener.getsockname()
    listener.close()

    assert handover.take(("127.0.0.1", 1)) is None
    socket.create_connection(bound, timeout=10).close()
    handover.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound, timeout=10)
