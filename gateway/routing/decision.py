"""Decide where a call goes: pinned by name, by a running experiment, by the workspace's policy, or to the cheapest
model that passes the gates. Pure.

Every endpoint of a plan has passed the same gates (`gateway.routing.gates`), the fallbacks as the first choice. Every
model that was looked at is kept with the gate that stopped it, so that the receipt can show the funnel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from analytics import assignment
from gateway import estimation, native
from gateway.catalog.models import CHAT, Catalog, Model, Resolution
from gateway.catalog.prices import PriceBook
from gateway.context import AllowList, ChatCall, ExperimentSnapshot, KeySnapshot, LazyBody
from gateway.preferences import NO_PREFERENCES, Preferences
from gateway.providers.protocol import Endpoint
from gateway.routing import demands, gates, plans, refusals, suffixes, vectors
from gateway.routing.candidates import Candidate
from gateway.routing.demands import Demand
from gateway.routing.plans import HealthOf, Passed
from gateway.routing.search import Field, Reach, Search
from gateway.routing.suffixes import Meaning

__all__ = ["CHEAPEST", "EXPERIMENT", "PINNED", "POLICY", "Candidate", "Decision", "Reach", "Router"]

PINNED = "pinned"
EXPERIMENT = "experiment"
POLICY = "policy"
CHEAPEST = "cheapest-capable"

_REMEMBERED = 4096
_MOST_AUTOMATIC = 3  # endpoints of an automatic plan: the first and two to fall back to
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a call goes: `endpoints` in the order in which they are tried, and why."""

    endpoints: tuple[Endpoint, ...]
    route_reason: str
    is_pinned: bool
    candidates: tuple[Candidate, ...] = ()
    policy_version: str = ""
    experiment_id: str = ""
    experiment_arm: str = ""
    not_applied: tuple[str, ...] = ()  # what of the model's name was recognised and changes nothing
    applied: tuple[str, ...] = ()  # in which meaning a suffix was honoured, which gates were waived
    warnings: tuple[tuple[str, str], ...] = ()  # model and day: its provider retires it soon
    estimated_input_tokens: int | None = None
    estimated_cost_nanousd: int | None = None  # at the first endpoint
    turns_reasoning_on: bool = False
    is_order_fixed: bool = False  # the caller said in which order: health may put endpoints off, not first

    @property
    def fallback_chain(self) -> tuple[str, ...]:
        """The endpoints after the first, as provider:model."""
        return tuple(f"{endpoint.provider}:{endpoint.model}" for endpoint in self.endpoints[1:])


class _Pinned(msgspec.Struct, frozen=True, gc=False):
    """What a name means until midnight UTC. `most_bytes`: longer bodies are held against the context windows."""

    decision: Decision
    until: float  # epoch seconds
    is_only: bool  # one model: nothing can be chosen, its provider has the last word
    most_bytes: int


