"""What the suffix of a name does, on the path whose meaning it has."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway import errors
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from tests.gateway.routing.field import NOON, call, decide, router


@pytest.fixture(scope="module")
def route(catalog: Catalog, book: PriceBook) -> Any:
    return router(catalog, book, "openai", "groq", "together", "cerebras", "anthropic", "mistralai")


def test_floor_puts_the_cheapest_endpoint_first(route: Any, book: PriceBook) -> None:
    decision = decide(route, call("gpt-oss-120b:floor"))
    costs = [one.cost_nanousd for one in decision.candidates]
    assert decision.estimated_cost_nanousd == min(cost for cost in costs if cost is not None)
    assert decision.applied == (":floor, the cheapest endpoint first",)


def test_nitro_puts_the_fastest_endpoint_first(catalog: Catalog, book: PriceBook) -> None:
    known = {"together": (None, 900.0, ""), "groq": (None, 90.0, "")}
    fast = router(catalog, book, "groq", "together", health_of=lambda one: known[one.provider])
    assert decide(fast, call("gpt-oss-120b:nitro")).endpoints[0].provider == "together"


def test_free_on_our_path_is_the_cheapest_model_of_the_same_provider(route: Any, book: PriceBook) -> None:
    decision = decide(route, call("gpt-5.5:free"))
    assert {endpoint.provider for endpoint in decision.endpoints} == {"openai"}
    costs = [one.cost_nanousd or 0 for one in decision.candidates if not one.gate]
    assert decision.candidates[0].model == "openai/gpt-6-astra"  # looked at in the catalog's order
    assert decision.estimated_cost_nanousd == min(costs)
    assert "KairosRoute" in decision.applied[0]


def test_free_on_openrouters_path_costs_nothing_or_is_refused(route: Any) -> None:
    with pytest.raises(errors.PaymentRequired, match=r"No endpoint of `gpt-5\.5:free` is free"):
        decide(route, call("gpt-5.5:free", dialect="openrouter"))
    with pytest.raises(errors.PaymentRequired, match="is free"):
        decide(route, call("auto:free", dialect="openrouter"))


def test_thinking_switches_reasoning_on(route: Any) -> None:
    asked = call("gpt-5.4:thinking")
    decision = decide(route, asked)
    assert (decision.endpoints[0].model, decision.turns_reasoning_on) == ("openai/gpt-5.4", True)
    changed = asked.with_reasoning()
    assert orjson.loads(changed.raw)["reasoning_effort"] == "medium"
    assert asked.body.get("reasoning_effort") is None
    said = call("gpt-5.4:thinking", body={"reasoning_effort": "low"})
    assert said.with_reasoning() is said


def test_thinking_may_change_to_a_reasoning_model_of_the_same_provider(route: Any, catalog: Catalog) -> None:
    decision = decide(route, call("gpt-4.1:thinking"))
    first = catalog.models[decision.endpoints[0].model]
    assert first.provider == "openai"
    assert "reasoning" in first.capabilities


def test_extended_takes_the_largest_window_of_the_family(route: Any, catalog: Catalog) -> None:
    decision = decide(route, call("gpt-5.4-mini:extended"))
    window = catalog.models[decision.endpoints[0].model].context_tokens
    assert window == max(m.context_tokens or 0 for m in catalog if m.provider == "openai" and m.name.startswith("gpt"))


def test_a_suffix_that_nobody_applies_is_named(route: Any) -> None:
    assert decide(route, call("gpt-5.4:online")).not_applied == ("model suffix :online",)


def test_a_quality_bar_is_named_as_long_as_nothing_goes_by_it(route: Any) -> None:
    (said,) = decide(route, call("auto", wishes={"quality_bar": 0.9})).not_applied
    assert said.startswith("quality_bar")


def test_auto_takes_suffixes_too(route: Any, catalog: Catalog) -> None:
    thinking = decide(route, call("auto:thinking"))
    assert thinking.turns_reasoning_on
    assert all("reasoning" in catalog.models[one.model].capabilities for one in thinking.endpoints)
    assert decide(route, call("auto:free")).endpoints == decide(route, call("auto")).endpoints


def test_a_remembered_name_costs_no_search(route: Any) -> None:
    asked = call("gpt-5.4")
    decide(route, asked)
    assert decide(route, asked) is decide(route, asked, at=NOON + 1)
