"""What one process saw is known to the others: over the wire's form, and over a real Redis."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import asyncio as redis

from gateway import errors
from gateway.fallback import plain_traits
from gateway.health.board import Board
from gateway.health.sharing import STREAM, Exchange, News
from gateway.providers.protocol import Endpoint

URL = os.environ.get("KAIROS_TEST_HEALTH_REDIS_URL", "redis://127.0.0.1:6379/1")
A = Endpoint("a/m", "a", "m", "openai_chat", "http://a")
B = Endpoint("b/m", "b", "m", "openai_chat", "http://b")


def plan(board: Board, now: float, *endpoints: Endpoint) -> tuple[Endpoint, ...]:
    return board.plan(endpoints, now, traits_of=plain_traits).endpoints


def tell(source: Board, news: News, to: News, now: float) -> bool:
    events = list(source.events)
    source.events.clear()
    data = news.collect(now, events)
    if data is not None:
        to.absorb(data, now)
    return data is not None


def test_counts_are_told_once_and_never_told_back() -> None:
    here, there = Board(), Board()
    mine, theirs = News(here), News(there)
    for _ in range(5):
        here.succeed(A, 1.0, 300_000)
        here.note_rate(A, 50.0)
    assert tell(here, mine, theirs, 2.0)
    assert not tell(here, mine, theirs, 3.0)
    assert not tell(there, theirs, mine, 3.0)
    assert there.figures(A, 3.0) == here.figures(A, 3.0)
    there.succeed(A, 4.0, 300_000)
    assert tell(there, theirs, mine, 4.0)
    figures = here.figures(A, 5.0)
    assert figures is not None
    assert figures.samples == 6


def test_what_is_heard_of_a_customers_server_with_endless_names_fills_no_memory() -> None:
    here, there = Board(), Board()
    mine, theirs = News(here), News(there)
    for _ in range(3):
        here.fail(A, 1.0, errors.UpstreamOverloaded("x"))
    for start in range(0, 6000, 500):
        for number in range(start, start + 500):
            own = Endpoint(f"own/{number}", "own", f"m{number}", "openai_chat", "guarded+https://own.test")
            here.succeed(own, 1.0, None)
            here.fail(own, 1.0, errors.UpstreamRateLimited("x"))
        tell(here, mine, theirs, 1.5)
    assert len(there.rows) <= 1024
    assert len(there.gates) <= 4096
    assert plan(there, 1.5, A, B) == (B,)


def test_an_outage_that_one_process_saw_is_avoided_by_all_until_a_probe_is_answered() -> None:
    here, there = Board(), Board()
    mine, theirs = News(here), News(there)
    for _ in range(3):
        here.fail(A, 1.0, errors.UpstreamOverloaded("x"))
    tell(here, mine, theirs, 1.0)
    assert plan(there, 1.5, A, B) == (B,)
    here.begin(A, 6.1)
    here.succeed(A, 6.2, None)
    tell(here, mine, theirs, 6.3)
    assert A in plan(there, 6.4, A, B)


def test_a_wait_that_a_provider_asks_for_is_kept_by_all() -> None:
    here, there = Board(), Board()
    here.fail(A, 100.0, errors.UpstreamRateLimited("x", retry_after_s=10.0))
    tell(here, News(here), News(there), 104.0)
    assert plan(there, 104.0, A) == ()
    assert plan(there, 110.5, A) == (A,)


@pytest.fixture
async def store() -> AsyncIterator[Any]:
    client = redis.Redis.from_url(URL, socket_connect_timeout=1, socket_timeout=1)
    try:
        await client.ping()
    except (OSError, redis.RedisError):
        await client.aclose()
        # Sharing is between processes over a real Redis; the embedded profile has one process and no Redis.
        pytest.skip(f"no Redis answers at {URL}")
    await client.delete(STREAM)
    yield client
    await client.delete(STREAM)
    await client.aclose()


async def test_processes_share_over_redis(store: Any) -> None:
    here, there = Board(), Board()
    mine, theirs = Exchange(URL, here), Exchange(URL, there)
    await mine.run(0.0, [])
    await theirs.run(0.0, [])
    for _ in range(4):
        here.succeed(A, 1.0, 300_000)
    await mine.run(1.0, [])
    await theirs.run(1.1, [])
    await theirs.run(1.2, [])  # nothing is taken twice
    figures = there.figures(A, 2.0)
    assert figures is not None
    assert figures.samples == 4
    await mine.close()
    await theirs.close()


async def test_what_cannot_be_read_is_passed_over(store: Any) -> None:
    board = Board()
    exchange = Exchange(URL, board)
    await exchange.run(0.0, [])
    await store.xadd(STREAM, {"p": "other", "d": b"{nonsense"})
    await store.xadd(
        STREAM, {"p": "other", "d": b'{"rows":[["a","a/m","m","http://a",[[0,3]]]],"gates":[],"switches":[]}'}
    )
    await exchange.run(1.0, [])
    assert board.figures(A, 1.0) is not None
    await exchange.close()


async def test_without_redis_a_process_knows_its_own_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    board = Board()
    exchange = Exchange("redis://127.0.0.1:1/0", board)
    board.succeed(A, 1.0, None)
    await exchange.run(1.0, [])
    await exchange.run(2.0, [])
    assert exchange.is_away
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    await exchange.close()
