"""The hard gates: named reasons for which an endpoint may not serve a call. Pure.

Every endpoint of every candidate goes through the same gates, the fallbacks as the first choice. A gate returns why it
stops an endpoint, or nothing. What is not known does not pass a gate that protects (privacy, quantization, price), and
does pass one that only predicts (context, output length).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

from gateway.catalog.models import Model, Provider
from gateway.catalog.prices import PriceRow
from gateway.routing import parameters
from gateway.routing.demands import Demand, Terms

# `auto` leaves a model alone this long before its provider retires it; calls that name it are warned.
RETIREMENT_NOTICE_DAYS: Final = 90

PROVIDER: Final = "provider"  # its provider is not configured
ALLOW_LIST: Final = "allow_list"  # the workspace's guardrails
PROTOCOL: Final = "protocol"
MODEL: Final = "model"
PROVIDERS: Final = "providers"
DEPRECATION: Final = "deprecation"
PRIVACY: Final = "privacy"
QUANTIZATION: Final = "quantization"
CAPABILITY: Final = "capability"
PARAMETERS: Final = "parameters"
CONTEXT: Final = "context"
MAX_OUTPUT: Final = "max_output"
PRICE: Final = "price"
BUDGET: Final = "budget"

# In the order in which they are asked: who got furthest is named where nobody passes.
NAMES: Final = (
    PROVIDER, ALLOW_LIST, PROTOCOL, MODEL, PROVIDERS, DEPRECATION, PRIVACY, QUANTIZATION, CAPABILITY, PARAMETERS,
    CONTEXT, MAX_OUTPUT, PRICE, BUDGET,
)  # fmt: skip
# These hold what the catalog knows of a model against the call. Where a caller names the model, the provider has the
# last word: see `Demand.checks_fit`.
FIT: Final = frozenset({CAPABILITY, CONTEXT, MAX_OUTPUT})

Stop = tuple[str, str]  # the gate and why


def stopped_for_the_day(terms: Terms, model: Model, provider: Provider | None, *, checks_fit: bool) -> Stop | None:
    """Return the first gate that stops a model for all calls of these terms, None where none does."""
    for name, gate in _DAILY:
        if checks_fit or name not in FIT:
            reason = gate(terms, model, provider)
            if reason:
                return name, reason
    return None


def stopped_now(demand: Demand, model: Model, row: PriceRow | None, cost_nanousd: int | None) -> Stop | None:
    """Return the first gate that stops a model for this very call at these prices, None where none does."""
    if demand.checks_fit:
        context = model.context_tokens
        if context is not None and demand.input_tokens + (demand.asked_output_tokens or 0) > context:
            return CONTEXT, f"about {demand.input_tokens} tokens and the answer do not fit its {context}"
        longest = model.max_output_tokens
        if longest is not None and (demand.asked_output_tokens or 0) > longest:
            return MAX_OUTPUT, f"answers with at most {longest} tokens"
    reason = _price(demand, row)
    if reason:
        return PRICE, reason
    if demand.max_cost_nanousd is not None:
        if cost_nanousd is None:
            return BUDGET, "its price is not known"
        if cost_nanousd > demand.max_cost_nanousd:
            return BUDGET, f"may cost ${cost_nanousd / 1e9:.6f}"
    return None


def retires_within(model: Model, *, day: str, days: int = RETIREMENT_NOTICE_DAYS) -> bool:
    """Return whether a model's provider retires it at most so many days after a day (ISO date)."""
    if model.deprecated_on is None:
        return False
    return date.fromisoformat(model.deprecated_on) <= date.fromisoformat(day) + timedelta(days=days)


def matches(pattern: str, model: Model) -> bool:
    """Return whether a pattern with `*` names a model: its id, its family or its bare name, in any letter case."""
    wanted = pattern.lower()
    return any(_matches(wanted, name.lower()) for name in (model.id, model.family, model.name))


