"""`GET /v1/performance`: how each endpoint does, over the last five minutes of all calls that this process knows."""

from __future__ import annotations

import time
from dataclasses import asdict

import orjson

from gateway import pipeline
from gateway.dialects.protocol import Dialect
from gateway.health import upkeep
from gateway.health.window import WINDOW_S
from gateway.http import Request, send_json
from gateway.state import State


async def handle(state: State, request: Request, dialect: Dialect) -> None:
    """Answer the endpoints that were called lately. Under three samples the state is neutral and the figures null."""
    await pipeline.authenticate(state, request, scope="models")
    found = []
    for one in upkeep.picture(state.providers.health, time.perf_counter(), is_public=state.is_public):
        told = asdict(one)
        errors = told.pop("error_ratio")
        found.append(
            {
                "object": "endpoint_performance",
                "model": told["model"],
                "provider": told["provider"],
                "state": told["state"],
                "samples": told["samples"],
                "error_rate": errors,
                "uptime": None if errors is None else round(1.0 - errors, 4),
                "latency_ms": {
                    "p50": told["first_token_p50_ms"],
                    "p75": told["first_token_p75_ms"],
                    "p95": told["first_token_p95_ms"],
                },
                "throughput_tokens_per_s": {"p50": told["tokens_per_s_p50"]},
                "failures": told["failures"],
                "weight": told["weight"],
            }
        )
    body = orjson.dumps({"object": "list", "window_s": int(WINDOW_S), "data": found})
    await send_json(request, body)