class Router:
    """Decisions over one catalog, its prices and what each call can reach.

    `health_of` gives what is known of an endpoint's speed.
    """

    def __init__(
        self, *, catalog: Catalog, book: PriceBook, reach: Reach, health_of: HealthOf = plans.nothing_known
    ) -> None:
        self._catalog = catalog
        self._reach = reach
        self._field = Field(catalog=catalog, book=book, reach=reach, health_of=health_of)
        self._day_ends = 0.0
        self._pinned: dict[tuple[str, bool, AllowList], _Pinned] = {}  # of keys without provider keys of their own

    def decide(self, call: ChatCall, key: KeySnapshot, *, call_id: str, at: float) -> Decision:
        """Return where a call of the moment `at` (epoch seconds) goes.

        Raises:
            errors.ModelNotFound: no such model; the message names the nearest.
            errors.NoProvider: the model is known, but no provider that serves it is configured.
            errors.InvalidRequest: the model does not chat, or nothing can do what the call needs.
            errors.PaymentRequired: nothing is within the price or the cost that the call allows.
        """
        if call.operation == estimation.EMBEDDINGS:
            return self._embedding(call, key, call_id, at)
        known = self._known(call.requested_model, call, key, at)
        if known is not None:
            return known
        if at >= self._day_ends:
            self._begin_day(at)
        resolution = self._catalog.resolve(call.requested_model)
        if resolution.is_auto:
            return self._automatic(call, key, call_id, resolution, at)
        return self._named(call.requested_model, resolution, call, key, call_id, at)

    def _embedding(self, call: ChatCall, key: KeySnapshot, call_id: str, at: float) -> Decision:
        """Return where texts are embedded: at endpoints of one model only."""
        if at >= self._day_ends:
            self._begin_day(at)
        found = vectors.find(self._field, call, key, call_id=call_id, at=at)
        decision = self._decision(
            found.passed,
            found.search,
            found.demand,
            Meaning(models=()),
            found.resolution,
            reason=PINNED if found.is_pinned else CHEAPEST,
            is_pinned=found.is_pinned,
        )
        return replace(
            decision,
            endpoints=tuple(vectors.spoken(endpoint) for endpoint in decision.endpoints),
            candidates=vectors.stopped(found),
        )

    def _known(self, name: str, call: ChatCall, key: KeySnapshot, at: float) -> Decision | None:
        """Return a pinned name's decision from memory, where nothing in the call could change it."""
        if call.preferences is not NO_PREFERENCES or call.request_keys or native.bound_to(call.native):
            return None
        # Decisions hold keys: what was decided with a tenant's own is remembered in the tenant's own snapshot.
        remembered = self._pinned if key.credentials is None else key.credentials.decisions
        pinned: _Pinned | None = remembered.get((name, key.is_test, key.guardrails.allow_list))
        if pinned is None or at >= pinned.until:
            return None
        if pinned.is_only or (len(call.raw) <= pinned.most_bytes and _is_plain(call)):
            return pinned.decision
        return None

    def _begin_day(self, at: float) -> None:
        """Forget what held yesterday: models retire by date."""
        self._field.begin_day(datetime.fromtimestamp(at, UTC).date().isoformat())
        self._day_ends = (at // _DAY_S + 1) * _DAY_S

    def _automatic(self, call: ChatCall, key: KeySnapshot, call_id: str, resolution: Resolution, at: float) -> Decision:
        looked_at: tuple[Candidate, ...] = ()
        if not resolution.suffix:
            experiment = _experiment_for(call, key.experiments)
            if experiment is not None:
                decision = self._by_experiment(experiment, call, key, call_id, at)
                if decision is not None:
                    return decision
            name = key.policy.by_task.get(call.task_type) or key.policy.default_model
            if name:
                decision = self._chosen(name, call, key, call_id, at)
                if decision.endpoints:
                    return replace(decision, route_reason=POLICY, policy_version=key.policy.version)
                # A hard gate stands above the policy: the cheapest model that passes serves the call.
                looked_at = decision.candidates
        return self._cheapest(call, key, call_id, resolution, at, looked_at=looked_at)

    def _by_experiment(
        self, experiment: ExperimentSnapshot, call: ChatCall, key: KeySnapshot, call_id: str, at: float
    ) -> Decision | None:
        """Return the decision of the call's arm, None where a gate stops any arm: then the call is no part of it."""
        arm = assignment.assign(
            experiment.salt, _unit_of(call, experiment, call_id), [(arm.name, arm.share) for arm in experiment.arms]
        )
        decisions = {found.name: self._chosen(found.model, call, key, call_id, at) for found in experiment.arms}
        if not all(decision.endpoints for decision in decisions.values()):
            return None
        return replace(
            decisions[arm],
            route_reason=EXPERIMENT,
            policy_version=key.policy.version,
            experiment_id=experiment.experiment_id,
            experiment_arm=arm,
        )

    def _chosen(self, name: str, call: ChatCall, key: KeySnapshot, call_id: str, at: float) -> Decision:
        """Return the decision for a model that a policy or an experiment names; without endpoints if a gate stops it.

        Raises as `_named` where the name means nothing or is not configured.
        """
        known = self._known(name, call, key, at)
        decision = known or self._named(name, self._catalog.resolve(name), call, key, call_id, at, may_be_empty=True)
        return replace(decision, is_pinned=False)

    def _named(
        self,
        name: str,
        resolution: Resolution,
        call: ChatCall,
        key: KeySnapshot,
        call_id: str,
        at: float,
        *,
        may_be_empty: bool = False,
    ) -> Decision:
        """Return the decision for a named model and the call's further `models`, all through the same gates."""
        models = self._field.models_of(name, resolution, call, key, call_id)
        if not models:
            raise refusals.not_found(name, resolution)
        if models[0].kind != CHAT:
            raise refusals.no_chat_model(models[0])
        meaning = self._field.meaning(resolution, models, call.dialect)
        demand = demands.of(call, day=self._field.day, is_automatic=False, allow_list=key.guardrails.allow_list)
        if meaning.requires_free:
            demand = msgspec.structs.replace(demand, requires_free=True)
        search = Search(self._field, call, key, call_id=call_id, at=at)
        endpoints = search.through(meaning.models, demand, meaning.sort)
        for further in call.preferences.models:
            endpoints += search.through_name(further, demand)
        waived: tuple[str, ...] = ()
        if not endpoints and not (call.preferences.requires_parameters or call.preferences.capabilities):
            # The caller named the model: what our catalog says it cannot do, its provider may say otherwise.
            strict, search = search, Search(self._field, call, key, call_id=call_id, at=at)
            endpoints = search.through(meaning.models, msgspec.structs.replace(demand, checks_fit=False), meaning.sort)
            waived = tuple(dict.fromkeys(one.gate for one in strict.candidates if one.gate in gates.FIT))
            if not endpoints:
                search = strict
        is_reachable = any(one.gate != gates.PROVIDER for one in search.candidates)
        if not endpoints and not (may_be_empty and is_reachable):
            raise refusals.nothing_eligible(name, search.candidates, demand)
        decision = self._decision(
            endpoints, search, demand, meaning, resolution, reason=PINNED, is_pinned=True, waived=waived
        )
        is_ordinary = call.preferences is NO_PREFERENCES and not native.bound_to(call.native)
        if endpoints and not resolution.suffix and is_ordinary and not waived:
            self._remember(name, models, decision, call, key)
        return decision

    def _remember(
        self, name: str, models: Sequence[Model], decision: Decision, call: ChatCall, key: KeySnapshot
    ) -> None:
        """Keep what a name means for calls that demand nothing, if this was one or nothing can be chosen."""
        reachable = [one for one in decision.candidates if one.gate not in (gates.PROVIDER, gates.DEPRECATION)]
        is_only = len(reachable) == 1
        smallest = min((model.context_tokens or 0 for model in models), default=0)
        # Half a window, so that the answer has room.
        most_bytes = smallest * estimation.BYTES_A_TOKEN // 2
        remembered = self._pinned if key.credentials is None else key.credentials.decisions
        if (is_only or (_is_plain(call) and len(call.raw) <= most_bytes)) and self._reach.is_settled(call, key):
            if len(remembered) >= _REMEMBERED:
                remembered.clear()  # names have many spellings: nobody's may keep everybody else's out
            # Estimates are of one call and are not kept.
            candidates = tuple(msgspec.structs.replace(one, cost_nanousd=None) for one in decision.candidates)
            kept = replace(decision, candidates=candidates, estimated_cost_nanousd=None, estimated_input_tokens=None)
            remembered[name, key.is_test, key.guardrails.allow_list] = _Pinned(
                kept, self._day_ends, is_only, most_bytes
            )

    def _cheapest(
        self,
        call: ChatCall,
        key: KeySnapshot,
        call_id: str,
        resolution: Resolution,
        at: float,
        *,
        looked_at: tuple[Candidate, ...],
    ) -> Decision:
        meaning = self._field.meaning(resolution, self._field.chat, call.dialect)
        demand = demands.of(
            call,
            day=self._field.day,
            is_automatic=True,
            allow_list=key.guardrails.allow_list,
            needs_reasoning=resolution.suffix == suffixes.THINKING,
        )
        if meaning.requires_free:
            demand = msgspec.structs.replace(demand, requires_free=True)
        search = Search(self._field, call, key, call_id=call_id, at=at)
        search.candidates.extend(looked_at)
        endpoints = search.through(meaning.models, demand, meaning.sort or call.preferences.sort or plans.PRICE)[
            :_MOST_AUTOMATIC
        ]
        for further in call.preferences.models:
            endpoints += search.through_name(further, demand)
        if not endpoints:
            raise refusals.nothing_eligible(call.requested_model, search.candidates, demand)
        return self._decision(endpoints, search, demand, meaning, resolution, reason=CHEAPEST)

    def _decision(
        self,
        passed: Sequence[Passed],
        search: Search,
        demand: Demand,
        meaning: Meaning,
        resolution: Resolution,
        *,
        reason: str,
        is_pinned: bool = False,
        waived: tuple[str, ...] = (),
    ) -> Decision:
        applied: tuple[str, ...] = (meaning.said,) if meaning.said else ()
        if waived:
            applied += (f"gates waived for a named model: {', '.join(waived)}",)
        wishes = search.call.preferences
        return Decision(
            endpoints=tuple({_place(one.endpoint): one.endpoint for one in reversed(passed)}.values())[::-1],
            route_reason=reason,
            is_pinned=is_pinned,
            candidates=tuple(search.candidates),
            not_applied=_not_applied(resolution, wishes),
            applied=applied,
            warnings=self._warnings(passed),
            estimated_input_tokens=demand.input_tokens,
            estimated_cost_nanousd=passed[0].cost_nanousd if passed else None,
            turns_reasoning_on=meaning.turns_reasoning_on,
            is_order_fixed=bool(meaning.sort or wishes.sort or wishes.provider_order),
        )

    def _warnings(self, passed: Sequence[Passed]) -> tuple[tuple[str, str], ...]:
        found = {}
        for one in passed:
            model = self._catalog.get(one.endpoint.model)
            if model is not None and model.deprecated_on and gates.retires_within(model, day=self._field.day):
                found[model.id] = model.deprecated_on
        return tuple(found.items())


def _not_applied(resolution: Resolution, wishes: Preferences) -> tuple[str, ...]:
    """Return what was asked of the choice of a model and does not change it."""
    found: tuple[str, ...] = (f"model suffix :{resolution.ignored_suffix}",) if resolution.ignored_suffix else ()
    if wishes.quality_bar is not None:
        found += ("quality_bar: models have no estimated quality here yet",)
    return found


def _is_plain(call: ChatCall) -> bool:
    """Return whether nothing but text is asked for, so that every chat model can answer."""
    body = call.body
    return not call.shape and type(body) is LazyBody and body.is_plain


def _place(endpoint: Endpoint) -> tuple[str, str, str]:
    return endpoint.model, endpoint.provider, endpoint.credential_id


def _experiment_for(call: ChatCall, experiments: Iterable[ExperimentSnapshot]) -> ExperimentSnapshot | None:
    wanted = call.options.get("experiment")
    if wanted == "off":
        return None
    for experiment in experiments:
        if wanted in (None, experiment.experiment_id) and experiment.task_type in ("", call.task_type):
            return experiment
    return None


def _unit_of(call: ChatCall, experiment: ExperimentSnapshot, call_id: str) -> str:
    """Return what is assigned: the unit the experiment names, the call itself where the client did not name it."""
    attribution = call.attribution
    named = {"session": attribution.session, "end_user": attribution.end_user, "agent_run": attribution.agent_run}
    return named.get(experiment.unit) or call_id
