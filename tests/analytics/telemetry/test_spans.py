"""Records as spans. What OTLP's JSON form must be is judged by OpenTelemetry's own protobuf classes."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from analytics.telemetry import spans
from tests.analytics.telemetry.oracle import parsed
from tests.factories.records import make_record

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def exported(**fields: Any) -> list[Span]:
    message = parsed(spans.export([make_record(**fields)], organization_id="org_acme"), ExportTraceServiceRequest)
    (resource,) = message.resource_spans
    assert values(resource.resource.attributes) == {
        "service.name": "kairosroute",
        "kairosroute.organization.id": "org_acme",
    }
    return list(resource.scope_spans[0].spans)


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: plain(one) for one in attributes}


def plain(one: KeyValue) -> Any:
    kind = one.value.WhichOneof("value")
    assert kind is not None
    if kind == "array_value":
        return [item.string_value for item in one.value.array_value.values]
    return getattr(one.value, kind)


def receipt(*attempts: dict[str, Any]) -> str:
    return json.dumps({"attempts": attempts})


def test_a_call_is_a_client_span_named_by_operation_and_requested_model() -> None:
    (span,) = exported(requested_model="auto", started_us=1_794_744_000_000_001, latency_us=800_000)
    assert span.name == "chat auto"
    assert span.kind == Span.SPAN_KIND_CLIENT
    assert span.start_time_unix_nano == 1_794_744_000_000_001_000
    assert span.end_time_unix_nano - span.start_time_unix_nano == 800_000_000
    assert span.status.code == Status.STATUS_CODE_UNSET


def test_the_attributes_are_those_of_the_genai_conventions() -> None:
    (span,) = exported(
        requested_model="auto",
        model="google/gemini-2.5-flash",
        provider="google",
        finish_reason="stop",
        first_token_us=250_000,
        is_stream=1,
        cached_read_tokens=7,
        cache_write_tokens=8,
        reasoning_tokens=9,
        session="chat-1",
        agent="support",
    )
    found = values(span.attributes)
    assert {name: value for name, value in found.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.system": "gcp.gemini",
        "gen_ai.request.model": "auto",
        "gen_ai.request.stream": True,
        "gen_ai.response.id": found["gen_ai.response.id"],
        "gen_ai.response.model": "google/gemini-2.5-flash",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 7,
        "gen_ai.usage.cache_creation.input_tokens": 8,
        "gen_ai.usage.reasoning.output_tokens": 9,
        "gen_ai.conversation.id": "chat-1",
        "gen_ai.agent.name": "support",
    }
    assert found["gen_ai.response.id"].startswith("gen_")


def test_money_the_receipt_and_the_decision_have_names_of_our_own() -> None:
    record = make_record(baseline_model="openai/gpt-5.4", baseline_cost_nanousd=3_250_000, route_reason="policy")
    span = spans.of_call(record)[0]
    found = values(parsed(orjson.dumps(span), Span).attributes)
    assert found["kairosroute.cost_usd"] == 0.00125
    assert found["kairosroute.savings_usd"] == 0.002
    assert found["kairosroute.receipt.id"] == record.request_id.replace("req_", "rcpt_")
    assert found["kairosroute.route.reason"] == "policy"


def test_a_call_without_a_known_price_has_no_cost_rather_than_none_at_all() -> None:
    (span,) = exported(price_state="unpriced", provider_cost_nanousd=0, billed_nanousd=0)
    found = values(span.attributes)
    assert "kairosroute.cost_usd" not in found
    assert found["kairosroute.price.state"] == "unpriced"


def test_the_span_joins_the_clients_trace() -> None:
    (span,) = exported(trace_id=TRACE, parent_span_id=PARENT)
    assert span.trace_id.hex() == TRACE
    assert span.parent_span_id.hex() == PARENT


@pytest.mark.parametrize("theirs", ["lf-trace 7", "0" * 32, TRACE[:-1]])
def test_a_trace_id_of_another_kind_gives_one_that_follows_from_it(theirs: str) -> None:
    (one,), (other,) = exported(trace_id=theirs), exported(trace_id=theirs)
    assert one.trace_id == other.trace_id
    assert one.span_id != other.span_id
    assert values(one.attributes)["kairosroute.client_trace.id"] == theirs
    assert not one.parent_span_id


def test_every_attempt_is_a_child_and_they_follow_each_other() -> None:
    call, first, second = exported(
        latency_us=900_000,
        attempts=2,
        receipt=receipt(
            {
                "model": "m",
                "provider": "openai",
                "status": 503,
                "latency_ms": 300.0,
                "error_class": "UpstreamOverloaded",
            },
            {"model": "m", "provider": "azure", "status": 200, "latency_ms": 500.0},
        ),
    )
    assert first.parent_span_id == second.parent_span_id == call.span_id
    assert first.end_time_unix_nano == second.start_time_unix_nano
    assert second.end_time_unix_nano <= call.end_time_unix_nano
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert values(first.attributes)["error.type"] == "UpstreamOverloaded"
    assert values(second.attributes)["gen_ai.provider.name"] == "azure.ai.openai"


def test_the_attempt_that_streamed_lasts_as_long_as_the_call() -> None:
    call, attempt = exported(
        is_stream=1,
        latency_us=900_000,
        receipt=receipt({"model": "m", "provider": "openai", "status": 200, "latency_ms": 100.0}),
    )
    assert attempt.end_time_unix_nano == call.end_time_unix_nano


def test_a_failed_call_says_so() -> None:
    (span,) = exported(error_class="UpstreamTimeout", http_status=504)
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert values(span.attributes)["error.type"] == "UpstreamTimeout"


def test_the_same_record_gives_the_same_bytes_again() -> None:
    record = make_record(receipt=receipt({"model": "m", "provider": "p", "status": 200, "latency_ms": 1.0}))
    first, second = (spans.export([record], organization_id="org_acme") for _ in range(2))
    assert first == second


@given(
    texts=st.dictionaries(
        st.sampled_from(["requested_model", "agent", "session", "end_user", "trace_id", "receipt", "error_class"]),
        st.text(max_size=40),
    ),
    tags=st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=40),
)
def test_whatever_a_client_wrote_is_still_otlp(texts: dict[str, str], tags: dict[str, str]) -> None:
    body = spans.export([make_record(**texts, tags=tags)], organization_id="org_acme")
    message = parsed(body, ExportTraceServiceRequest)
    assert len(message.resource_spans[0].scope_spans[0].spans) == 1
    assert json_format.MessageToDict(message)


def test_sampling_keeps_a_share_of_traces_whole_and_every_failure() -> None:
    records = [make_record() for _ in range(2000)]
    kept = [record for record in records if spans.is_sampled(record, sample_ratio=0.25)]
    assert 400 < len(kept) < 600
    assert [record for record in records if spans.is_sampled(record, sample_ratio=0.25)] == kept
    together = [make_record(trace_id=TRACE) for _ in range(5)]
    assert len({spans.is_sampled(record, sample_ratio=0.5) for record in together}) == 1
    assert all(spans.is_sampled(make_record(error_class="Boom"), sample_ratio=0.01) for _ in range(50))
