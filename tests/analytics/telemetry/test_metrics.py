"""Records as metrics, judged by OpenTelemetry's own protobuf classes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from analytics.request_log import RequestLog
from analytics.telemetry import metrics
from tests.analytics.telemetry.oracle import parsed
from tests.factories.records import make_record


def exported(records: list[RequestLog]) -> dict[str, Metric]:
    message = parsed(metrics.export(records, organization_id="org_acme"), ExportMetricsServiceRequest)
    return {metric.name: metric for metric in message.resource_metrics[0].scope_metrics[0].metrics}


def labels(point: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in point.attributes}


def test_tokens_are_a_histogram_with_input_and_output_apart() -> None:
    usage = exported([make_record(input_tokens=1000, output_tokens=100) for _ in range(3)])["gen_ai.client.token.usage"]
    assert usage.unit == "{token}"
    assert usage.histogram.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    found = {labels(point)["gen_ai.token.type"]: point for point in usage.histogram.data_points}
    assert found["input"].count == 3
    assert found["input"].sum == 3000
    assert found["output"].max == 100
    # 256 < 1000 ≤ 1024: the sixth bucket
    assert list(found["input"].bucket_counts).index(3) == 5


def test_durations_are_in_seconds_and_failures_have_their_type() -> None:
    found = exported([make_record(latency_us=1_500_000), make_record(latency_us=10, error_class="UpstreamTimeout")])
    duration = found["gen_ai.client.operation.duration"]
    assert duration.unit == "s"
    by_error = {labels(point).get("error.type", ""): point for point in duration.histogram.data_points}
    assert by_error[""].sum == 1.5
    assert by_error["UpstreamTimeout"].count == 1


def test_the_first_chunk_is_measured_where_there_was_one() -> None:
    found = exported([make_record(first_token_us=250_000), make_record()])
    (point,) = found["gen_ai.client.operation.time_to_first_chunk"].histogram.data_points
    assert (point.count, point.sum) == (1, 0.25)


def test_cost_is_the_exact_sum_and_calls_without_a_price_have_none() -> None:
    records = [make_record(provider_cost_nanousd=1) for _ in range(10)] + [make_record(price_state="unpriced")]
    found = exported(records)
    assert [point.as_double for point in found["kairosroute.cost"].sum.data_points] == [1e-8]
    assert found["kairosroute.cost"].sum.is_monotonic
    assert [point.as_int for point in found["kairosroute.calls"].sum.data_points] == [11]


def test_savings_may_be_negative() -> None:
    found = exported([make_record(baseline_cost_nanousd=250_000)])["kairosroute.savings"]
    assert not found.sum.is_monotonic
    assert [point.as_double for point in found.sum.data_points] == [-0.001]


def test_names_that_lead_to_no_model_make_no_series_of_their_own() -> None:
    records = [make_record(requested_model=f"nonsense-{n}", model="", provider="") for n in range(20)]
    assert len(exported(records)["kairosroute.calls"].sum.data_points) == 1


def test_the_interval_follows_from_the_records() -> None:
    records = [make_record(started_us=1_794_744_000_000_000 + n, latency_us=5) for n in range(3)]
    (point,) = exported(records)["kairosroute.calls"].sum.data_points
    assert point.start_time_unix_nano == 1_794_744_000_000_000_000
    assert point.time_unix_nano == 1_794_744_000_000_007_000
    assert metrics.export(records, organization_id="o") == metrics.export(records, organization_id="o")


@given(st.lists(st.integers(min_value=1, max_value=2**32 - 1), min_size=1, max_size=30))
def test_every_value_lies_in_the_bucket_that_its_bounds_name(tokens: list[int]) -> None:
    found = exported([make_record(input_tokens=value, output_tokens=0) for value in tokens])
    (point,) = found["gen_ai.client.token.usage"].histogram.data_points
    bounds = [float("-inf"), *point.explicit_bounds, float("inf")]
    expected = [sum(low < value <= high for value in tokens) for low, high in itertools.pairwise(bounds)]
    assert list(point.bucket_counts) == expected
    assert point.sum == pytest.approx(sum(tokens))
