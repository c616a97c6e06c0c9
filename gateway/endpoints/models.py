"""`GET /v1/models` and `GET /v1/models/{id}`: what can be called, with prices."""

from __future__ import annotations

from urllib.parse import unquote

from gateway import errors, pipeline
from gateway.catalog import listing
from gateway.dialects.protocol import Dialect
from gateway.http import Request, send_json
from gateway.routing import parameters
from gateway.state import State


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
    resolution = state.catalog.resolve(name)
    if not resolution.models:
        nearest = f" Did you mean {', '.join(resolution.nearest)}?" if resolution.nearest else ""
        raise errors.ModelNotFound(f"There is no model `{name[:100]}`.{nearest}", param="model")
    await send_json(
        request,
        listing.openai_model(resolution.models[0], state.book, at=request.now, parameters_of=parameters.supported),
    )
