"""Where a call goes, over the real catalog with made-up providers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway import errors
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.context import ArmSnapshot, Attribution, ExperimentSnapshot, PolicySnapshot
from tests.gateway.routing.field import KEY, NOON, call, router


@pytest.mark.parametrize(
    "name", ["openai/gpt-5.4-mini", "gpt-5.4-mini", "openai:gpt-5.4-mini", "@openai/gpt-5.4-mini", "GPT-5.4-mini"]
)
def test_every_form_of_a_name_pins_the_model(catalog: Catalog, book: PriceBook, name: str) -> None:
    decision = router(catalog, book, "openai").decide(call(name), KEY, call_id="c", at=NOON)
    assert [found.model for found in decision.endpoints] == ["openai/gpt-5.4-mini"]
    assert (decision.is_pinned, decision.route_reason) == (True, "pinned")


def test_an_open_model_falls_back_across_the_configured_providers_only(catalog: Catalog, book: PriceBook) -> None:
    decision = router(catalog, book, "groq", "cerebras").decide(call("gpt-oss-120b"), KEY, call_id="c", at=NOON)
    assert {found.provider for found in decision.endpoints} == {"groq", "cerebras"}
    gates = {candidate.provider: candidate.gate for candidate in decision.candidates}
    assert gates["together"] == "provider"
    assert len(decision.fallback_chain) == 1


def test_an_unknown_model_names_the_nearest(catalog: Catalog, book: PriceBook) -> None:
    with pytest.raises(errors.ModelNotFound, match=r"openai/gpt-5\.4-mini") as caught:
        router(catalog, book, "openai").decide(call("gpt-5.4-mni"), KEY, call_id="c", at=NOON)
    assert (caught.value.http_status, caught.value.param) == (404, "model")


def test_a_model_without_a_configured_provider_says_what_to_set(catalog: Catalog, book: PriceBook) -> None:
    with pytest.raises(errors.NoProvider, match="KAIROS_PROVIDER_ANTHROPIC_API_KEY"):
        router(catalog, book, "openai").decide(call("claude-haiku-4-5"), KEY, call_id="c", at=NOON)


def test_a_test_key_reaches_the_simulator_only(catalog: Catalog, book: PriceBook) -> None:
    test_key = replace(KEY, is_test=True)
    decision = router(catalog, book, "openai").decide(call("gpt-5.4-mini"), test_key, call_id="c", at=NOON)
    assert all(found.is_simulated for found in decision.endpoints)
    with pytest.raises(errors.ModelNotFound):
        router(catalog, book, "openai").decide(call("local/llama"), test_key, call_id="c", at=NOON)


def test_a_live_key_never_reaches_the_simulator_in_this_process(catalog: Catalog, book: PriceBook) -> None:
    decision = router(catalog, book, "openai").decide(call("auto"), KEY, call_id="c", at=NOON)
    assert not any(found.is_simulated for found in decision.endpoints)


def test_a_model_outside_the_catalog_goes_to_the_provider_it_names(catalog: Catalog, book: PriceBook) -> None:
    decision = router(catalog, book).decide(call("local/llama"), KEY, call_id="c", at=NOON)
    assert decision.endpoints[0].provider == "local"


def test_names_that_have_no_end_fill_no_memory_and_keep_nobody_out(catalog: Catalog, book: PriceBook) -> None:
    found = router(catalog, book, "openai")
    for number in range(5000):
        found.decide(call(f"local/{number}"), KEY, call_id="c", at=NOON)
    assert len(found._pinned) <= 4096
    assert not any("local/0" in stops for stops in found._field._stops.values())

    first = found.decide(call("gpt-5.4-mini"), KEY, call_id="c", at=NOON)
    again = found.decide(call("gpt-5.4-mini"), KEY, call_id="c", at=NOON)
    assert found.decide(call("gpt-5.4-mini"), KEY, call_id="c", at=NOON) is again
    assert first.endpoints == again.endpoints


def test_auto_follows_the_policy_and_its_task_overrides(catalog: Catalog, book: PriceBook) -> None:
    policy = PolicySnapshot(
        version="pol_1", default_model="openai/gpt-5.4-mini", by_task={"extraction": "openai/gpt-5.4-nano"}
    )
    key = replace(KEY, policy=policy)
    route = router(catalog, book, "openai")
    assert route.decide(call("auto"), key, call_id="c", at=NOON).endpoints[0].model == "openai/gpt-5.4-mini"
    decision = route.decide(call("auto", task="extraction"), key, call_id="c", at=NOON)
    assert decision.endpoints[0].model == "openai/gpt-5.4-nano"
    assert (decision.is_pinned, decision.route_reason, decision.policy_version) == (False, "policy", "pol_1")


def test_auto_without_a_policy_takes_the_first_capable_model_and_keeps_the_funnel(
    catalog: Catalog, book: PriceBook
) -> None:
    needy = call("auto", body={"tools": [{"type": "function", "function": {"name": "f"}}]})
    decision = router(catalog, book, "together", "openai").decide(needy, KEY, call_id="c", at=NOON)
    assert all("tools" in catalog.models[found.model].capabilities for found in decision.endpoints)
    gates = {candidate.gate for candidate in decision.candidates}
    assert {"", "capability", "provider"} <= gates


def test_auto_with_nothing_configured_says_so(catalog: Catalog, book: PriceBook) -> None:
    with pytest.raises(errors.NoProvider, match="KAIROS_PROVIDER"):
        router(catalog, book).decide(call("auto"), KEY, call_id="c", at=NOON)


class TestExperiments:
    EXPERIMENT = ExperimentSnapshot(
        experiment_id="exp_1",
        salt="exp_1",
        unit="session",
        task_type="",
        arms=(ArmSnapshot("control", "openai/gpt-5.4", 0.5), ArmSnapshot("treatment", "openai/gpt-5.4-mini", 0.5)),
    )
    KEY = replace(KEY, experiments=(EXPERIMENT,))

    def arm(self, catalog: Catalog, book: PriceBook, session: str, call_id: str = "c", **options: Any) -> str:
        asked = call("auto", attribution=Attribution(session=session), options=options)
        return router(catalog, book, "openai").decide(asked, self.KEY, call_id=call_id, at=NOON).experiment_arm

    def test_a_session_stays_in_its_arm(self, catalog: Catalog, book: PriceBook) -> None:
        assert {self.arm(catalog, book, "s_1", call_id=str(i)) for i in range(20)} == {self.arm(catalog, book, "s_1")}

    def test_both_arms_are_served(self, catalog: Catalog, book: PriceBook) -> None:
        assert {self.arm(catalog, book, f"s_{i}") for i in range(40)} == {"control", "treatment"}

    def test_a_call_without_a_session_is_its_own_unit(self, catalog: Catalog, book: PriceBook) -> None:
        assert {self.arm(catalog, book, "", call_id=f"c{i}") for i in range(40)} == {"control", "treatment"}

    def test_a_request_can_stay_out(self, catalog: Catalog, book: PriceBook) -> None:
        assert self.arm(catalog, book, "s_1", experiment="off") == ""

    def test_a_pinned_model_is_no_part_of_it(self, catalog: Catalog, book: PriceBook) -> None:
        decision = router(catalog, book, "openai").decide(call("gpt-5.4"), self.KEY, call_id="c", at=NOON)
        assert decision.experiment_id == ""

    def test_another_task_is_no_part_of_it(self, catalog: Catalog, book: PriceBook) -> None:
        key = replace(KEY, experiments=(replace(self.EXPERIMENT, task_type="extraction"),))
        assert router(catalog, book, "openai").decide(call("auto"), key, call_id="c", at=NOON).experiment_id == ""


def test_an_embedding_model_is_no_chat_model(catalog: Catalog, book: PriceBook) -> None:
    with pytest.raises(errors.InvalidRequest, match="/v1/embeddings"):
        router(catalog, book, "openai").decide(call("text-embedding-3-small"), KEY, call_id="c", at=NOON)
