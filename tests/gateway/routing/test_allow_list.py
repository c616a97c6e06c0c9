"""The workspace's allow lists bound every route: pinned names, `auto`, policies, experiments and fallbacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway import errors
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.context import ArmSnapshot, ExperimentSnapshot, GuardrailSnapshot, KeySnapshot, PolicySnapshot
from tests.gateway.routing.field import KEY, NOON, call, router

ALL = ("openai", "groq", "cerebras", "anthropic", "deepseek")


def allowing(*, models: tuple[str, ...] = (), providers: tuple[str, ...] = ()) -> KeySnapshot:
    return replace(KEY, guardrails=GuardrailSnapshot(allow_list=(models, providers)))


def test_a_pinned_model_outside_of_the_list_is_refused(catalog: Catalog, book: PriceBook) -> None:
    with pytest.raises(errors.PermissionDenied, match="guardrails") as caught:
        router(catalog, book, *ALL).decide(call("gpt-5.4"), allowing(models=("anthropic/*",)), call_id="c", at=NOON)
    assert (caught.value.http_status, caught.value.code) == (403, "model_not_allowed")


def test_what_is_remembered_for_one_workspace_is_not_given_to_another(catalog: Catalog, book: PriceBook) -> None:
    route = router(catalog, book, *ALL)
    for _ in range(2):
        assert route.decide(call("gpt-oss-120b"), KEY, call_id="c", at=NOON).endpoints
        decision = route.decide(call("gpt-oss-120b"), allowing(providers=("groq",)), call_id="c", at=NOON)
        assert [endpoint.provider for endpoint in decision.endpoints] == ["groq"]
        with pytest.raises(errors.PermissionDenied):
            route.decide(call("gpt-oss-120b"), allowing(providers=("openai",)), call_id="c", at=NOON)


def test_auto_chooses_among_what_is_allowed_and_shows_the_gate(catalog: Catalog, book: PriceBook) -> None:
    key = allowing(models=("anthropic/claude-haiku-*",), providers=("anthropic",))
    decision = router(catalog, book, *ALL).decide(call("auto"), key, call_id="c", at=NOON)
    assert decision.endpoints
    assert all(endpoint.model.startswith("anthropic/claude-haiku-") for endpoint in decision.endpoints)
    gates = {candidate.gate for candidate in decision.candidates if candidate.provider == "openai"}
    assert gates == {"allow_list"}


def test_a_policy_or_an_experiment_cannot_lead_around_the_list(catalog: Catalog, book: PriceBook) -> None:
    arms = (ArmSnapshot("control", "openai/gpt-5.4", 0.5), ArmSnapshot("treatment", "groq/gpt-oss-120b", 0.5))
    key = replace(
        allowing(providers=("groq", "anthropic")),
        policy=PolicySnapshot(version="pol_1", default_model="openai/gpt-5.4"),
        experiments=(ExperimentSnapshot("exp_1", "salt", "request", "", arms),),
    )
    for attempt in range(20):
        decision = router(catalog, book, *ALL).decide(call("auto"), key, call_id=f"c{attempt}", at=NOON)
        assert {endpoint.provider for endpoint in decision.endpoints} <= {"groq", "anthropic"}
        assert decision.experiment_id == ""


def test_a_model_outside_of_the_catalog_is_held_against_the_list(catalog: Catalog, book: PriceBook) -> None:
    route = router(catalog, book)
    assert route.decide(call("local/llama"), allowing(providers=("local",)), call_id="c", at=NOON).endpoints
    with pytest.raises(errors.PermissionDenied):
        route.decide(call("local/llama"), allowing(providers=("openai",)), call_id="c", at=NOON)
