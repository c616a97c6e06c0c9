"""`GET /v1/performance`: what a client can read of the endpoints' health."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from tests.gateway.rig import (
    KEY,
    STREAMED,
    WHOLE_STREAM,
    Running,
    answering,
    ask,
    chunked,
    http,
    read_reply,
    running,
)


async def get(gateway: Running, path: str, *, key: str = KEY) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    line = f"authorization: Bearer {key}\r\n" if key else ""
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n{line}\r\n".encode())
    reply = await read_reply(reader)
    writer.close()
    return reply.status, reply.body


@pytest.mark.parametrize("path", ["/v1/performance", "/api/v1/performance"])
async def test_it_tells_how_each_endpoint_does(tmp_path: Path, has_lane: bool, path: str) -> None:
    async with running(tmp_path, answering(chunked(*WHOLE_STREAM)), has_lane=has_lane) as gateway:
        before = orjson.loads((await get(gateway, path))[1])
        await ask(gateway, STREAMED, times=2)
        few = orjson.loads((await get(gateway, path))[1])
        await ask(gateway, STREAMED, times=2)
        status, body = await get(gateway, path)
    assert before == {"object": "list", "window_s": 300, "data": []}
    (one,) = few["data"]
    assert (one["state"], one["samples"], one["error_rate"], one["latency_ms"]["p50"]) == ("neutral", 2, None, None)
    (one,) = orjson.loads(body)["data"]
    assert status == 200
    assert (one["provider"], one["model"], one["state"]) == ("openai", "openai/gpt-4o-mini", "healthy")
    assert (one["samples"], one["error_rate"], one["uptime"], one["failures"]) == (4, 0.0, 1.0, {})
    assert 0 < one["latency_ms"]["p50"] <= one["latency_ms"]["p75"] <= one["latency_ms"]["p95"]


async def test_failures_are_told_by_class(tmp_path: Path, has_lane: bool) -> None:
    down = http(503, b"{}")
    async with running(tmp_path, answering(down), has_lane=has_lane) as gateway:
        await ask(gateway, STREAMED, times=3)
        (one,) = orjson.loads((await get(gateway, "/v1/performance"))[1])["data"]
    assert (one["state"], one["error_rate"], one["failures"]) == ("open", 1.0, {"UpstreamOverloaded": 3})


async def test_it_asks_for_a_key(tmp_path: Path) -> None:
    async with running(tmp_path, answering(b""), has_lane=False) as gateway:
        status, body = await get(gateway, "/v1/performance", key="")
    assert (status, orjson.loads(body)["error"]["code"]) == (401, "missing_api_key")
