"""Which embedding model serves a call, and where. Pure.

Vectors of different models do not mix: a call goes to endpoints of one model only, whatever else it names. The gates
are those of every call.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import msgspec

from gateway import errors
from gateway.catalog.models import EMBEDDING, Model, Resolution
from gateway.context import AllowList, ChatCall, KeySnapshot
from gateway.providers import embeddings
from gateway.providers.protocol import Endpoint
from gateway.routing import demands, gates, plans, refusals
from gateway.routing.candidates import Candidate
from gateway.routing.demands import Demand
from gateway.routing.plans import Passed
from gateway.routing.search import Field, Search

# The cheapest configured embedding model: ours, and the SDK's default.
AUTO = frozenset({"kr-auto-embed", "auto-embed"})
_DIMENSIONS = "dimensions"


class Found(msgspec.Struct, frozen=True):
    """What passed, of one model, in the order in which it is tried."""

    passed: list[Passed]
    search: Search
    demand: Demand
    resolution: Resolution
    is_pinned: bool


def find(field: Field, call: ChatCall, key: KeySnapshot, *, call_id: str, at: float) -> Found:
    """Return the endpoints that may embed the call's texts.

    Raises:
        errors.ModelNotFound, errors.NoProvider, errors.InvalidRequest, errors.PaymentRequired: as `Router.decide`.
    """
    name = call.requested_model
    resolution = field.catalog.resolve(name)
    is_automatic = resolution.is_auto or name.lower() in AUTO
    if is_automatic:
        models = field.catalog.of_kind(EMBEDDING)
    else:
        models = field.models_of(name, resolution, call, key, call_id)
        if not models:
            raise refusals.not_found(name, resolution)
        if models[0].is_described and models[0].kind != EMBEDDING:
            raise _no_embedding_model(models[0])
    demand = _demand(call, models, day=field.day, is_automatic=is_automatic, allow_list=key.guardrails.allow_list)
    search = Search(field, call, key, call_id=call_id, at=at)
    passed = [one for one in search.through(models, demand, plans.PRICE if is_automatic else "") if _can_embed(one)]
    if not passed:
        if any(not one.gate for one in search.candidates):
            raise errors.InvalidRequest(
                f"The provider of `{name[:100]}` has no embeddings in the protocol that it is configured with.",
                param="model",
                code="model_kind",
            )
        raise refusals.nothing_eligible(name, search.candidates, demand)
    families = {model.id: model.family for model in models}
    first = families.get(passed[0].endpoint.model)
    return Found(
        passed=[one for one in passed if families.get(one.endpoint.model) == first],
        search=search,
        demand=demand,
        resolution=resolution,
        is_pinned=not is_automatic,
    )


@lru_cache(maxsize=1024)
def spoken(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with the protocol in which it embeds."""
    return replace(endpoint, protocol=embeddings.PROTOCOLS[endpoint.protocol])


def stopped(found: Found) -> tuple[Candidate, ...]:
    """Return the candidates; those that passed and are of another model than the first are named as such."""
    kept = {one.endpoint.model for one in found.passed}
    return tuple(
        one
        if one.gate or one.model in kept
        else msgspec.structs.replace(one, gate=gates.MODEL, reason="vectors of different models do not mix")
        for one in found.search.candidates
    )


def _demand(
    call: ChatCall, models: tuple[Model, ...], *, day: str, is_automatic: bool, allow_list: AllowList
) -> Demand:
    """Return what the call demands: a length of the vectors that is not the model's own must be possible there."""
    demand = demands.of(call, day=day, is_automatic=is_automatic, allow_list=allow_list)
    needs = set(demand.terms.capabilities)
    wanted = call.body.get(_DIMENSIONS)
    if wanted is not None and (is_automatic or models[0].dimensions != wanted):
        needs.add(_DIMENSIONS)
    terms = msgspec.structs.replace(demand.terms, capabilities=frozenset(needs), parameters=frozenset())
    return msgspec.structs.replace(demand, terms=terms, asked_output_tokens=0)


def _can_embed(one: Passed) -> bool:
    return one.endpoint.protocol in embeddings.PROTOCOLS


def _no_embedding_model(model: Model) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"`{model.id}` does not embed: name an embedding model, or `kr-auto-embed`. `GET /v1/models` lists them.",
        param="model",
        code="model_kind",
    )
