"""`POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from __future__ import annotations

import asyncio

import orjson

from gateway import errors, native, pipeline
from gateway.context import ChatCall
from gateway.dialects.anthropic import body, counting
from gateway.dialects.protocol import Dialect
from gateway.http import Request, send_json
from gateway.providers import quirks
from gateway.providers.anthropic_messages import native as passing
from gateway.providers.protocol import Endpoint
from gateway.state import State

_COUNTING_S = 10.0


async def handle(state: State, request: Request, dialect: Dialect) -> None:
    """Serve one call, streamed or not."""
    await pipeline.serve_chat(state, request, dialect)


async def count_tokens(state: State, request: Request, dialect: Dialect) -> None:
    """Answer how many tokens a call's input has: counted by the provider where it can, estimated elsewhere.

    `x_kairosroute.is_estimate` says which. It costs nothing and makes no record.
    """
    key = await pipeline.authenticate(state, request, scope="chat")
    raw = await request.read(state.max_request_bytes)
    call = body.parse(raw, request.headers, is_test=key.is_test, is_counting=True)
    await pipeline.require_clean(call, key)
    endpoint = state.router.decide(call, key, call_id=request.body_id, at=request.now).endpoints[0]
    counted = None if endpoint.is_simulated else await _counted(state, call, endpoint)
    tokens = counting.estimate(call.body) if counted is None else counted
    told = {"is_estimate": counted is None, "model": endpoint.model}
    await send_json(request, orjson.dumps({"input_tokens": tokens, "x_kairosroute": told}))


async def _counted(state: State, call: ChatCall, endpoint: Endpoint) -> int | None:
    """Return the provider's count, None where it has none to give: an estimate is better than an error then."""
    spoken = native.of(call.native, endpoint.protocol)
    if spoken is None or spoken.protocol != quirks.ANTHROPIC_MESSAGES:
        return None
    asked = passing.count(spoken, endpoint=endpoint)
    try:
        async with asyncio.timeout(_COUNTING_S):
            sent = await state.providers.upstream.send(
                endpoint.base_url,
                asked.path,
                asked.headers,
                asked.body,
                collects=True,
                timeouts=state.providers.timeouts,
            )
    except (errors.UpstreamFailed, TimeoutError):
        return None
    try:
        answer = orjson.loads(sent.response.body) if sent.response.status == 200 else {}
    except orjson.JSONDecodeError:
        return None
    finally:
        sent.close()
    tokens = answer.get("input_tokens") if isinstance(answer, dict) else None
    return tokens if type(tokens) is int and tokens >= 0 else None
