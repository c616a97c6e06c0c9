"""What a served gateway says of models, and what routing does to a call that is really made."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from gateway.catalog.contracts import Contracts, Term
from tests.factories.calls import make_key
from tests.gateway.rig import ANSWER, ASKED, KEY, Reply, Running, answering, ask, http, read_reply, running

PLAYED = answering(http(200, orjson.dumps(ANSWER), "content-type: application/json"))


async def get(gateway: Running, path: str) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n".encode())
    reply = await read_reply(reader)
    writer.close()
    return reply


async def test_the_endpoints_of_a_model_are_listed_with_price_policy_and_uptime(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, PLAYED, has_lane=has_lane) as gateway:
        await ask(gateway, ASKED, times=3)
        reply = await get(gateway, "/api/v1/models/openai/gpt-4o-mini/endpoints")
        assert reply.status == 200
        data = reply.json()["data"]
        assert data["id"] == "openai/gpt-4o-mini"
        (ours,) = [one for one in data["endpoints"] if one["tag"] == "openai"]
        assert ours["uptime_last_5m"] == 100.0
        assert ours["pricing"]["prompt"] == "0.00000015"
        assert ours["data_policy"]["zero_data_retention"] is True
        assert (await get(gateway, "/v1/models/gpt-99/endpoints")).status == 404


async def test_a_contract_price_settles_the_call_and_is_on_its_receipt(tmp_path: Path, has_lane: bool) -> None:
    async def cost(key: Any, directory: Path) -> Any:
        async with running(directory, PLAYED, has_lane=has_lane, key=key) as gateway:
            (reply,) = await ask(gateway, ASKED)
            (record,) = gateway.records()
            assert reply.json()["x_kairosroute"]["provider_cost_usd"] == record.provider_cost_nanousd / 1e9
            return record

    listed = await cost(make_key(), tmp_path / "a")
    term = Term(term_id="price_1", pattern="openai/*", valid_from=0.0, discount_basis_points=5_000)
    agreed = await cost(replace(make_key(), contracts=Contracts([term])), tmp_path / "b")
    assert abs(agreed.provider_cost_nanousd * 2 - listed.provider_cost_nanousd) <= 1
    assert agreed.price_version not in ("", listed.price_version)


async def test_a_refusal_of_the_gates_reaches_the_client_before_any_provider(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, PLAYED, has_lane=has_lane) as gateway:
        (reply,) = await ask(gateway, {**ASKED, "provider": {"only": ["groq"]}})
        assert (reply.status, reply.json()["error"]["code"]) == (404, "no_allowed_provider")
        assert reply.json()["error"]["metadata"]["gates"]["providers"] >= 1
        assert gateway.provider_hits == []
