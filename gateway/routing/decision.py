"""Decide where a call goes: pinned by name, by a running experiment, by the workspace's policy, or to the cheapest
capable model. Pure.

Every model that was looked at is kept with the gate that stopped it, so that the receipt can show the funnel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from analytics import assignment
from gateway import errors
from gateway.catalog.models import CHAT, Catalog, Model, Resolution
from gateway.context import ChatCall, ExperimentSnapshot, KeySnapshot
from gateway.providers.protocol import Endpoint

PINNED = "pinned"
EXPERIMENT = "experiment"
POLICY = "policy"
CHEAPEST = "cheapest-capable"

_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model at a provider that was considered. `gate` names what stopped it; empty: it passed."""

    model: str
    provider: str
    gate: str = ""
    reason: str = ""


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
    ignored_suffix: str = ""

    @property
    def fallback_chain(self) -> tuple[str, ...]:
        """The endpoints after the first, as provider:model."""
        return tuple(f"{endpoint.provider}:{endpoint.model}" for endpoint in self.endpoints[1:])


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


class Router:
    """Decisions over one catalog and what each call can reach. `by_price`: all models, cheapest first, for `auto`."""

    def __init__(self, *, catalog: Catalog, by_price: Sequence[Model], reach: Reach) -> None:
        self._catalog = catalog
        self._by_price = tuple(by_price)
        self._reach = reach
        self._pinned: dict[tuple[str, bool], Decision] = {}  # of keys without provider keys of their own

    def decide(self, call: ChatCall, key: KeySnapshot, *, call_id: str) -> Decision:
        """Return where the call goes.

        Raises:
            errors.ModelNotFound: no such model; the message names the nearest.
            errors.NoProvider: the model is known, but no provider that serves it is configured.
            errors.InvalidRequest: the model does not chat.
        """
        name = call.requested_model
        # Decisions hold keys: what was decided with a tenant's own is remembered in the tenant's own snapshot.
        remembered = self._pinned if key.credentials is None else key.credentials.decisions
        pinned = None if call.request_keys else remembered.get((name, key.is_test))
        if pinned is not None:
            return pinned
        resolution = self._catalog.resolve(name)
        if resolution.is_auto:
            return self._automatic(call, key, call_id)
        decision = self._pin(name, resolution, call, key, call_id)
        if len(remembered) < _REMEMBERED and self._reach.is_settled(call, key):
            remembered[name, key.is_test] = decision
        return decision

    def _pin(self, name: str, resolution: Resolution, call: ChatCall, key: KeySnapshot, call_id: str) -> Decision:
        if resolution.models:
            if resolution.models[0].kind != CHAT:
                raise _no_chat_model(resolution.models[0])
            endpoints: list[Endpoint] = []
            candidates: list[Candidate] = []
            for model in resolution.models:
                found = self._reach.endpoints(model, call, key, call_id=call_id)
                endpoints += found
                candidates.append(_candidate(model, found))
            if not endpoints:
                raise _not_configured(resolution.models)
            return Decision(tuple(endpoints), PINNED, True, tuple(candidates), ignored_suffix=resolution.ignored_suffix)
        named = self._reach.named(name, call, key, call_id=call_id)
        if named:
            return Decision(named, PINNED, True, (Candidate(named[0].model, named[0].provider),))
        raise _not_found(name, resolution)

    def _automatic(self, call: ChatCall, key: KeySnapshot, call_id: str) -> Decision:
        experiment = _experiment_for(call, key.experiments)
        if experiment is not None:
            arm = assignment.assign(
                experiment.salt, _unit_of(call, experiment, call_id), [(arm.name, arm.share) for arm in experiment.arms]
            )
            model = next(found.model for found in experiment.arms if found.name == arm)
            chosen = self._chosen(model, call, key, call_id)
            return replace(
                chosen,
                route_reason=EXPERIMENT,
                policy_version=key.policy.version,
                experiment_id=experiment.experiment_id,
                experiment_arm=arm,
            )
        model = key.policy.by_task.get(call.task_type) or key.policy.default_model
        if model:
            return replace(
                self._chosen(model, call, key, call_id), route_reason=POLICY, policy_version=key.policy.version
            )
        return self._cheapest(call, key, call_id)

    def _chosen(self, model: str, call: ChatCall, key: KeySnapshot, call_id: str) -> Decision:
        decision = self._pin(model, self._catalog.resolve(model), call, key, call_id)
        return replace(decision, is_pinned=False)

    def _cheapest(self, call: ChatCall, key: KeySnapshot, call_id: str) -> Decision:
        needs = _needs(call)
        endpoints: list[Endpoint] = []
        candidates: list[Candidate] = []
        for model in self._by_price:
            missing = needs - model.capabilities
            found = self._reach.endpoints(model, call, key, call_id=call_id)
            if missing:
                candidates.append(
                    Candidate(model.id, model.provider, "capability", f"lacks {', '.join(sorted(missing))}")
                )
            elif model.deprecated_on is not None:
                candidates.append(
                    Candidate(model.id, model.provider, "deprecation", f"retires on {model.deprecated_on}")
                )
            else:
                candidates.append(_candidate(model, found))
                endpoints += found
        if not endpoints:
            raise errors.NoProvider(
                f"No configured model can take this call (it needs: {', '.join(sorted(needs)) or 'nothing special'})."
                " Configure a provider with KAIROS_PROVIDER_<NAME>_API_KEY, or use a test key for the simulator."
            )
        return Decision(tuple(endpoints[:3]), CHEAPEST, False, tuple(candidates))


def _candidate(model: Model, endpoints: tuple[Endpoint, ...]) -> Candidate:
    if endpoints:
        return Candidate(model.id, model.provider)
    return Candidate(model.id, model.provider, "provider", "its provider is not configured")


def _needs(call: ChatCall) -> frozenset[str]:
    needs = set()
    if call.body.get("tools"):
        needs.add("tools")
    response_format = call.body.get("response_format")
    if response_format is not None and response_format.get("type") == "json_schema":
        needs.add("json_schema")
    for message in call.body["messages"]:
        content = message.get("content")
        if type(content) is list and any(type(part) is dict and part.get("type") == "image_url" for part in content):
            needs.add("images")
    return frozenset(needs)


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


def _not_found(name: str, resolution: Resolution) -> errors.ModelNotFound:
    nearest = f" Did you mean {', '.join(resolution.nearest)}?" if resolution.nearest else ""
    return errors.ModelNotFound(
        f"There is no model `{name[:100]}`.{nearest} `GET /v1/models` lists them.", param="model"
    )


def _no_chat_model(model: Model) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"`{model.id}` is an embedding model: send its texts to /v1/embeddings, or name a chat model.",
        param="model",
        code="model_kind",
    )


def _not_configured(models: Sequence[Model]) -> errors.NoProvider:
    providers = sorted({model.provider for model in models})
    variables = " or ".join(f"KAIROS_PROVIDER_{provider.upper().replace('-', '_')}_API_KEY" for provider in providers)
    return errors.NoProvider(
        f"No provider that serves `{models[0].id}` is configured. Set {variables},"
        " or use a test key for the simulator.",
        code="no_provider_configured",
    )
