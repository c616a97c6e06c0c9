"""What calls are judged by: each measure as SQL, summed within the unit and then over units.

Shared by the queries of quality and experiments; it selects nothing itself. A measure has its own denominator (only
calls where the question arises), and its sums are those of `statistics.moments.RatioSample`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analytics.statistics.moments import RatioSample

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

# Refused before any model was asked: they say something about the client, nothing about a model.
CLIENT_FAULTS = (
    "InvalidRequest",
    "PayloadTooLarge",
    "ModelNotFound",
    "NotFound",
    "MethodNotAllowed",
    "AuthenticationFailed",
    "PermissionDenied",
    "PaymentRequired",
    "RateLimited",
)

# Calls that a model had a fair chance to answer. Bound: organization_id, workspace_id, start_us, end_us, client_faults.
FAIR_CALLS = """organization_id = {organization_id:String}
        AND workspace_id = {workspace_id:String}
        AND started_at >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
        AND started_at < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
        AND state = 'settled'
        AND is_client_gone = 0
        AND error_class NOT IN {client_faults:Array(String)}"""


@dataclass(frozen=True, slots=True)
class Measure:
    """`value` is summed over the calls for which `counted` holds; both are SQL on columns of request_logs."""

    name: str
    value: str
    counted: str
    is_whole: bool = True  # a whole number a call, so that its sums are exact


_ANSWERED = "error_class = ''"

ERRORS = Measure("errors", "error_class != ''", "1")
# Answered by a later attempt. A call whose every attempt failed is an error of the model that was asked first.
RESCUED = "(is_fallback AND error_class = '')"
FALLBACKS = Measure("fallbacks", RESCUED, "1")
TRUNCATION = Measure("truncation", "ifNull(is_truncated, 0)", "isNotNull(is_truncated)")
REFUSAL = Measure("refusal", "ifNull(is_refusal, 0)", "isNotNull(is_refusal)")
JSON_VALIDITY = Measure("json_validity", "ifNull(is_json_valid, 0)", "isNotNull(is_json_valid)")
SCHEMA_VALIDITY = Measure("schema_validity", "ifNull(is_schema_valid, 0)", "isNotNull(is_schema_valid)")
TOOL_CALL_VALIDITY = Measure("tool_call_validity", "ifNull(is_tool_call_valid, 0)", "isNotNull(is_tool_call_valid)")
# Characters, not tokens: two models count tokens differently.
LENGTH = Measure(
    "length", "log(greatest(output_characters, 1))", f"{_ANSWERED} AND output_characters > 0", is_whole=False
)
SUCCESS = Measure(
    "success",
    f"{_ANSWERED} AND ifNull(is_truncated, 0) = 0 AND ifNull(is_refusal, 0) = 0 AND ifNull(is_json_valid, 1) = 1"
    " AND ifNull(is_schema_valid, 1) = 1 AND ifNull(is_tool_call_valid, 1) = 1",
    "1",
)
COST = Measure("cost", "provider_cost_nanousd", "price_state IN ('priced', 'estimated')")
LATENCY = Measure("latency", "log(greatest(latency_us, 1))", _ANSWERED, is_whole=False)
OUTPUT_TOKENS = Measure("output_tokens", "output_tokens", _ANSWERED)


def narrowed(measures: Iterable[Measure], condition: str) -> list[Measure]:
    """Return the measures, counted only where `condition` holds too."""
    return [replace(measure, counted=f"({measure.counted}) AND {condition}") for measure in measures]


def microseconds(moment: dt.datetime) -> int:
    """Return a moment as the log keeps it: whole microseconds since the Unix epoch."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


def sums_within_unit(measures: Iterable[Measure]) -> str:
    """Return the inner columns: each measure's sum and count over the calls of one unit."""
    return ",\n        ".join(
        f"sumIf({m.value}, {m.counted}) AS {m.name}_sum, countIf({m.counted}) AS {m.name}_count" for m in measures
    )


def sums_over_units(measures: Iterable[Measure]) -> str:
    """Return the outer columns, six a measure, in the order of `RatioSample`. Whole numbers are summed in 128 bits."""
    return ",\n    ".join(six_sums(f"{m.name}_sum", f"{m.name}_count", is_whole=m.is_whole) for m in measures)


def samples(columns: Sequence[Any], measures: Sequence[Measure]) -> dict[str, RatioSample]:
    """Return the summaries in a row of `sums_over_units`, by the measure's name."""
    return {
        measure.name: RatioSample(*columns[6 * position : 6 * position + 6])
        for position, measure in enumerate(measures)
    }


def six_sums(total: str, count: str, *, is_whole: bool) -> str:
    """Return the six outer columns of one pair of inner columns."""
    # Nano-dollars squared outgrow 64 bits; 128 keep them, and with them the variance, exact.
    exact = f"toInt128({total})" if is_whole else total
    return (
        f"countIf({count} > 0), sum({exact}), sum({count}), sum({exact} * {exact}), "
        f"sum({count} * {count}), sum({exact} * {count})"
    )
