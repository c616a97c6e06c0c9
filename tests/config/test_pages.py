"""The pages' place behind the server: a client that dawdles keeps nobody else out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from config import pages
from config.asgi_types import Receive

pytestmark = pytest.mark.django_db(transaction=True)


def scope(path: str, method: str = "GET") -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
    }


async def ask(served: pages.Pages, receive: Receive, path: str, method: str = "GET") -> int:
    """Return the status of the answer."""
    sent: list[Mapping[str, Any]] = []

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    await served(scope(path, method), receive, send)
    return int(sent[0]["status"])


async def nothing() -> Mapping[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def body(*parts: bytes) -> Receive:
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Mapping[str, Any]:
        return waiting.pop(0) if waiting else await nothing()

    return receive


async def test_bodies_that_never_arrive_leave_room_for_others() -> None:
    served = pages.Pages()
    dawdling = [
        asyncio.ensure_future(ask(served, nothing, "/accounts/login/", "POST")) for _ in range(pages.MAX_AT_ONCE + 1)
    ]
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(ask(served, body(), "/accounts/login/"), 10) == 200
    for task in dawdling:
        task.cancel()
    await asyncio.gather(*dawdling, return_exceptions=True)


async def test_a_body_that_never_arrives_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ARRIVAL_S", 0.05)
    assert await asyncio.wait_for(ask(pages.Pages(), nothing, "/accounts/login/", "POST"), 10) == 408


async def test_a_body_that_is_too_long_is_refused() -> None:
    parts = [b"a" * 65536] * 17
    assert await asyncio.wait_for(ask(pages.Pages(), body(*parts), "/accounts/login/", "POST"), 10) == 413


async def test_half_a_form_is_none() -> None:
    async def receive() -> Mapping[str, Any]:
        return waiting.pop(0)

    async def send(message: Mapping[str, Any]) -> None:
        raise AssertionError("Nobody is there to be answered.")

    waiting: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"login=a&passw", "more_body": True},
        {"type": "http.disconnect"},
    ]
    await pages.Pages()(scope("/accounts/login/", "POST"), receive, send)


async def test_a_form_in_pieces_reaches_the_page() -> None:
    assert await asyncio.wait_for(
        ask(pages.Pages(), body(b"login=a&", b"password=b"), "/accounts/login/", "POST"), 10
    ) in {
        200,
        403,  # no CSRF token: the page has read the form
    }
