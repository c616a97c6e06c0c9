"""The lines that the data plane writes are the records that it means."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from analytics import request_log
from gateway import errors
from gateway.dialects import chat_body
from gateway.draft import Draft
from gateway.providers.protocol import Endpoint, Usage
from gateway.routing.decision import Candidate, Decision
from gateway.settlement import Settlement
from gateway.signals import Signals
from tests.factories.calls import make_key

KEY = make_key()
ENDPOINT = Endpoint("openai/gpt-5.4", "openai", "gpt-5.4", "openai_chat", "http://x")


def make_draft(**body: Any) -> Draft:
    draft = Draft(body="0" * 26, key=KEY, started_us=1_795_000_000_000_000)
    asked = {"model": "gpt-5.4", "messages": [{"role": "user", "content": "hi"}], **body}
    draft.call = chat_body.parse_chat(orjson.dumps(asked), {}, is_test=False)
    draft.decision = Decision((ENDPOINT,), "pinned", True, (Candidate("openai/gpt-5.4", "openai"),))
    draft.endpoint = ENDPOINT
    return draft


def finished(draft: Draft) -> Draft:
    draft.attempts = [{"model": "openai/gpt-5.4", "provider": "openai", "status": 200, "latency_ms": 1.5}]
    draft.usage = Usage(input_tokens=10, cached_read_tokens=4, output_tokens=7, reasoning_tokens=2)
    draft.settlement = Settlement("priced", "pv_1", 1, 2, 3, 4, 10, 10)
    draft.signals = Signals(0, 0, 1, None, None, 42)
    draft.finish_reason, draft.native_finish_reason, draft.service_tier = "stop", "end", "default"
    draft.first_token_us, draft.upstream_us = 900, 1500
    draft.baseline_model, draft.baseline_cost_nanousd = "openai/gpt-5.5", 55
    draft.prices = {"input_nanousd_per_mtok": 1}
    return draft


PLAIN: dict[str, Any] = {}
RICH = {
    "stream": True,
    "user": 'ü "quoted"\n',
    "metadata": {"team": "se\\arch"},
    "kairosroute": {"agent": "a", "feature": "f", "agent_run": "r", "session": "s", "task": "code", "tags": {"x": "1"}},
}


@pytest.mark.parametrize("body", [PLAIN, RICH])
def test_the_intent_line_is_the_intent(body: dict[str, Any]) -> None:
    draft = make_draft(**body)
    assert request_log.decode(draft.intent_line()) == draft.intent()


@pytest.mark.parametrize("body", [PLAIN, RICH])
def test_the_record_line_is_the_record(body: dict[str, Any]) -> None:
    draft = make_draft(**body)
    draft.intent_line()
    finished(draft)
    assert request_log.decode(draft.record_line(latency_us=2000)) == draft.finish(latency_us=2000)


def test_a_failed_call_keeps_its_error_class() -> None:
    draft = make_draft()
    draft.intent_line()
    draft.error = errors.UpstreamCut("gone")
    record = request_log.decode(draft.record_line(latency_us=2000))
    assert (record.error_class, record.http_status, record.state) == ("UpstreamCut", 502, "settled")


def test_a_call_that_failed_before_it_was_decided_has_a_record_too() -> None:
    draft = Draft(body="0" * 26, key=KEY, started_us=1)
    draft.error = errors.InvalidRequest("bad")
    record = request_log.decode(draft.record_line(latency_us=5))
    assert (record.error_class, record.model, record.price_state) == ("InvalidRequest", "", "unused")
