"""Limits as a client meets them: the ASGI way and the express lane alike, over a real server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.factories.calls import make_key
from tests.gateway.limits import make_limit
from tests.gateway.rig import ANSWER, ASKED, STREAMED, WHOLE_STREAM, answering, ask, chunked, http, running

BOUNDED = {**ASKED, "max_tokens": 1000}
WHOLE = answering(http(200, orjson.dumps(ANSWER)))


async def test_what_calls_cost_is_what_the_budget_has_spent(tmp_path: Path, has_lane: bool) -> None:
    key = make_key(limits=(make_limit(), make_limit(kind="requests", amount=100)))
    async with running(tmp_path, WHOLE, has_lane=has_lane, key=key) as gateway:
        await asyncio.gather(*(ask(gateway, BOUNDED, times=3) for _ in range(5)))
        records = gateway.records()
        (purse,) = [meter.purse for meter in gateway.state.admission.meters() if meter.purse]
    assert len(records) == 15
    assert purse.spent == sum(record.booked_nanousd for record in records) == 15 * 18_000
    assert purse.reserved == 0


async def test_an_answer_says_what_is_left_of_the_minute(tmp_path: Path, has_lane: bool) -> None:
    key = make_key(limits=(make_limit(kind="requests", amount=3), make_limit(kind="tokens", amount=9000)))
    async with running(tmp_path, WHOLE, has_lane=has_lane, key=key) as gateway:
        replies = await ask(gateway, BOUNDED, times=4)
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["2", "1", "0", "0"]
    assert replies[0].headers["x-ratelimit-limit-tokens"] == "9000"
    assert replies[0].headers["x-ratelimit-reset-requests"] == "1m0s"
    assert replies[3].status == 429
    assert replies[3].headers["x-should-retry"] == "true"
    assert 0 < int(replies[3].headers["retry-after"]) <= 61
    assert replies[3].json()["error"]["code"] == "rate_limit_exceeded"


async def test_a_stream_settles_when_it_ends(tmp_path: Path, has_lane: bool) -> None:
    key = make_key(limits=(make_limit(),))
    streamed = {**STREAMED, "max_tokens": 1000}
    async with running(tmp_path, answering(chunked(*WHOLE_STREAM)), has_lane=has_lane, key=key) as gateway:
        await ask(gateway, streamed, times=3)
        (purse,) = [meter.purse for meter in gateway.state.admission.meters() if meter.purse]
        assert (purse.spent, purse.reserved) == (3 * 18_000, 0)


@pytest.mark.parametrize("provider", [http(500, b"{}"), http(400, b'{"error":{"message":"no"}}')])
async def test_a_call_that_the_provider_refused_costs_no_budget(
    tmp_path: Path, has_lane: bool, provider: bytes
) -> None:
    key = make_key(limits=(make_limit(),))
    async with running(tmp_path, answering(provider), has_lane=has_lane, key=key) as gateway:
        replies = await ask(gateway, BOUNDED, times=3)
        (purse,) = [meter.purse for meter in gateway.state.admission.meters() if meter.purse]
    assert all(reply.status >= 400 for reply in replies)
    assert (purse.spent, purse.reserved) == (0, 0)


async def test_a_refused_call_asks_no_provider_and_has_a_record(tmp_path: Path, has_lane: bool) -> None:
    key = make_key(limits=(make_limit(amount=1, name="Tiny"),))
    async with running(tmp_path, WHOLE, has_lane=has_lane, key=key) as gateway:
        (reply,) = await ask(gateway, BOUNDED)
        records = gateway.records()
    assert gateway.provider_hits == []
    assert (reply.status, reply.json()["error"]["code"]) == (403, "budget_exceeded")
    assert reply.json()["error"]["metadata"]["limit_name"] == "Tiny"
    assert [(record.http_status, record.error_class, record.booked_nanousd) for record in records] == [
        (403, "BudgetExceeded", 0)
    ]


async def test_parallel_clients_never_overspend(tmp_path: Path, has_lane: bool) -> None:
    key = make_key(limits=(make_limit(amount=5_000_000),))

    async def client(gateway: Any) -> list[int]:
        return [reply.status for reply in await ask(gateway, BOUNDED, times=10)]

    async with running(tmp_path, WHOLE, has_lane=has_lane, key=key) as gateway:
        found = await asyncio.gather(*(client(gateway) for _ in range(20)))
        records = gateway.records()
        (purse,) = [meter.purse for meter in gateway.state.admission.meters() if meter.purse]
    statuses = {status for part in found for status in part}
    assert statuses <= {200, 402, 403}
    assert len(records) == 200
    assert purse.spent == sum(record.booked_nanousd for record in records) <= 5_000_000


async def test_a_downgraded_answer_names_the_model_that_answered(tmp_path: Path) -> None:
    key = make_key(limits=(make_limit(amount=2_000_000, downgrades=True),))
    async with running(tmp_path, WHOLE, has_lane=True, key=key) as gateway:
        (reply,) = await ask(gateway, {**BOUNDED, "model": "gpt-5.5"})
        (record,) = gateway.records()
    body = reply.json()
    assert body["x_kairosroute"]["route_reason"] == "budget-downgrade" == record.route_reason
    assert body["model"] != "openai/gpt-5.5"
    assert orjson.loads(record.receipt)["downgrade"]["from"] == "openai/gpt-5.5"
