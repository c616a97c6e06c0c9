"""`GET /v1/models`, `/models/{id}` and `/models/{author}/{slug}/endpoints`: what can be called, at which prices."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import unquote

from gateway import pipeline
from gateway.catalog import listing
from gateway.catalog.models import Model
from gateway.dialects.protocol import Dialect
from gateway.health.window import MIN_SAMPLES
from gateway.http import Request, send_json
from gateway.routing import parameters, refusals
from gateway.state import State

_ENDPOINTS = "/endpoints"


async def list_models(state: State, request: Request, dialect: Dialect) -> None:
    """Answer the models that this key can reach: all of them for a test key, else those of the providers that the
    operator configured or the customer has keys for."""
    key = await pipeline.authenticate(state, request, scope="models")
    providers = (
        None if key.is_test else {*state.registry.names(), *(key.credentials.by_provider if key.credentials else ())}
    )
    await send_json(
        request,
        listing.openai_list(
            state.catalog, state.book, at=request.now, parameters_of=parameters.supported, providers=providers
        ),
    )


async def get_model(state: State, request: Request, dialect: Dialect) -> None:
    """Answer one model by any of its names."""
    await pipeline.authenticate(state, request, scope="models")
    name = unquote(request.path.partition("/models/")[2])
    if name.endswith(_ENDPOINTS):
        await _list_endpoints(state, request, name.removesuffix(_ENDPOINTS))
        return
    resolution = state.catalog.resolve(name)
    if not resolution.models:
        raise refusals.not_found(name, resolution)
    await send_json(
        request,
        listing.openai_model(
            resolution.models[0], state.catalog, state.book, at=request.now, parameters_of=parameters.supported
        ),
    )


async def _list_endpoints(state: State, request: Request, name: str) -> None:
    """Answer every endpoint of a model: the one that an id means, or all providers of the name, cheapest first."""
    resolution = state.catalog.resolve(name)
    if not resolution.models:
        raise refusals.not_found(name, resolution)
    family = state.catalog.resolve(resolution.models[0].family).models
    models = family if resolution.models[0] in family else resolution.models
    now = time.perf_counter()

    await send_json(
        request,
        listing.endpoints(
            models,
            state.catalog,
            state.book,
            at=request.now,
            parameters_of=parameters.supported,
            health_of=lambda model: _measured(state, model, now),
        ),
    )


def _measured(state: State, model: Model, now: float) -> dict[str, Any]:
    """Return what the last five minutes of calls to an endpoint say; null where there were none, or too few."""
    endpoint = state.registry.endpoint_for(model=model.id, provider=model.provider, upstream_model=model.upstream)
    figures = None if endpoint is None else state.providers.health.figures(endpoint, now)
    latency = throughput = uptime = None
    if figures is not None and figures.samples >= MIN_SAMPLES:
        uptime = round(100 * (1 - figures.error_ratio), 2)
        latency = {"p50": figures.first_token_p50_ms, "p75": figures.first_token_p75_ms}
        throughput = {"p50": figures.tokens_per_s_p50}
    return {
        "status": -1 if endpoint is None else 0,  # OpenRouter's: below zero is out of reach
        "uptime_last_5m": uptime,
        "uptime_last_30m": None,
        "uptime_last_1d": None,
        "latency_last_5m": latency,
        "throughput_last_5m": throughput,
    }
