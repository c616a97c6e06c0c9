"""The suite keeps to this machine: these refusals are what makes a green run mean the same offline."""

from __future__ import annotations

import asyncio
import socket

import pytest


def test_a_connection_off_this_machine_is_refused() -> None:
    with socket.socket() as unconnected, pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        unconnected.connect(("192.0.2.1", 443))


def test_a_connection_that_reports_by_number_is_refused() -> None:
    with socket.socket() as unconnected, pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        unconnected.connect_ex(("192.0.2.1", 443))


def test_a_datagram_off_this_machine_is_refused() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as unconnected, pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        unconnected.sendto(b"x", ("192.0.2.1", 53))


def test_a_name_is_not_looked_up() -> None:
    with pytest.raises(AssertionError, match=r"example\.com"):
        socket.create_connection(("example.com", 443))


async def test_asyncio_is_refused_too() -> None:
    with pytest.raises(AssertionError, match=r"example\.com"):
        await asyncio.open_connection("example.com", 443)


def test_loopback_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
