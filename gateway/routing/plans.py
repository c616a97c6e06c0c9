"""Bring the endpoints that passed the gates into the order in which they are tried. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gateway.preferences import Preferences
from gateway.providers.protocol import Endpoint

PRICE, THROUGHPUT, LATENCY = "price", "throughput", "latency"
SORTS = frozenset({PRICE, THROUGHPUT, LATENCY})

# p75 of the time to first token in ms, p50 of the tokens per second, the breaker's state; None where nothing is known.
Health = tuple[float | None, float | None, str]
HealthOf = Callable[[Endpoint], Health | None]


def nothing_known(endpoint: Endpoint) -> Health | None:
    """Return no health: what a process says that does not measure it."""
    return None


class Passed(msgspec.Struct, frozen=True, gc=False):
    """An endpoint that passed all gates. `cost_nanousd` is the estimate, None where no price is known."""

    endpoint: Endpoint
    provider: str  # whose model it is in the catalog: a simulated endpoint stands for it
    cost_nanousd: int | None


def arrange(passed: Sequence[Passed], wishes: Preferences, *, sort: str, health_of: HealthOf) -> list[Passed]:
    """Return the endpoints of one model, or of `auto`, in the order in which they are tried.

    Asked-for providers come first, then those that keep the preferred latency and throughput, then as `sort` says;
    what is equal keeps its order. Endpoints whose health is not known are taken to be fine.
    """
    found = list(passed)
    if sort == PRICE:
        found.sort(key=lambda one: _last_if_none(one.cost_nanousd))
    elif sort == THROUGHPUT:
        found.sort(key=lambda one: -(_throughput(health_of(one.endpoint)) or 0.0))
    elif sort == LATENCY:
        found.sort(key=lambda one: _last_if_none(_latency(health_of(one.endpoint))))
    if wishes.preferred_max_latency_ms is not None or wishes.preferred_min_throughput is not None:
        found.sort(key=lambda one: _is_slow(health_of(one.endpoint), wishes))
    if wishes.provider_order:
        places = {provider: place for place, provider in enumerate(wishes.provider_order)}
        found.sort(key=lambda one: places.get(one.provider, len(places)))
    return found if wishes.allows_fallbacks or wishes.provider_order else found[:1]


def _last_if_none(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0.0


def _latency(health: Health | None) -> float | None:
    return None if health is None else health[0]


def _throughput(health: Health | None) -> float | None:
    return None if health is None else health[1]


def _is_slow(health: Health | None, wishes: Preferences) -> bool:
    latency, throughput = _latency(health), _throughput(health)
    most, least = wishes.preferred_max_latency_ms, wishes.preferred_min_throughput
    return (most is not None and latency is not None and latency > most) or (
        least is not None and throughput is not None and throughput < least
    )
