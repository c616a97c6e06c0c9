"""Whose key a call goes out with, and in which order; over the real catalog."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.catalog import loader
from gateway.catalog.models import Model
from gateway.context import Attribution, ChatCall, CredentialSnapshot, KeySnapshot, RequestKey
from gateway.credentials import Reach
from gateway.provider_keys import _arranged
from gateway.providers import registry
from tests.factories.calls import make_key

CATALOG = loader.load_catalog()
OPENAI = registry.build({"KAIROS_PROVIDER_OPENAI_API_KEY": "sk-operator"})
NOTHING = registry.build({})


def model(name: str = "openai/gpt-5.4-mini") -> Model:
    return CATALOG.resolve(name).models[0]


def call(name: str = "openai/gpt-5.4-mini", *, session: str = "", keys: tuple[RequestKey, ...] = ()) -> ChatCall:
    return ChatCall(
        raw=b"",
        body={"model": name, "messages": [{"role": "user", "content": "hi"}]},
        requested_model=name,
        attribution=Attribution(session=session),
        request_keys=keys,
    )


def held(credential_id: str, **values: Any) -> CredentialSnapshot:
    defaults: dict[str, Any] = {"label": credential_id, "provider": "openai", "api_key": f"sk-{credential_id}"}
    return CredentialSnapshot(credential_id=credential_id, **{**defaults, **values})


def owning(*own: CredentialSnapshot, **values: Any) -> KeySnapshot:
    return make_key(credentials=_arranged(own), **values)


def reached(
    key: KeySnapshot, *, by: Reach | None = None, name: str = "openai/gpt-5.4-mini", call_id: str = "c", **asked: Any
) -> list[tuple[str, str]]:
    """Return key source and API key of every endpoint, in order."""
    endpoints = (by or Reach(OPENAI)).endpoints(model(name), call(name, **asked), key, call_id=call_id)
    return [(endpoint.key_source, endpoint.api_key) for endpoint in endpoints]


def test_without_keys_of_their_own_calls_go_out_with_the_operators() -> None:
    assert reached(make_key()) == [("managed", "sk-operator")]
    assert reached(make_key(), by=Reach(NOTHING)) == []


def test_a_customers_key_keeps_the_operators_away_unless_they_allow_it() -> None:
    assert reached(owning(held("a"))) == [("byok", "sk-a")]
    assert reached(owning(held("a", allows_managed_fallback=True))) == [("byok", "sk-a"), ("managed", "sk-operator")]


def test_all_keys_that_apply_must_allow_the_operators() -> None:
    own = held("a", allows_managed_fallback=True), held("b", order=1)

    assert reached(owning(*own)) == [("byok", "sk-a"), ("byok", "sk-b")]


def test_a_provider_that_the_operator_has_not_becomes_callable() -> None:
    key = owning(held("a", provider="groq", api_key="gsk_own"))

    endpoints = Reach(NOTHING).endpoints(model("groq:gpt-oss-120b"), call(), key, call_id="c")

    assert [(found.provider, found.base_url, found.credential_id) for found in endpoints] == [
        ("groq", "https://api.groq.com/openai/v1", "a")
    ]


def test_keys_of_the_workspace_come_before_the_organizations_and_then_their_order_counts() -> None:
    own = (
        held("org-first"),
        held("ws-late", order=9, is_of_workspace=True),
        held("ws-soon", order=3, is_of_workspace=True),
    )

    assert [key for _, key in reached(owning(*own))] == ["sk-ws-soon", "sk-ws-late", "sk-org-first"]


def test_a_key_for_some_models_leaves_the_others_to_the_operator() -> None:
    key = owning(held("a", models=("openai/gpt-5.4-*",)))

    assert reached(key) == [("byok", "sk-a")]
    assert reached(key, name="openai/gpt-4o-mini") == [("managed", "sk-operator")]


def test_a_key_whose_secret_is_gone_does_not_move_the_cost_to_the_operator() -> None:
    assert reached(owning(held("a", api_key="", is_usable=False))) == []


def test_among_equals_the_weight_decides_how_often_a_key_is_first() -> None:
    key = owning(held("a", weight=3), held("b", weight=1))
    first = Counter(reached(key, call_id=f"call-{number}")[0][1] for number in range(2000))

    assert first["sk-a"] + first["sk-b"] == 2000
    assert 1400 < first["sk-a"] < 1600  # 1500 are expected; five standard deviations are 97


def test_a_session_stays_with_its_key() -> None:
    key = owning(held("a"), held("b"))

    assert len({reached(key, session="s1", call_id=f"call-{number}")[0] for number in range(50)}) == 1


def test_what_depends_on_the_call_is_not_remembered() -> None:
    reach = Reach(OPENAI)

    assert reach.is_settled(call(), make_key())
    assert reach.is_settled(call(), owning(held("a"), held("b", order=1)))
    assert not reach.is_settled(call(), owning(held("a"), held("b")))
    assert not reach.is_settled(call(keys=(RequestKey("openai", "sk-x"),)), make_key())


def test_a_customers_address_is_guarded_and_the_operators_is_not() -> None:
    own = held("a", base_url="https://proxy.example.com")
    operators = registry.build({"KAIROS_PROVIDER_OPENAI_BASE_URL": "http://10.0.0.5/v1"})

    theirs = Reach(operators).endpoints(model(), call(), owning(own), call_id="c")
    through_operators = Reach(operators).endpoints(model(), call(), owning(held("b")), call_id="c")

    assert [found.base_url for found in theirs] == ["guarded+https://proxy.example.com/v1"]
    assert [(found.base_url, found.api_key) for found in through_operators] == [("http://10.0.0.5/v1", "sk-b")]


def test_a_provider_without_an_address_of_its_own_needs_the_customers() -> None:
    name = next(found.id for found in CATALOG if found.provider == "bedrock")
    key = owning(held("a", provider="bedrock"))
    addressed = owning(held("a", provider="bedrock", base_url="https://bedrock.us-east-1.example.com/openai/v1"))

    assert reached(key, by=Reach(NOTHING), name=name) == []
    assert reached(addressed, by=Reach(NOTHING), name=name) == [("byok", "sk-a")]


def test_a_server_of_the_customers_is_called_by_its_name() -> None:
    key = owning(held("a", provider="my-vllm", api_key="", base_url="https://llm.example.com/v1"))

    (endpoint,) = Reach(NOTHING).named("my-vllm/llama-4", call(), key, call_id="c")

    assert (endpoint.model, endpoint.upstream_model, endpoint.base_url, endpoint.api_key) == (
        "my-vllm/llama-4",
        "llama-4",
        "guarded+https://llm.example.com/v1",
        "",
    )
    assert Reach(NOTHING).named("my-vllm/llama-4", call(), make_key(), call_id="c") == ()


def test_a_test_key_reaches_the_simulator_whatever_keys_there_are() -> None:
    key = owning(held("a"), is_test=True)

    (endpoint,) = Reach(OPENAI).endpoints(model(), call(keys=(RequestKey("openai", "sk-x"),)), key, call_id="c")

    assert (endpoint.is_simulated, endpoint.api_key) == (True, "")
    assert Reach(OPENAI).named("my-vllm/x", call(), key, call_id="c") == ()


# -- keys that came with the call


def test_a_key_that_came_with_the_call_is_used_alone() -> None:
    key = owning(held("a", allows_managed_fallback=True))

    assert reached(key, keys=(RequestKey("openai", "sk-own"),)) == [("byok", "sk-own")]


def test_several_are_tried_in_their_order() -> None:
    assert reached(make_key(), keys=(RequestKey("openai", "sk-1"), RequestKey("openai", "sk-2"))) == [
        ("byok", "sk-1"),
        ("byok", "sk-2"),
    ]


def test_a_key_for_another_provider_is_shown_to_nobody_and_nobody_else_pays() -> None:
    assert reached(make_key(), keys=(RequestKey("anthropic", "sk-ant-1"),)) == []


def test_keys_by_provider_leave_other_providers_as_they_are() -> None:
    keys = (RequestKey("anthropic", "sk-ant-1", is_exclusive=False),)

    assert reached(make_key(), keys=keys) == [("managed", "sk-operator")]


@pytest.mark.parametrize(
    ("secret", "name", "expected"),
    [
        ("sk-something", "openai/gpt-5.4-mini", ["sk-something"]),
        ("sk-ant-something", "openai/gpt-5.4-mini", []),
        ("gsk_something", "groq:gpt-oss-120b", ["gsk_something"]),
        ("gsk_something", "together:gpt-oss-120b", []),
        ("no-known-form", "groq:gpt-oss-120b", []),  # not the maker of the model: it might be anybody's
        ("no-known-form", "anthropic/claude-haiku-4-5", ["no-known-form"]),
    ],
)
def test_a_key_without_a_name_goes_where_its_form_says_else_to_the_maker_of_the_model(
    secret: str, name: str, expected: list[str]
) -> None:
    keys = (RequestKey("", secret),)

    assert [key for _, key in reached(make_key(), by=Reach(NOTHING), name=name, keys=keys)] == expected


def test_no_key_of_a_request_shows_in_a_repr() -> None:
    asked = call(keys=(RequestKey("openai", "sk-c4n4ry"),))
    endpoint = Reach(NOTHING).endpoints(model(), asked, make_key(), call_id="c")
    everything = (endpoint, asked, owning(held("a", api_key="sk-c4n4ry")), RequestKey("openai", "sk-c4n4ry"))

    assert "c4n4ry" not in repr(everything)


keys_of_customers = st.lists(
    st.builds(
        held,
        st.uuids().map(str),
        provider=st.sampled_from(["openai", "groq", "my-vllm"]),
        base_url=st.sampled_from(["", "https://llm.example.com/v1"]),
        order=st.integers(0, 3),
        weight=st.integers(1, 5),
        is_of_workspace=st.booleans(),
        is_usable=st.booleans(),
        allows_managed_fallback=st.booleans(),
        models=st.sampled_from([(), ("openai/*",), ("groq/*",)]),
    ),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(own=keys_of_customers, call_id=st.text(min_size=1, max_size=8))
def test_the_operators_key_is_never_used_where_a_customers_key_forbids_it_and_always_comes_last(
    own: list[CredentialSnapshot], call_id: str
) -> None:
    key = owning(*own)
    applying = [one for one in own if one.provider == "openai" and one.models in ((), ("openai/*",))]

    sources = [source for source, _ in reached(key, call_id=call_id)]

    assert sources.count("byok") == sum(one.is_usable for one in applying)
    assert sources == sorted(sources)  # byok before managed
    assert ("managed" in sources) == all(one.allows_managed_fallback for one in applying)