def _matches(pattern: str, name: str) -> bool:
    # By hand, in linear time: the pattern is a stranger's.
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    if not name.startswith(first):
        return False
    at = len(first)
    *middle, last = rest
    for piece in middle:
        found = name.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(name) - at >= len(last) and name.endswith(last)


def _allow_list(terms: Terms, model: Model, provider: Provider | None) -> str:
    models, providers = terms.allow_list
    if models and not any(matches(pattern, model) for pattern in models):
        return "not among the workspace's models"
    if providers and not any(_matches(pattern, model.provider) for pattern in providers):
        return "not among the workspace's providers"
    return ""


def _model(terms: Terms, model: Model, provider: Provider | None) -> str:
    if terms.allowed_models and not any(matches(pattern, model) for pattern in terms.allowed_models):
        return "not among the allowed models"
    if any(matches(pattern, model) for pattern in terms.excluded_models):
        return "among the excluded models"
    return ""


def _providers(terms: Terms, model: Model, provider: Provider | None) -> str:
    if terms.provider_only and model.provider not in terms.provider_only:
        return "not among the providers asked for"
    if model.provider in terms.provider_ignore:
        return "among the providers to ignore"
    return ""


def _deprecation(terms: Terms, model: Model, provider: Provider | None) -> str:
    if model.deprecated_on is None:
        return ""
    if model.deprecated_on <= terms.day:
        return f"retired on {model.deprecated_on}"
    if terms.is_automatic and retires_within(model, day=terms.day):
        return f"retires on {model.deprecated_on}"
    return ""


def _privacy(terms: Terms, model: Model, provider: Provider | None) -> str:
    if terms.requires_zdr:
        promise = None if provider is None else provider.zero_data_retention
        if model.needs_retention or not promise:
            return "keeps data" if promise is not None else "zero data retention is not known"
    if terms.denies_data_collection and (provider is None or provider.may_train is not False):
        return "its policy on training is not known" if provider is None or provider.may_train is None else "may train"
    return ""


def _quantization(terms: Terms, model: Model, provider: Provider | None) -> str:
    if terms.quantizations and model.quantization not in terms.quantizations:
        return "not known" if model.quantization == "unknown" else f"is {model.quantization}"
    return ""


def _capability(terms: Terms, model: Model, provider: Provider | None) -> str:
    missing = terms.capabilities - model.capabilities
    if missing and model.is_described:
        return f"lacks {', '.join(sorted(missing))}"
    return ""


def _parameters(terms: Terms, model: Model, provider: Provider | None) -> str:
    if terms.parameters:
        unknown = terms.parameters - parameters.supported(model)
        if unknown:
            return f"does not heed {', '.join(sorted(unknown))}"[:120]
    return ""


def _price(demand: Demand, row: PriceRow | None) -> str:
    if row is None:
        needs = demand.requires_price or demand.requires_free or demand.max_price is not None
        return "its price is not known" if needs else ""
    rates = row.rates_for(demand.input_tokens)
    if demand.requires_free and (rates.input or rates.output or row.per_million_requests):
        return "is not free"
    bound = demand.max_price
    if bound is None:
        return ""
    asked = (
        ("input", rates.input, bound.prompt_nanousd_per_mtok),
        ("output", rates.output, bound.completion_nanousd_per_mtok),
        ("a request", -(-row.per_million_requests // 1_000_000), bound.request_nanousd),
    )
    for what, price, most in asked:
        if most is not None and price > most:
            return f"{what} costs ${price / 1e9:g}" + ("" if what == "a request" else " a million tokens")
    return ""


_Daily = Callable[[Terms, Model, Provider | None], str]
_DAILY: Final[tuple[tuple[str, _Daily], ...]] = (
    (ALLOW_LIST, _allow_list),
    (MODEL, _model),
    (PROVIDERS, _providers),
    (DEPRECATION, _deprecation),
    (PRIVACY, _privacy),
    (QUANTIZATION, _quantization),
    (CAPABILITY, _capability),
    (PARAMETERS, _parameters),
)
