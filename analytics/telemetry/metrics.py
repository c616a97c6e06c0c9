"""Records as metrics: histograms of tokens, duration and time to first chunk, and sums of calls and cost. Pure.

Every batch is a delta of its own: the exporter holds no state, so there is nothing to lose between two workers. The
interval of a point follows from the batch's records, so a batch that is sent twice has the same points twice.

Bucket bounds: the GenAI metrics of OpenTelemetry's semantic conventions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from analytics.request_log import HAVING_PRICE, RequestLog
from analytics.telemetry import attributes
from analytics.telemetry.attributes import attribute

_DELTA = 1  # opentelemetry.proto.metrics.v1.AggregationTemporality
_TOKENS = tuple(float(4**power) for power in range(14))
_SECONDS = tuple(0.01 * 2**power for power in range(14))
_FIRST_CHUNK_SECONDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_LONGEST_NAME = 120

_Labels = tuple[tuple[str, str], ...]


class _Histogram:
    """What is known of one series of a histogram."""

    __slots__ = ("_bounds", "_counts", "_maximum", "_minimum", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._minimum = float("inf")
        self._maximum = float("-inf")

    def add(self, value: float) -> None:
        """Count a value; a bound belongs to the bucket below it, as OTLP has it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value
        self._minimum = min(self._minimum, value)
        self._maximum = max(self._maximum, value)

    def point(self) -> dict[str, Any]:
        return {
            "count": str(sum(self._counts)),
            "sum": self._sum,
            "min": self._minimum,
            "max": self._maximum,
            "bucketCounts": [str(count) for count in self._counts],
            "explicitBounds": list(self._bounds),
        }


class _Sum:
    """A sum of integers, and what divides it for the wire."""

    __slots__ = ("_divisor", "_total")

    def __init__(self, divisor: int) -> None:
        self._divisor = divisor
        self._total = 0

    def add(self, value: float) -> None:
        self._total += int(value)

    def point(self) -> dict[str, Any]:
        return {"asInt": str(self._total)} if self._divisor == 1 else {"asDouble": self._total / self._divisor}


_Series = _Histogram | _Sum

# name → (unit, description, bounds of a histogram or divisor of a sum)
_METRICS: dict[str, tuple[str, str, Sequence[float] | int]] = {
    "gen_ai.client.token.usage": ("{token}", "Tokens of a call, input and output apart.", _TOKENS),
    "gen_ai.client.operation.duration": ("s", "How long a call took.", _SECONDS),
    "gen_ai.client.operation.time_to_first_chunk": (
        "s",
        "How long a streamed call took to its first output.",
        _FIRST_CHUNK_SECONDS,
    ),
    "kairosroute.calls": ("{call}", "Calls.", 1),
    "kairosroute.cost": ("USD", "What the provider charges for the calls.", 10**9),
    "kairosroute.savings": ("USD", "What the calls would have cost more on the baseline model.", 10**9),
}


def export(records: Iterable[RequestLog], *, organization_id: str) -> bytes:
    """Return an ExportMetricsServiceRequest in OTLP's JSON form."""
    records = list(records)
    series: dict[str, dict[_Labels, _Series]] = {name: {} for name in _METRICS}
    for record in records:
        _add(series, record)
    started_ns = min((record.started_us for record in records), default=0) * 1000
    ended_ns = max((record.started_us + record.latency_us for record in records), default=0) * 1000
    # A point whose interval is empty is refused by some collectors.
    interval = {"startTimeUnixNano": str(started_ns), "timeUnixNano": str(max(ended_ns, started_ns + 1))}
    metrics = [_metric(name, found, interval) for name, found in series.items() if found]
    return orjson.dumps(
        {
            "resourceMetrics": [
                {
                    "resource": attributes.resource(organization_id),
                    "scopeMetrics": [{"scope": {"name": attributes.SERVICE}, "metrics": metrics}],
                }
            ]
        }
    )


def _add(series: dict[str, dict[_Labels, _Series]], record: RequestLog) -> None:
    labels = _labels(record)
    failed = (*labels, ("error.type", record.error_class)) if record.error_class else labels

    def add(name: str, value: float, series_labels: _Labels) -> None:
        made = series[name].get(series_labels)
        if made is None:
            form = _METRICS[name][2]
            made = series[name][series_labels] = _Sum(form) if isinstance(form, int) else _Histogram(form)
        made.add(value)

    add("kairosroute.calls", 1, failed)
    add("gen_ai.client.operation.duration", record.latency_us / 1e6, failed)
    if record.first_token_us is not None:
        add("gen_ai.client.operation.time_to_first_chunk", record.first_token_us / 1e6, labels)
    if record.input_tokens:
        add("gen_ai.client.token.usage", record.input_tokens, (*labels, ("gen_ai.token.type", "input")))
    if record.output_tokens:
        add("gen_ai.client.token.usage", record.output_tokens, (*labels, ("gen_ai.token.type", "output")))
    if record.price_state in HAVING_PRICE:
        add("kairosroute.cost", record.provider_cost_nanousd, labels)
        if record.baseline_cost_nanousd is not None:
            add("kairosroute.savings", record.baseline_cost_nanousd - record.provider_cost_nanousd, labels)


def _labels(record: RequestLog) -> _Labels:
    found = [
        ("gen_ai.operation.name", attributes.operation(record)),
        ("gen_ai.provider.name", attributes.provider(record.provider)),
        # A name that leads to no model is the client's free text: it would make a series of its own.
        ("gen_ai.request.model", record.requested_model[:_LONGEST_NAME] if record.model else ""),
        ("gen_ai.response.model", record.model),
        ("kairosroute.workspace.id", record.workspace_id),
        ("kairosroute.key_source", record.key_source),
    ]
    return tuple((key, value) for key, value in found if value)


def _metric(name: str, found: dict[_Labels, _Series], interval: dict[str, str]) -> dict[str, Any]:
    unit, description, form = _METRICS[name]
    points = [
        {"attributes": [attribute(key, value) for key, value in labels], **interval, **one.point()}
        for labels, one in found.items()
    ]
    shape: dict[str, Any] = {"dataPoints": points, "aggregationTemporality": _DELTA}
    metric: dict[str, Any] = {"name": name, "unit": unit, "description": description}
    if isinstance(form, int):
        # Savings may be negative: what is cheaper than the baseline today may be dearer tomorrow.
        metric["sum"] = shape | {"isMonotonic": name != "kairosroute.savings"}
    else:
        metric["histogram"] = shape
    return metric
