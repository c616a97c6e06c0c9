"""Every recorded shape through the whole gateway: what the client gets, and what the record says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analytics.request_log import RequestLog
from gateway.catalog import loader
from gateway.catalog.models import CHAT
from gateway.upstream import Timeouts
from tests.fakes import providers
from tests.fixtures.providers import GENERIC, PROVIDERS, Case, cases
from tests.gateway.providers.test_recorded_shapes import CASES, TOOLS
from tests.gateway.rig import Reply, Running, ask, running

_ENDS = {"cut": "UpstreamCut", "stall": "UpstreamTimeout", "garbage_line": "UpstreamGarbage"}
# The failures come last: a provider that fails too often is left alone for a while.
_ORDER = {name: position for position, name in enumerate(("usage_on_a_choice", "usage_missing", *_ENDS, "error_event"))}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model of each provider, by the name that a client would use."""
    catalog, _ = loader.load(tmp_path_factory.mktemp("prices"))
    found: dict[str, str] = {name: f"{name}/qwen" for name in GENERIC} | {"openrouter": "openrouter/moonshotai/kimi-k3"}
    for model in catalog:
        if model.kind == CHAT and "anthropic." not in model.upstream:
            found.setdefault(model.provider, model.id)
    return found


def _body(case: Case, model: str, *, is_stream: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": f"Answer as recorded: [[case:{case.name}]]"}],
        "tools": TOOLS,
    }
    return body | ({"stream": True, "stream_options": {"include_usage": True}} if is_stream else {})


def _streamed(reply: Reply) -> dict[str, Any]:
    choices = [choice for event in reply.events() for choice in event["choices"]]
    deltas = [choice["delta"] for choice in choices]
    calls: dict[int, list[str]] = {}
    for delta in deltas:
        for call in delta.get("tool_calls", ()):
            known = calls.setdefault(call["index"], ["", "", ""])
            known[0] += call.get("id", "")
            known[1] += call["function"].get("name", "")
            known[2] += call["function"].get("arguments", "")
    (finish,) = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    return {
        "content": "".join(delta.get("content") or "" for delta in deltas),
        "reasoning": "".join(delta.get("reasoning_content") or "" for delta in deltas),
        "tool_calls": list(calls.values()),
        "finish": finish,
    }


def _whole(reply: Reply) -> dict[str, Any]:
    (choice,) = reply.json()["choices"]
    message = choice["message"]
    return {
        "content": message["content"] or "",
        "reasoning": message.get("reasoning_content", ""),
        "tool_calls": [
            [call["id"], call["function"]["name"], call["function"]["arguments"]]
            for call in message.get("tool_calls", ())
        ],
        "finish": choice["finish_reason"],
    }


async def _last(gateway: Running, body: dict[str, Any]) -> tuple[Reply, RequestLog]:
    known = len(gateway.records())
    (reply,) = await ask(gateway, body)
    records = gateway.records()
    assert len(records) == known + 1
    return reply, records[-1]


def _check_usage(case: Case, record: RequestLog, *, has_price: bool) -> None:
    usage = case.expected["usage"]
    if usage is None:
        assert record.price_state == ("estimated" if has_price else "unpriced")
        return
    assert record.price_state == ("priced" if has_price else "unpriced")
    assert (record.input_tokens, record.output_tokens) == (usage["input"], usage["output"])
    assert (record.cached_read_tokens, record.cache_write_tokens) == (usage["cached"], usage["written"])
    assert record.reasoning_tokens == usage["reasoning"]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_recorded_answers_reach_the_client_and_the_record(
    tmp_path: Path, models: dict[str, str], provider: str
) -> None:
    recorded = [case for case in cases("stream") if case.endpoint.provider == provider and case.name in CASES]
    serving: list[Running] = []
    script = providers.playing(provider, lambda: serving[0].state.metrics.open_streams > 0)
    others = {provider.upper().replace("-", "_"): script}
    async with running(tmp_path, script, has_lane=True, others=others) as gateway:
        serving.append(gateway)
        gateway.state.providers = replace(gateway.state.providers, timeouts=Timeouts(between_pieces=0.15))
        for case in sorted(recorded, key=lambda case: _ORDER.get(case.name, -1)):
            reply, record = await _last(gateway, _body(case, models[provider], is_stream=True))
            expected = case.expected
            assert reply.status == 200, (str(case), reply.body)
            said = _streamed(reply)
            error_class = _ENDS.get(case.name, expected["error"])
            assert record.error_class == error_class, str(case)
            assert record.provider == provider
            if error_class:
                assert said["finish"] == "error", str(case)
                assert expected["content"].startswith(said["content"])
                assert any(event.get("error") for event in reply.events())
            else:
                assert said == {name: expected[name] for name in said}, str(case)
                _check_usage(case, record, has_price=provider not in {*GENERIC, "openrouter"})
        for case in cases("body"):
            if case.endpoint.provider == provider and case.name in CASES:
                reply, record = await _last(gateway, _body(case, models[provider], is_stream=False))
                said = _whole(reply)
                assert said == {name: case.expected[name] for name in said}, str(case)
                _check_usage(case, record, has_price=provider not in {*GENERIC, "openrouter"})
