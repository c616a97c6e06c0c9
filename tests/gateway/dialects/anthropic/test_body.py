"""Reading Messages bodies: what they become canonically, and what is kept for Anthropic itself."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.context import ChatCall
from gateway.dialects import reasoning_state
from gateway.dialects.anthropic import body
from gateway.providers.anthropic_messages import messages as canonical_to_anthropic

BASE: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


def parse(given: dict[str, Any], headers: dict[bytes, bytes] | None = None) -> ChatCall:
    return body.parse(orjson.dumps({**BASE, **given}), headers or {}, is_test=False)


def turns(*content: Any, role: str = "user") -> list[dict[str, Any]]:
    return list(parse({"messages": [{"role": role, "content": list(content)}]}).body["messages"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"stop_sequences": ["a"]}, {"stop": ["a"]}),
        ({"top_k": 3, "top_p": 0.5, "temperature": 1}, {"top_k": 3, "top_p": 0.5, "temperature": 1}),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"stream": True}, {"stream": True}),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, {"reasoning": {"max_tokens": 2048}}),
        ({"thinking": {"type": "adaptive"}}, {"reasoning": {"enabled": True}}),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}},
            {"reasoning": {"effort": "low", "exclude": True}},
        ),
        ({"thinking": {"type": "disabled"}}, {"reasoning": {"enabled": False}}),
        ({"output_config": {"effort": "high"}}, {"reasoning": {"effort": "high"}}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ({"system": "S"}, {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}]}),
        (
            {"system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}]},
            {
                "messages": [
                    {
                        "role": "system",
                        "content": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}],
                    },
                    {"role": "user", "content": "hi"},
                ]
            },
        ),
    ],
)
def test_a_field_becomes_its_canonical_one(given: dict[str, Any], expected: dict[str, Any]) -> None:
    found = dict(parse(given).body)
    plain = {"model": "m", "max_tokens": 5, "messages": BASE["messages"]}
    assert found == {**plain, **expected}


TOOL = {"name": "look", "description": "d", "input_schema": {"type": "object"}}
FUNCTION = {
    "type": "function",
    "function": {"name": "look", "description": "d", "parameters": {"type": "object"}},
}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {}),
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "look"}, {"tool_choice": {"type": "function", "function": {"name": "look"}}}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
)
def test_tools_and_their_choice_become_functions(choice: Any, expected: dict[str, Any]) -> None:
    found = dict(parse({"tools": [TOOL], "tool_choice": choice}).body)
    assert found["tools"] == [FUNCTION]
    assert {name: found[name] for name in ("tool_choice", "parallel_tool_calls") if name in found} == expected


def test_a_tool_keeps_its_cache_breakpoint_and_names_what_is_lost() -> None:
    call = parse({"tools": [{**TOOL, "cache_control": {"type": "ephemeral"}, "defer_loading": True}]})
    assert call.body["tools"][0]["cache_control"] == {"type": "ephemeral"}
    assert call.native is not None
    assert call.native.lost == ("tools.defer_loading",)


def test_tool_results_become_messages_of_their_own_with_pictures_after_them() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    assert turns(
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "one"}, picture]},
        {"type": "tool_result", "tool_use_id": "b", "content": "no", "is_error": True},
        {"type": "text", "text": "go on"},
    ) == [
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: no"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "text", "text": "go on"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        ),
        (
            {
                "type": "document",
                "title": "T",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"},
            },
            {"type": "file", "file": {"filename": "T", "file_data": "data:application/pdf;base64,AA"}},
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
            {"type": "file", "file": {"filename": "document.pdf", "file_data": "https://x/y.pdf"}},
        ),
        (
            {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "D"}},
            {"type": "text", "text": "T\n\nD"},
        ),
        (
            {"type": "search_result", "title": "T", "source": "s", "content": [{"type": "text", "text": "C"}]},
            {"type": "text", "text": "T\ns\nC"},
        ),
    ],
)
def test_a_block_becomes_its_canonical_part(block: dict[str, Any], part: dict[str, Any]) -> None:
    first = {"type": "text", "text": "x"}
    assert turns(first, block)[0]["content"] == [first, part]


def test_an_assistants_turn_keeps_its_thinking_and_its_calls() -> None:
    (message,) = turns(
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "secret"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}},
        role="assistant",
    )
    assert message["content"] == "I look."
    assert message["reasoning_content"] == "hm"
    assert [
        (detail.get("text"), detail.get("signature"), detail.get("data")) for detail in message["reasoning_details"]
    ] == [
        ("hm", "sig", None),
        (None, None, "secret"),
    ]
    assert message["tool_calls"] == [
        {"id": "t", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    ]


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0] (bash_20250124)"),
        ({"mcp_servers": [{"url": "https://x"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
            "messages[0].content[0].source (file)",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "s"}]}]},
            "messages[0].content[0] (server_tool_use)",
        ),
    ],
)
def test_what_only_anthropic_can_do_is_noted(given: dict[str, Any], needed: str) -> None:
    native = parse(given).native
    assert native is not None
    assert native.needs == (needed,)
    with pytest.raises(errors.InvalidRequest, match="only a provider that speaks this API"):
        native.require_translatable()


def test_what_others_go_without_is_noted() -> None:
    native = parse({"context_management": {"edits": []}, "speed": "fast", "mcp_servers": []}).native
    assert native is not None
    assert set(native.lost) == {"context_management", "speed"}
    assert native.needs == ()


def test_the_native_body_is_the_clients_own_without_our_fields() -> None:
    raw = b'{"model": "m", "max_tokens": 5, "temperature": 0.700, "messages": [{"role": "user", "content": "hi"}]}'
    native = body.parse(raw, {}, is_test=False).native
    assert native is not None
    assert native.raw == raw
    ours = parse({"kairosroute": {"agent": "a"}, "models": ["x"], "fallbacks": [{"model": "y"}]})
    assert ours.native is not None
    assert orjson.loads(ours.native.raw) == {**BASE, "fallbacks": [{"model": "y"}]}
    assert ours.attribution.agent == "a"


def test_no_prompt_stands_in_a_repr() -> None:
    assert "hi" not in repr(parse({}).native).replace("anthropic", "")


def test_only_harmless_headers_go_along() -> None:
    native = parse(
        {}, {b"anthropic-beta": b"a,b", b"anthropic-version": b"2023-06-01", b"x-api-key": b"kr_live"}
    ).native
    assert native is not None
    assert native.headers == (("anthropic-version", "2023-06-01"), ("anthropic-beta", "a,b"))


def test_a_long_user_is_hashed_for_the_provider_and_whole_for_us() -> None:
    call = parse({"metadata": {"user_id": "u" * 100}})
    assert len(call.body["user"]) == 64
    assert call.attribution.end_user == "u" * 100


def test_thinking_of_another_model_is_kept_from_anthropic_and_given_back_to_its_own() -> None:
    details = [{"type": "reasoning.encrypted", "data": "gem", "format": "google-gemini-v1", "id": "t", "index": 0}]
    call = parse(
        {
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": ""},
                        {"type": "redacted_thinking", "data": reasoning_state.pack(details)},
                        {"type": "tool_use", "id": "t", "name": "look", "input": {}},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
            ],
        }
    )
    assert call.native is not None
    sent = orjson.loads(call.native.raw)
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["tool_use"]
    assert "thinking" not in sent
    assert details[0] in call.body["messages"][1]["reasoning_details"]


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"{", None),
        (orjson.dumps({**BASE, "model": ""}), "model"),
        (orjson.dumps({**BASE, "max_tokens": "5"}), "max_tokens"),
        (orjson.dumps({"model": "m", "messages": BASE["messages"]}), "max_tokens"),
        (orjson.dumps({**BASE, "messages": []}), "messages"),
        (orjson.dumps({**BASE, "messages": [{"role": "tool", "content": ""}]}), "messages[0].role"),
        (orjson.dumps({**BASE, "messages": [{"role": "user", "content": 1}]}), "messages[0].content"),
        (orjson.dumps({**BASE, "messages": [{"role": "user", "content": [1]}]}), "messages[0].content[0]"),
        (orjson.dumps({**BASE, "thinking": {"type": "much"}}), "thinking.type"),
        (orjson.dumps({**BASE, "tools": [{"name": "x"}]}), "tools[0].input_schema"),
        (orjson.dumps({**BASE, "tools": [TOOL], "tool_choice": {"type": "some"}}), "tool_choice.type"),
        (orjson.dumps({**BASE, "stream": 1}), "stream"),
        (orjson.dumps({**BASE, "temperature": "hot"}), "temperature"),
    ],
)
def test_bad_input_names_the_field(raw: bytes, param: str | None) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        body.parse(raw, {}, is_test=False)
    assert caught.value.param == param


_texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip)
_user_blocks = st.lists(st.builds(lambda text: {"type": "text", "text": text}, _texts), min_size=1, max_size=3)
_uses = st.builds(
    lambda number, arguments: {"type": "tool_use", "id": f"t{number}", "name": "look", "input": arguments},
    st.integers(0, 99),
    st.dictionaries(_texts, _texts | st.integers(-5, 5), max_size=2),
)
_assistant_blocks = st.builds(
    lambda thought, texts, uses: [*thought, *texts, *uses],
    st.lists(
        st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": f"s{len(text)}"}, _texts), max_size=1
    ),
    st.lists(st.builds(lambda text: {"type": "text", "text": text + "."}, _texts), min_size=1, max_size=1),
    st.lists(_uses, max_size=2, unique_by=lambda use: use["id"]),
)


@given(st.lists(st.tuples(_user_blocks, _assistant_blocks), min_size=1, max_size=3))
def test_turns_survive_the_way_into_the_canonical_form_and_back(pairs: list[Any]) -> None:
    given = [
        {"role": role, "content": blocks}
        for user, assistant in pairs
        for role, blocks in (("user", user), ("assistant", assistant))
    ]
    translated = parse({"messages": given}).body["messages"]
    _, back = canonical_to_anthropic.split(list(translated))
    assert back == given
