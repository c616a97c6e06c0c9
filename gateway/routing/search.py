"""Hold the models that a call may mean against the gates: `Search.through`. Pure.

Which names a call means, and what is told when nothing passes, is `gateway.routing.decision`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from gateway import native
from gateway.catalog.models import CHAT, Catalog, Model, Resolution
from gateway.catalog.prices import PriceBook
from gateway.context import ChatCall, KeySnapshot
from gateway.preferences import NO_PREFERENCES
from gateway.providers.protocol import Endpoint
from gateway.routing import gates, plans, suffixes
from gateway.routing.candidates import Candidate
from gateway.routing.demands import Demand, Terms
from gateway.routing.plans import HealthOf, Passed
from gateway.routing.suffixes import Meaning

_REMEMBERED = 4096
_TERMS_REMEMBERED = 512


class Reach(Protocol):
    """Where a call can reach a model: with the customer's keys, the operator's, or the simulator's for a test key."""

    def endpoints(self, model: Model, call: ChatCall, key: KeySnapshot, *, call_id: str) -> tuple[Endpoint, ...]:
        """Return the endpoints of a catalog model in the order in which they are to be tried; none: out of reach."""
        ...

    def named(self, name: str, call: ChatCall, key: KeySnapshot, *, call_id: str) -> tuple[Endpoint, ...]:
        """Return those of a model outside of the catalog, at a provider that the name spells out."""
        ...

    def is_settled(self, call: ChatCall, key: KeySnapshot) -> bool:
        """Return whether other calls with the same credentials get the same endpoints, so that they may be kept."""
        ...


