"""Every field and header that clients of other gateways send is honoured, happens anyway, or is named."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.context import NOBODY, ChatCall
from gateway.dialects import chat_body, compatibility, kairosroute, litellm, openrouter, portkey, rows, vercel
from gateway.preferences import NO_PREFERENCES, NO_TRACE, MaxPrice, RunBudget
from gateway.providers import fields

ASKED = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}


def parse(
    extra: dict[str, Any] | None = None, headers: dict[str, str] | None = None, *, is_test: bool = False
) -> ChatCall:
    sent = {name.lower().encode(): value.encode() for name, value in (headers or {}).items()}
    return chat_body.parse_chat(orjson.dumps({**ASKED, **(extra or {})}), sent, is_test=is_test)


# What clients of these gateways are known to send, one value each that asks for something.
BODIES: list[tuple[str, Any]] = [
    ("models", ["openai/gpt-5.4"]),
    ("fallbacks", ["gpt-5.4"]),
    ("fallbacks", [{"model": "gpt-5.4"}]),
    ("num_retries", 2),
    ("timeout", 30),
    ("drop_params", False),
    ("provider", {"order": ["openai"]}),
    ("provider", {"only": ["openai"]}),
    ("provider", {"ignore": ["openai"]}),
    ("provider", {"allow_fallbacks": False}),
    ("provider", {"require_parameters": True}),
    ("provider", {"data_collection": "deny"}),
    ("provider", {"zdr": True}),
    ("provider", {"quantizations": ["fp8"]}),
    ("provider", {"sort": "price"}),
    ("provider", {"sort": "throughput"}),
    ("provider", {"sort": {"by": "latency", "partition": "model"}}),
    ("provider", {"sort": {"partition": "none"}}),
    ("provider", {"max_price": {"prompt": 1}}),
    ("provider", {"max_price": {"completion": "2.5"}}),
    ("provider", {"max_price": {"request": 0.01}}),
    ("provider", {"max_price": {"image": 1}}),
    ("provider", {"preferred_min_throughput": 50}),
    ("provider", {"preferred_min_throughput": {"p90": 50}}),
    ("provider", {"preferred_max_latency": 2}),
    ("provider", {"preferred_max_latency": {"p75": 2}}),
    ("provider", {"something_new": 1}),
    ("providerOptions", {"gateway": {"order": ["openai"]}}),
    ("providerOptions", {"gateway": {"only": ["openai"]}}),
    ("providerOptions", {"gateway": {"sort": "cost"}}),
    ("providerOptions", {"gateway": {"sort": "ttft"}}),
    ("providerOptions", {"gateway": {"sort": "tps"}}),
    ("providerOptions", {"gateway": {"models": ["openai/gpt-5.4"]}}),
    ("providerOptions", {"gateway": {"user": "u"}}),
    ("providerOptions", {"gateway": {"tags": ["a"]}}),
    ("providerOptions", {"gateway": {"byok": {"openai": [{"apiKey": "k"}]}}}),
    ("providerOptions", {"gateway": {"has": ["vision"]}}),
    ("providerOptions", {"anthropic": {"thinking": {}}}),
    ("plugins", [{"id": "auto-router", "allowed_models": ["openai/*"]}]),
    ("plugins", [{"id": "auto-router", "excluded_models": ["openai/*"]}]),
    ("plugins", [{"id": "auto-router", "cost_tier": "low"}]),
    ("plugins", [{"id": "auto-router", "cost_quality_tradeoff": 7}]),
    ("plugins", [{"id": "web"}]),
    ("plugins", ["response-healing"]),
    ("max_cost", 0.01),
    ("max_cost_per_million_tokens", 2),
    ("willingness_to_pay", 0.1),
    ("route", "sort"),
    ("transforms", ["middle-out"]),
    ("session_id", "s_1"),
    ("trace", {"trace_id": "t"}),
    ("trace", {"trace_name": "t"}),
    ("trace", {"span_name": "t"}),
    ("trace", {"generation_name": "t"}),
    ("trace", {"parent_span_id": "t"}),
    ("data_collection", "deny"),
    ("zdr", True),
    ("preferred_max_latency", 500),
    ("preferred_min_throughput", 50),
    ("quantizations", ["fp8"]),
    ("cache", {"ttl": 60}),
    ("cache", {"no-cache": True}),
    ("cache", {"namespace": "n"}),
    ("user", "u"),
    ("metadata", {"team": "search"}),
    ("kairos", {"quality_bar": 1}),
    ("kairosroute", {"quality_bar": 0.8}),
    ("kairosroute", {"max_cost_usd": 0.01}),
    ("kairosroute", {"task": "extraction"}),
    ("kairosroute", {"agent": "a"}),
    ("kairosroute", {"workspace": "w"}),
    ("kairosroute", {"experiment": "off"}),
    ("kairosroute", {"candidates": ["openai/*"]}),
    ("kairosroute", {"exclude": ["openai/*"]}),
    ("kairosroute", {"baseline": "gpt-5.4"}),
    ("kairosroute", {"explain": "full"}),
    ("kairosroute", {"dry_run": True}),
    ("kairosroute", {"run_budget": 0.5}),
]
HEADERS: list[tuple[str, str]] = [
    ("HTTP-Referer", "https://app.example"),
    ("X-Title", "App"),
    ("X-OpenRouter-Title", "App"),
    ("X-OpenRouter-Categories", "cli-agent"),
    ("X-OpenRouter-Metadata", "enabled"),
    ("X-OpenRouter-Experimental-Metadata", "enabled"),
    ("X-OpenRouter-Cache", "true"),
    ("X-OpenRouter-Something", "new"),
    ("x-session-id", "s"),
    ("x-conversation-id", "s"),
    ("x-claude-code-session-id", "s"),
    ("x-litellm-tags", "a,b"),
    ("x-litellm-spend-logs-metadata", '{"a": "b"}'),
    ("x-litellm-customer-id", "u"),
    ("x-litellm-end-user-id", "u"),
    ("x-litellm-timeout", "30"),
    ("x-litellm-stream-timeout", "5"),
    ("x-litellm-num-retries", "2"),
    ("x-litellm-min-quality-tier", "2"),
    ("x-litellm-enable-message-redaction", "true"),
    ("x-litellm-call-id", "c"),
    ("x-litellm-trace-id", "t"),
    ("x-litellm-session-id", "s"),
    ("x-litellm-agent-id", "a"),
    ("x-portkey-metadata", '{"_user": "u", "team": "search"}'),
    ("x-portkey-trace-id", "t"),
    ("x-portkey-config", "pc-abc"),
    ("x-portkey-config", '{"strategy": {"mode": "single"}, "targets": [{"provider": "openai"}]}'),
    ("x-portkey-provider", "openai"),
    ("x-portkey-virtual-key", "v"),
    ("x-portkey-cache-force-refresh", "true"),
    ("x-portkey-cache-namespace", "n"),
    ("x-portkey-request-timeout", "3000"),
    ("x-portkey-forward-headers", '["x"]'),
    ("Helicone-Property-Team", "search"),
    ("Helicone-User-Id", "u"),
    ("Helicone-Session-Id", "s"),
    ("Helicone-Session-Name", "n"),
    ("Helicone-Session-Path", "/a"),
    ("Helicone-Request-Id", "r"),
    ("Helicone-Cache-Enabled", "true"),
    ("Helicone-Cache-Seed", "n"),
    ("Helicone-Retry-Enabled", "true"),
    ("Helicone-RateLimit-Policy", "10;w=1000;u=cents;s=user"),
    ("Helicone-Omit-Request", "true"),
    ("Helicone-Omit-Response", "true"),
    ("Helicone-Fallbacks", '[{"bodyKeyOverride": {"model": "gpt-5.4"}}]'),
    ("Helicone-Model-Override", "gpt-4"),
    ("cf-aig-metadata", '{"team": "search"}'),
    ("cf-aig-cache-ttl", "60"),
    ("cf-aig-collect-log", "false"),
    ("cf-aig-max-attempts", "3"),
    ("cf-aig-request-timeout", "3000"),
    ("X-Client-Request-Id", "r"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("OpenAI-Organization", "org"),
    ("OpenAI-Project", "proj"),
    ("x-stainless-retry-count", "1"),
    ("X-KairosRoute-Quality-Bar", "0.8"),
    ("X-KairosRoute-Max-Cost", "0.01"),
    ("X-KairosRoute-Tags", "a=1"),
    ("X-KairosRoute-Agent", "a"),
    ("X-KairosRoute-Feature", "f"),
    ("X-KairosRoute-Agent-Run", "r"),
    ("X-KairosRoute-Session", "s"),
    ("X-KairosRoute-Explain", "full"),
    ("X-KairosRoute-Run-Budget", "0.50; on_exceed=stop"),
    ("X-Kairos-Agent", "a"),
]
# What they ask for happens to every call, or is a second word beside another header.
GRANTED_HEADERS = [
    ("x-stainless-read-timeout", "600"),
    ("x-portkey-api-key", "kr_live_x"),
    ("x-portkey-strict-open-ai-compliance", "true"),
    ("Helicone-Auth", "Bearer kr_live_x"),
    ("x-litellm-api-key", "kr_live_x"),
]
GRANTED_BODIES = [("usage", {"include": True}), ("route", "fallback"), ("drop_params", True), ("transforms", [])]


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def says_nothing(call: ChatCall) -> bool:
    return (
        call.preferences == NO_PREFERENCES
        and call.attribution is NOBODY
        and call.trace is NO_TRACE
        and not call.not_applied
        and not call.request_keys
        and call.options == {}
    )


@pytest.mark.parametrize(("name", "value"), BODIES, ids=str)
def test_no_field_is_silently_ignored(name: str, value: Any) -> None:
    assert not says_nothing(parse({name: value}))


@pytest.mark.parametrize(("name", "value"), HEADERS, ids=str)
def test_no_header_is_silently_ignored(name: str, value: str) -> None:
    call = parse(headers={name: value})
    # To be answered in the gateway's own headers is no effect by itself.
    wishes = msgspec.structs.replace(call.preferences, echoes=call.preferences.echoes & {"openrouter_metadata"})
    assert (wishes, call.attribution, call.trace, call.not_applied) != (NO_PREFERENCES, NOBODY, NO_TRACE, ())


@pytest.mark.parametrize(("name", "value"), GRANTED_HEADERS, ids=str)
def test_a_header_that_asks_for_what_happens_anyway_changes_nothing(name: str, value: str) -> None:
    call = parse(headers={name: value})
    assert (call.attribution, call.trace, call.not_applied) == (NOBODY, NO_TRACE, ())


@pytest.mark.parametrize(("name", "value"), GRANTED_BODIES, ids=str)
def test_a_field_that_asks_for_what_happens_anyway_changes_nothing(name: str, value: Any) -> None:
    assert says_nothing(parse({name: value}))


def test_each_field_and_header_of_the_lists_stands_in_a_table() -> None:
    """The lists above and the tables are two accounts of the same; a row that no list knows is untested."""
    tried = {name.lower() for name, _ in (*HEADERS, *GRANTED_HEADERS)}
    listed = {name.lower() for _, kind, table in compatibility.documented() if kind == "headers" for name, row in table}
    unlisted = {"x-openrouter-something", "x-kairos-agent", "helicone-property-team"}
    assert tried - unlisted <= listed


def test_no_field_of_a_gateway_reaches_a_provider() -> None:
    assert compatibility.FIELD_NAMES - {"mock_response"} <= fields.GATEWAY_ONLY
    assert {"kairosroute", "kairosroute_fault"} == fields.GATEWAY_ONLY - compatibility.FIELD_NAMES


def test_unknown_fields_go_to_the_provider() -> None:
    call = parse({"web_search_options": {"a": 1}, "provider": {"sort": "price"}})
    assert call.body["web_search_options"] == {"a": 1}
    assert call.not_applied == ()


def test_a_plain_call_asks_for_nothing_and_costs_nothing() -> None:
    call = parse(headers={"user-agent": "curl/8", "x-stainless-retry-count": "0", "x-stainless-read-timeout": "600"})
    assert call.preferences is NO_PREFERENCES
    assert call.attribution is NOBODY
    assert call.trace is NO_TRACE


def test_openrouters_provider_object_becomes_preferences() -> None:
    wish = parse(
        {
            "models": ["a/b", "c/d"],
            "provider": {
                "order": ["Anthropic", "amazon-bedrock"],
                "ignore": ["Google AI Studio"],
                "allow_fallbacks": False,
                "sort": "throughput",
                "max_price": {"prompt": 1, "completion": "2.5", "request": 0.001},
                "preferred_max_latency": {"p50": 1, "p75": 2.5},
                "preferred_min_throughput": 40,
            },
        }
    )
    preferences = wish.preferences
    assert preferences.models == ("a/b", "c/d")
    assert preferences.provider_order == ("anthropic", "bedrock")
    assert preferences.provider_ignore == ("google",)
    assert preferences.allows_fallbacks is False
    assert preferences.sort == "throughput"
    assert preferences.max_price == MaxPrice(
        prompt_nanousd_per_mtok=1_000_000_000, completion_nanousd_per_mtok=2_500_000_000, request_nanousd=1_000_000
    )
    assert preferences.preferred_max_latency_ms == 2500
    assert wish.not_applied == ("provider.preferred_max_latency.p50",)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"provider": {"order": "openai"}}, "provider.order"),
        ({"provider": []}, "provider"),
        ({"provider": {"sort": "speed"}}, "provider.sort"),
        ({"provider": {"zdr": "perhaps"}}, "provider.zdr"),
        ({"provider": {"max_price": {"prompt": -1}}}, "provider.max_price"),
        ({"provider": {"max_price": {"prompt": "dear"}}}, "provider.max_price"),
        ({"models": [1]}, "models"),
        ({"num_retries": -1}, "num_retries"),
        ({"timeout": 0}, "timeout"),
        ({"session_id": "s" * 257}, "session_id"),
        ({"data_collection": "maybe"}, "data_collection"),
        ({"preferred_max_latency": "fast"}, "preferred_max_latency"),
        ({"kairosroute": {"quality_bar": 2}}, "kairosroute.quality_bar"),
        ({"kairosroute": {"run_budget": {"max_cost_usd": 1, "on_exceed": "cry"}}}, "kairosroute.run_budget.on_exceed"),
        ({"providerOptions": {"gateway": {"sort": "speed"}}}, "providerOptions.gateway.sort"),
    ],
)
def test_a_bad_value_in_a_body_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        parse(body)
    assert caught.value.param == param
    assert f"`{param}` must be " in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("traceparent", "00-zz-1-01"),
        ("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
        ("x-litellm-timeout", "soon"),
        ("x-portkey-metadata", "{"),
        ("x-portkey-config", '{"strategy": {"mode": "fallback"}}'),
        ("cf-aig-max-attempts", "0"),
        ("Helicone-Cache-Enabled", "perhaps"),
        ("Helicone-Fallbacks", "[1]"),
    ],
)
def test_a_bad_value_in_anothers_header_is_named_not_refused(name: str, value: str) -> None:
    assert name in parse(headers={name: value}).not_applied


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-KairosRoute-Quality-Bar", "high"),
        ("X-KairosRoute-Max-Cost", "-1"),
        ("X-KairosRoute-Explain", "much"),
        ("X-KairosRoute-Run-Budget", "0.5; on_exceed=cry"),
        ("X-KairosRoute-Tags", "{"),
    ],
)
def test_a_bad_value_in_our_own_header_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        parse(headers={name: value})
    assert (caught.value.param, caught.value.code) == (name, "invalid_header")


def test_the_body_wins_over_headers_and_our_object_over_all() -> None:
    call = parse(
        {"timeout": 7, "session_id": "body", "kairosroute": {"session": "ours", "quality_bar": 0.9}},
        {"x-litellm-timeout": "30", "x-session-id": "header", "X-KairosRoute-Quality-Bar": "0.1"},
    )
    assert call.preferences.timeout_s == 7
    assert call.attribution.session == "ours"
    assert call.preferences.quality_bar == 0.9


def test_our_headers_win_over_those_of_other_gateways() -> None:
    call = parse(headers={"X-KairosRoute-Agent": "ours", "x-litellm-agent-id": "theirs"})
    assert call.attribution.agent == "ours"


@pytest.mark.parametrize(
    ("headers", "ttl", "namespace", "refreshes"),
    [
        ({"X-OpenRouter-Cache": "true"}, 300, "", False),
        ({"X-OpenRouter-Cache": "true", "X-OpenRouter-Cache-TTL": "60"}, 60, "", False),
        ({"X-OpenRouter-Cache-TTL": "60"}, None, "", False),
        ({"X-OpenRouter-Cache": "true", "X-OpenRouter-Cache-Clear": "true"}, 300, "", True),
        ({"Helicone-Cache-Enabled": "true"}, 604800, "", False),
        (
            {"Helicone-Cache-Enabled": "true", "Cache-Control": "max-age=90", "Helicone-Cache-Seed": "s"},
            90,
            "s",
            False,
        ),
        ({"Cache-Control": "max-age=90"}, None, "", False),
        ({"cf-aig-cache-ttl": "60"}, 60, "", False),
        ({"cf-aig-cache-ttl": "60", "cf-aig-skip-cache": "true"}, None, "", False),
        ({"x-portkey-config": '{"cache": {"mode": "simple", "max_age": 60}}'}, 60, "", False),
        ({"x-portkey-config": '{"cache": {"mode": "semantic"}}', "x-portkey-cache-namespace": "n"}, 300, "n", False),
    ],
)
def test_each_gateways_cache_headers_ask_for_the_same_cache(
    headers: dict[str, str], ttl: int | None, namespace: str, refreshes: bool
) -> None:
    preferences = parse(headers=headers).preferences
    assert preferences.cache_ttl_s == ttl
    assert preferences.cache_namespace == namespace
    assert preferences.refreshes_cache is refreshes


@pytest.mark.parametrize(
    ("headers", "retries"),
    [
        ({"Helicone-Retry-Enabled": "true"}, 5),
        ({"helicone-retry-num": "2", "Helicone-Retry-Enabled": "true"}, 2),
        ({"helicone-retry-num": "2"}, None),
        ({"cf-aig-max-attempts": "3"}, 2),
        ({"x-portkey-config": '{"retry": {"attempts": 4}}'}, 4),
    ],
)
def test_retries_are_counted_the_same_way(headers: dict[str, str], retries: int | None) -> None:
    assert parse(headers=headers).preferences.retries == retries


def test_a_portkey_config_becomes_a_plan() -> None:
    config = {
        "strategy": {"mode": "fallback", "on_status_codes": [429]},
        "targets": [
            {"provider": "@openai", "override_params": {"model": "gpt-5.4", "temperature": 0}},
            {"provider": "anthropic", "override_params": {"model": "claude-haiku-4-5"}, "weight": 1},
        ],
    }
    call = parse(headers={"x-portkey-config": orjson.dumps(config).decode()})
    assert call.requested_model == "gpt-5.4"
    assert call.preferences.models == ("claude-haiku-4-5",)
    assert call.preferences.provider_order == call.preferences.provider_only == ("openai", "anthropic")
    assert set(call.not_applied) == {
        "x-portkey-config.strategy.on_status_codes",
        "x-portkey-config.targets[].override_params.temperature",
        "x-portkey-config.targets[].weight",
    }


def test_a_portkey_config_by_id_is_named() -> None:
    assert parse(headers={"x-portkey-config": "pc-1234"}).not_applied == ("x-portkey-config",)


def test_the_router_form_of_fallbacks_is_understood() -> None:
    assert parse({"fallbacks": [{"gpt-5.4": ["a", "b"]}]}).preferences.models == ("a", "b")


def test_a_run_budget_is_read_from_header_and_body() -> None:
    wanted = RunBudget(max_nanousd=500_000_000, on_exceed="downgrade")
    assert parse(headers={"X-KairosRoute-Run-Budget": "0.50; on_exceed=downgrade"}).preferences.run_budget == wanted
    body = {"kairosroute": {"run_budget": {"max_cost_usd": 0.5, "on_exceed": "downgrade"}}}
    assert parse(body).preferences.run_budget == wanted


def test_metadata_that_openai_would_refuse_is_used_and_not_sent_on() -> None:
    call = parse({"metadata": {"tags": ["team:search", "beta"], "spend": 1}})
    assert call.attribution.tags == {"team": "search", "beta": "true", "spend": "1"}
    assert "metadata" not in call.body
    assert parse({"metadata": {"a": "b"}}).body["metadata"] == {"a": "b"}


def test_a_mock_answer_is_for_test_keys_only() -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        parse({"mock_response": "hello"})
    assert caught.value.code == "test_key_required"
    assert parse({"mock_response": "hello"}, is_test=True).body["mock_response"] == "hello"


def test_a_client_that_counts_its_retries_is_heard() -> None:
    assert parse(headers={"x-stainless-retry-count": "2"}).trace.client_retry_count == 2


def test_a_trace_context_is_taken_apart() -> None:
    trace = parse(headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}).trace
    assert (trace.trace_id, trace.parent_span_id) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


def test_what_will_not_be_done_is_named_within_bounds() -> None:
    call = parse({"provider": {f"unknown_{number}_{'x' * 80}": 1 for number in range(40)}})
    assert len(call.not_applied) == 17
    assert call.not_applied[-1] == "and 24 more"
    assert max(map(len, call.not_applied)) == 64


@pytest.mark.parametrize(
    ("headers", "is_kept"),
    [
        ({"Helicone-Omit-Request": "true"}, False),
        ({"Helicone-Omit-Response": "true"}, False),
        ({"x-litellm-enable-message-redaction": "true"}, False),
        ({"cf-aig-collect-log": "false"}, False),
        ({"cf-aig-collect-log": "true"}, True),
        ({"Helicone-Omit-Request": "false"}, True),
    ],
)
def test_a_call_may_forbid_that_its_content_is_kept(headers: dict[str, str], is_kept: bool) -> None:
    assert parse(headers=headers).preferences.keeps_content is is_kept


def test_the_table_knows_three_effects() -> None:
    effects = {row.effect for _, _, table in compatibility.documented() for _, row in table}
    assert effects == {rows.HONOURED, rows.GRANTED, rows.NOT_APPLIED}


SECRET = "sk-proj-canary-0123456789abcdef"


@pytest.mark.parametrize(
    ("headers", "body", "provider"),
    [
        ({"Helicone-Auth": "Bearer kr_live_x", "Authorization": f"Bearer {SECRET}"}, {}, ""),
        (
            {"x-portkey-api-key": "kr_live_x", "x-portkey-provider": "@openai", "Authorization": f"Bearer {SECRET}"},
            {},
            "openai",
        ),
        ({"x-portkey-config": f'{{"targets": [{{"provider": "openai", "api_key": "{SECRET}"}}]}}'}, {}, "openai"),
        ({}, {"providerOptions": {"gateway": {"byok": {"openai": [{"apiKey": SECRET}]}}}}, "openai"),
    ],
)
def test_a_providers_key_may_come_with_the_call(headers: dict[str, str], body: dict[str, Any], provider: str) -> None:
    call = parse(body, headers)
    (brought,) = call.request_keys
    assert (brought.provider, brought.api_key) == (provider, SECRET)
    assert SECRET not in repr(brought)
    assert SECRET not in repr((call.preferences, call.attribution, call.trace, call.not_applied))


@pytest.mark.parametrize("value", ["Bearer dummy", "Bearer kr_live_0123456789abcdef", "Basic dXNlcjpwYXNzd29yZA==", ""])
def test_a_placeholder_or_our_own_key_is_no_providers_key(value: str) -> None:
    assert parse(headers={"x-portkey-api-key": "kr_live_x", "Authorization": value}).request_keys == ()


def test_the_first_of_models_stands_in_for_a_missing_model() -> None:
    raw = orjson.dumps({"models": ["a/b", "c/d"], "messages": ASKED["messages"]})
    call = chat_body.parse_chat(raw, {}, is_test=False)
    assert call.requested_model == "a/b"
    assert call.preferences.models == ("c/d",)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
INNER = {
    "provider": [*openrouter.PROVIDER, "max_price"],
    "trace": list(openrouter.TRACE),
    "cache": list(litellm.CACHE),
}


@given(name=st.sampled_from(sorted(compatibility.FIELD_NAMES)), value=JSON)
def test_any_value_of_a_field_is_read_or_refused_by_name(name: str, value: Any) -> None:
    _read_or_refused({name: value})


@given(data=st.data(), name=st.sampled_from(sorted(INNER)))
def test_any_value_inside_an_object_is_read_or_refused_by_name(data: st.DataObject, name: str) -> None:
    _read_or_refused({name: {data.draw(st.sampled_from(INNER[name])): data.draw(JSON)}})


@given(name=st.sampled_from(sorted(vercel.GATEWAY)), value=JSON)
def test_any_value_of_vercels_options_is_read_or_refused_by_name(name: str, value: Any) -> None:
    _read_or_refused({"providerOptions": {"gateway": {name: value}}})


@given(plugin=st.dictionaries(st.sampled_from(["id", "enabled", "cost_tier", "cost_quality_tradeoff"]), JSON))
def test_any_plugin_is_read_or_refused_by_name(plugin: dict[str, Any]) -> None:
    _read_or_refused({"plugins": [{"id": "auto-router", **plugin}]})


@given(name=st.sampled_from(sorted(kairosroute.OPTION_NAMES)), value=JSON)
def test_any_value_of_an_option_is_read_or_refused_by_name(name: str, value: Any) -> None:
    _read_or_refused({"kairosroute": {name: value}})


def _read_or_refused(body: dict[str, Any]) -> None:
    try:
        orjson.dumps(body)
    except orjson.JSONEncodeError:  # a number that JSON's readers do not take
        return
    refusals: list[errors.InvalidRequest] = []
    try:
        msgspec.json.encode(parse(body).preferences)
    except errors.InvalidRequest as refusal:
        refusals.append(refusal)
    assert all(refusal.param is not None and refusal.http_status == 400 for refusal in refusals)


HEADER_NAMES = [
    name
    for _, kind, table in compatibility.documented()
    if kind == "headers"
    for name, _ in table
    if not name.startswith("X-KairosRoute-")
]


@given(name=st.sampled_from(HEADER_NAMES), value=st.binary(max_size=40) | JSON.map(_json))
def test_any_value_of_anothers_header_is_read_or_named(name: str, value: bytes) -> None:
    sent = {name.lower().encode(): value, b"x-portkey-api-key": b"x"}
    chat_body.parse_chat(orjson.dumps(ASKED), sent, is_test=False)


@given(config=st.dictionaries(st.sampled_from(sorted(portkey.CONFIG)), JSON))
def test_any_portkey_config_is_read_or_named(config: dict[str, Any]) -> None:
    chat_body.parse_chat(orjson.dumps(ASKED), {b"x-portkey-config": _json(config)}, is_test=False)


@pytest.mark.parametrize(
    "secret", ["sk-proj-c4n4ry0123456789abcdef", "kr_live_c4n4ry0123456789abcdef", "Bearer c4n4ry0123456789abcdef"]
)
def test_a_key_in_a_place_that_is_none_for_keys_is_not_kept(secret: str) -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "metadata": {"api_key": secret, "note": f"with {secret}", "task": "task-force-on-large-language-models"},
        "plugins": [secret],
    }
    call = chat_body.parse_chat(orjson.dumps(body), {b"helicone-property-key": secret.encode()}, is_test=False)
    assert "c4n4ry" not in f"{call.attribution} {call.not_applied}"
    assert call.attribution.tags["note"] == "with [key]"
    assert call.attribution.tags["task"] == "task-force-on-large-language-models"
