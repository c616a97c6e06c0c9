"""What a name's suffix does to a call: which models it leads to, in which order, and in whose meaning. Pure.

`:free` means two things. OpenRouter's is an endpoint that costs nothing; KairosRoute's is the cheapest model of the
same provider. Each is honoured on its own path (`/api/v1`, `/v1`), and the receipt says which one was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from gateway.catalog.models import CHAT, Model

FLOOR, NITRO, FREE, THINKING, EXTENDED = "floor", "nitro", "free", "thinking", "extended"

OPENROUTER = "openrouter"  # the dialect of /api/v1, as the record's column has it
_FAMILY = re.compile(r"^[a-z]+")


class Meaning(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A suffix applied. `said` is what the receipt says; `models` replace the ones that the name alone means."""

    models: tuple[Model, ...]
    said: str = ""
    sort: str = ""
    requires_free: bool = False
    turns_reasoning_on: bool = False


def apply(
    suffix: str, models: Sequence[Model], *, catalog: Iterable[Model], dialect: str, is_automatic: bool = False
) -> Meaning:
    """Return what a suffix means after a name that means `models`; for an automatic name these are all models."""
    models = tuple(models)
    if suffix == FLOOR:
        return Meaning(models=models, said=":floor, the cheapest endpoint first", sort="price")
    if suffix == NITRO:
        return Meaning(models=models, said=":nitro, the endpoint of the highest throughput first", sort="throughput")
    if suffix == FREE and dialect == OPENROUTER:
        return Meaning(
            models=models, said=":free as OpenRouter means it, an endpoint without a price", requires_free=True
        )
    if suffix == FREE and is_automatic:
        return Meaning(models=models, said=":free on an automatic name, the cheapest model", sort="price")
    chat = [model for model in catalog if model.kind == CHAT]
    providers = {model.provider for model in models[:1]}
    if suffix == FREE:
        siblings = tuple(model for model in chat if model.provider in providers)
        return Meaning(
            models=siblings, said=":free as KairosRoute means it, the cheapest model of the same provider", sort="price"
        )
    if suffix == THINKING:
        able = tuple(model for model in models if "reasoning" in model.capabilities)
        if able:
            return Meaning(models=able, said=":thinking, with reasoning on", turns_reasoning_on=True)
        siblings = tuple(m for m in chat if m.provider in providers and "reasoning" in m.capabilities)
        return Meaning(
            models=siblings or models,
            said=":thinking, the cheapest reasoning model of the same provider",
            sort="price",
            turns_reasoning_on=True,
        )
    return Meaning(models=_largest(models, chat), said=":extended, the largest window of the same family and provider")


def _largest(models: Sequence[Model], chat: Iterable[Model]) -> tuple[Model, ...]:
    kin = {(model.provider, model.vendor, _family(model)) for model in models[:1]}
    relatives = [model for model in chat if (model.provider, model.vendor, _family(model)) in kin]
    longest = max((model.context_tokens or 0 for model in (*relatives, *models)), default=0)
    found = [model for model in models if (model.context_tokens or 0) == longest]
    return tuple(found or [model for model in relatives if (model.context_tokens or 0) == longest] or models)


def _family(model: Model) -> str:
    match = _FAMILY.match(model.name)
    return match[0] if match else model.name