class Field:
    """What all searches of a process share: the catalog, the prices, the health, and what the gates said today."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        book: PriceBook,
        reach: Reach,
        health_of: HealthOf,
    ) -> None:
        self.catalog = catalog
        self.chat = catalog.of_kind(CHAT)
        self.book = book
        self.health_of = health_of
        self.reach = reach
        self.day = ""  # ISO date, UTC
        self._endpoints: dict[tuple[str, str, bool], tuple[Endpoint, ...]] = {}
        self._stops: dict[tuple[Terms, bool], dict[str, gates.Stop | None]] = {}

    def begin_day(self, day: str) -> None:
        """Forget what the gates said yesterday: models retire by date."""
        self.day = day
        self._stops = {}

    def endpoints(self, model: Model, call: ChatCall, key: KeySnapshot, call_id: str) -> tuple[Endpoint, ...]:
        """Return where this call reaches a model, best first; empty where it does not."""
        if key.credentials is not None or call.request_keys:
            return self._reached(model, call, key, call_id)
        # Nobody's own key is in these: they are the same for all tenants.
        place = (model.id, model.upstream, key.is_test)
        found = self._endpoints.get(place)
        if found is None:
            found = self._reached(model, call, key, call_id)
            if len(self._endpoints) < _REMEMBERED:
                self._endpoints[place] = found
        return found

    def _reached(self, model: Model, call: ChatCall, key: KeySnapshot, call_id: str) -> tuple[Endpoint, ...]:
        if model.is_described:
            return self.reach.endpoints(model, call, key, call_id=call_id)
        return self.reach.named(model.id, call, key, call_id=call_id)

    def stops(self, demand: Demand, models: Iterable[Model]) -> dict[str, gates.Stop | None]:
        """Return by model what stops it for the day under these terms; remembered, because terms repeat.

        Not of models outside the catalog: their names are the clients' own, and have no end.
        """
        place = (demand.terms, demand.checks_fit)
        found = self._stops.get(place)
        if found is None:
            if len(self._stops) >= _TERMS_REMEMBERED:
                self._stops.clear()
            found = self._stops[place] = {}
        for model in models:
            if model.id not in found:
                provider = self.catalog.providers.get(model.provider)
                if not model.is_described:
                    found = found.copy()
                found[model.id] = gates.stopped_for_the_day(demand.terms, model, provider, checks_fit=demand.checks_fit)
        return found

    def models_of(
        self, name: str, resolution: Resolution, call: ChatCall, key: KeySnapshot, call_id: str
    ) -> tuple[Model, ...]:
        """Return the models of a name, in the catalog or at a provider that it spells out; none: it means nothing."""
        if resolution.models:
            return resolution.models
        endpoints = self.reach.named(name, call, key, call_id=call_id)
        return (_undescribed(endpoints[0]),) if endpoints else ()

    def meaning(self, resolution: Resolution, models: Sequence[Model], dialect: str) -> Meaning:
        """Return what the suffix of a name means, where it has one."""
        if not resolution.suffix:
            return Meaning(models=tuple(models))
        return suffixes.apply(
            resolution.suffix, models, catalog=self.chat, dialect=dialect, is_automatic=resolution.is_auto
        )


class Search:
    """One walk over candidates: what was looked at, and what passed."""

    __slots__ = ("_at", "_call_id", "_field", "_key", "call", "candidates")

    def __init__(self, field: Field, call: ChatCall, key: KeySnapshot, *, call_id: str, at: float) -> None:
        self._field = field
        self._key = key
        self._call_id = call_id
        self._at = at
        self.call = call
        self.candidates: list[Candidate] = []

    def through(self, models: Sequence[Model], demand: Demand, sort: str = "") -> list[Passed]:
        """Return the endpoints of the models that pass every gate, in the order in which they are tried."""
        field, call, key, call_id, at = self._field, self.call, self._key, self._call_id, self._at
        book, agreed, endpoints_of, look_at = field.book, key.contracts, field.endpoints, self.candidates.append
        stops = field.stops(demand, models)
        passed: list[Passed] = []
        protocol = native.bound_to(call.native)
        for model in models:
            endpoints = endpoints_of(model, call, key, call_id)
            if not endpoints:
                look_at(Candidate(model.id, model.provider, gates.PROVIDER, "its provider is not configured"))
                continue
            if protocol:
                endpoints = tuple(endpoint for endpoint in endpoints if endpoint.protocol == protocol)
                if not endpoints:
                    look_at(Candidate(model.id, model.provider, gates.PROTOCOL, "is reached by another protocol"))
                    continue
            stop = stops[model.id]
            cost = None
            if stop is None:
                row = book.row(model.id, at) if agreed is None else agreed.row(book, model.id, at)
                cost = demand.cost(model, row)
                stop = gates.stopped_now(demand, model, row, cost)
            if stop is not None:
                look_at(Candidate(model.id, model.provider, stop[0], stop[1], cost))
                continue
            look_at(Candidate(model.id, model.provider, "", "", cost))
            for endpoint in endpoints:
                passed.append(Passed(endpoint, model.provider, cost))
        wishes = call.preferences
        if wishes is NO_PREFERENCES and not sort:
            return passed
        return plans.arrange(passed, wishes, sort=sort or wishes.sort, health_of=field.health_of)

    def through_name(self, name: str, demand: Demand) -> list[Passed]:
        """Return what one of the call's further `models` adds to the plan; a name that means nothing is noted."""
        field = self._field
        resolution = field.catalog.resolve(name)
        if resolution.is_auto:
            return self.through(field.chat, demand, plans.PRICE)[:1]
        models = field.models_of(name, resolution, self.call, self._key, self._call_id)
        if not models or models[0].kind != CHAT:
            self.candidates.append(Candidate(name[:100], "", gates.MODEL, "no such chat model"))
            return []
        meaning = field.meaning(resolution, models, self.call.dialect)
        if meaning.requires_free:
            demand = msgspec.structs.replace(demand, requires_free=True)
        return self.through(meaning.models, demand, meaning.sort)


def _undescribed(endpoint: Endpoint) -> Model:
    """Return a model outside the catalog: only its name and its provider are known."""
    return Model(
        id=endpoint.model,
        provider=endpoint.provider,
        upstream=endpoint.upstream_model,
        vendor=endpoint.provider,
        name=endpoint.model.partition("/")[2],
        display_name=endpoint.model,
        protocol=endpoint.protocol,
        priced_as="",
        context_tokens=None,
        max_output_tokens=None,
        capabilities=frozenset(),
        deprecated_on=None,
        added_on="",
        aliases=(),
        is_described=False,
    )
