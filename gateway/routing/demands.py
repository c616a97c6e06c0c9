"""What one call demands of the endpoint that serves it, read once from its body and its preferences. Pure.

`gateway.routing.gates` holds an endpoint against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway import estimation
from gateway.catalog.models import Model
from gateway.catalog.prices import PriceRow
from gateway.context import ANYTHING, AllowList, ChatCall
from gateway.preferences import MaxPrice

# What an answer is taken to be long where the call sets no bound.
USUAL_OUTPUT_TOKENS: Final = 500

_MEDIA: Final = {"image_url": "images", "file": "files", "input_audio": "audio_input"}
_NO_REASONING: Final = (None, "none", "minimal", False)
# Fields that say nothing about how the model answers: no provider need support them.
_NOT_PARAMETERS: Final = frozenset(
    {"model", "messages", "stream", "stream_options", "user", "metadata", "store", "functions", "function_call"}
)


class Terms(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The part of a demand that many calls share: what a gate says of it and a model holds for the day."""

    day: str  # ISO date, UTC
    is_automatic: bool = False
    allow_list: AllowList = ANYTHING
    capabilities: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    requires_zdr: bool = False
    denies_data_collection: bool = False
    quantizations: tuple[str, ...] = ()
    provider_only: tuple[str, ...] = ()
    provider_ignore: tuple[str, ...] = ()
    allowed_models: tuple[str, ...] = ()
    excluded_models: tuple[str, ...] = ()


class Demand(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a call demands. `checks_fit`: whether the catalog's facts about a model's abilities may refuse it."""

    terms: Terms
    input_tokens: int  # estimated
    asked_output_tokens: int | None = None
    max_price: MaxPrice | None = None
    max_cost_nanousd: int | None = None
    requires_free: bool = False
    requires_price: bool = False
    checks_fit: bool = True
    only_native: tuple[str, ...] = ()  # what only the client's own protocol carries

    def output_tokens(self, model: Model) -> int:
        """Return the length that the answer is priced at: the call's bound, or the usual length, within the model's."""
        wanted = USUAL_OUTPUT_TOKENS if self.asked_output_tokens is None else self.asked_output_tokens
        return wanted if model.max_output_tokens is None else min(wanted, model.max_output_tokens)

    def cost(self, model: Model, row: PriceRow | None) -> int | None:
        """Return what the call may cost by a row, in nano-USD, rounded up; None where no price is known."""
        if row is None:
            return None
        rates = row.rates_for(self.input_tokens)
        exact = self.input_tokens * rates.input + self.output_tokens(model) * rates.output + row.per_million_requests
        return -(-exact // 1_000_000)


def of(call: ChatCall, *, day: str, is_automatic: bool, allow_list: AllowList, needs_reasoning: bool = False) -> Demand:
    """Return what a call demands on a day (ISO date, UTC)."""
    wishes, body = call.preferences, call.body
    needs = _media(body.get("messages") or ()).union(wishes.capabilities)
    if body.get("tools") or body.get("functions"):
        needs.add("tools")
    response_format = body.get("response_format")
    if type(response_format) is dict and response_format.get("type") == "json_schema":
        needs.add("json_schema")
    if needs_reasoning or _asks_for_reasoning(body):
        needs.add("reasoning")
    if "audio" in (body.get("modalities") or ()):
        needs.add("audio_output")
    only = wishes.provider_only
    if wishes.provider_order and not wishes.allows_fallbacks:
        only = tuple(one for one in wishes.provider_order if not only or one in only) or ("",)
    return Demand(
        terms=Terms(
            day=day,
            is_automatic=is_automatic,
            allow_list=allow_list,
            capabilities=frozenset(needs),
            parameters=frozenset(body) - _NOT_PARAMETERS if wishes.requires_parameters else frozenset(),
            requires_zdr=wishes.requires_zdr,
            denies_data_collection=wishes.denies_data_collection,
            quantizations=wishes.quantizations,
            provider_only=only,
            provider_ignore=wishes.provider_ignore,
            allowed_models=wishes.allowed_models if is_automatic else (),
            excluded_models=wishes.excluded_models if is_automatic else (),
        ),
        input_tokens=estimation.input_tokens(call),
        only_native=() if call.native is None else call.native.needs[:5],
        asked_output_tokens=_asked_output(body),
        max_price=wishes.max_price,
        max_cost_nanousd=wishes.max_cost_nanousd,
        requires_price=is_automatic,
    )


def _media(messages: Any) -> set[str]:
    """Return the capabilities that the parts of the messages need."""
    found: set[str] = set()
    for message in messages:
        content = message.get("content")
        if type(content) is list:
            found.update(_MEDIA[part["type"]] for part in content if type(part) is dict and part.get("type") in _MEDIA)
    return found


def _asks_for_reasoning(body: Mapping[str, Any]) -> bool:
    if body.get("reasoning_effort") not in _NO_REASONING:
        return True
    reasoning, thinking = body.get("reasoning"), body.get("thinking")
    if type(reasoning) is dict and reasoning.get("enabled") is not False:
        asked = reasoning.get("effort") not in _NO_REASONING or reasoning.get("max_tokens") or reasoning.get("enabled")
        if asked:
            return True
    return type(thinking) is dict and thinking.get("type") not in (None, "disabled")


def _asked_output(body: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        asked = body.get(name)
        if type(asked) is int and asked > 0:
            return asked
    return None
