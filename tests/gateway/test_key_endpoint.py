"""`GET /v1/key` says what a key has spent and which budget will block it first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.factories.calls import make_key
from tests.gateway.limits import make_limit
from tests.gateway.rig import ANSWER, ASKED, KEY, answering, ask, http, read_reply, running


async def look(port: int, path: str) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n".encode())
    reply = await asyncio.wait_for(read_reply(reader), 10)
    writer.close()
    assert reply.status == 200
    return reply.json()["data"]


@pytest.mark.parametrize("path", ["/v1/key", "/api/v1/key"])
@pytest.mark.django_db(transaction=True)
async def test_it_names_the_budget_that_will_block_first(tmp_path: Path, path: str) -> None:
    key = make_key(
        scopes=frozenset({"chat"}),
        max_cost_per_request_nanousd=500_000_000,
        limits=(
            make_limit(name="Company"),
            make_limit(name="Own", scope="api_key", amount=50_000_000, period="day"),
            make_limit(kind="requests", amount=60),
        ),
    )
    async with running(tmp_path, answering(http(200, orjson.dumps(ANSWER))), has_lane=True, key=key) as gateway:
        await ask(gateway, {**ASKED, "max_tokens": 10}, times=2)
        data = await look(gateway.port, path)
    assert data["effective_budget"]["name"] == "Own"
    assert data["effective_budget"]["spend_usd"] == 0.000036
    assert data["effective_budget"]["resets_at"].endswith("T00:00:00Z")
    assert [budget["name"] for budget in data["budgets"]] == ["Own", "Company"]
    assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == (0.05, 0.049964, "daily")
    assert data["rate_limit"]["requests"] == 60
    assert data["guardrails"] == {"quality_floor": None, "max_cost_per_request_usd": 0.5}
    assert (data["label"], data["usage"], data["is_free_tier"]) == ("k", 0.0, False)


@pytest.mark.django_db(transaction=True)
async def test_a_key_without_limits_has_none(tmp_path: Path) -> None:
    async with running(tmp_path, answering(b""), has_lane=False) as gateway:
        data = await look(gateway.port, "/api/v1/key")
    assert (data["limit"], data["limit_remaining"], data["effective_budget"]) == (None, None, None)
    assert data["rate_limit"]["requests"] == -1
