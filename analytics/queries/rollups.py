"""Compute the roll-up of one organization's hour from its calls, whole, and replace what stood there.

Both sides of the UNION meet in the GROUP BY: the calls of the hour as they are now, and the rows that stand in the
roll-up. A row that has no calls any more (an interrupted call was settled, say) comes out with none and is written as
deleted; every other row is written with its sums from the calls alone. The version is one above what stands there,
which is right because `analytics.rollups` lets one computation run at a time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from analytics.clickhouse import client

_DIMENSIONS = (
    "workspace_id, agent, feature, api_key_id, key_source, model, provider, task_type, state, error_class, "
    "price_state, is_test, is_simulated"
)

REFRESH = f"""
INSERT INTO request_rollups
(
    organization_id, hour_at, {_DIMENSIONS},
    calls, errors, fallbacks,
    input_tokens, cached_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    provider_cost_nanousd, billed_nanousd, baselined_calls, baseline_cost_nanousd, baselined_cost_nanousd,
    latency_us_sum, first_token_us_sum, first_token_calls, latency_us_quantiles, first_token_us_quantiles,
    truncated_of, truncated_true, refusal_of, refusal_true, json_valid_of, json_valid_true,
    schema_valid_of, schema_valid_true, tool_call_valid_of, tool_call_valid_true,
    output_characters, version, is_deleted
)
SELECT
    {{organization_id:String}} AS organization_id,
    {{hour_at:DateTime64(0, 'UTC')}} AS hour_at,
    {_DIMENSIONS},
    countIf(is_call) AS calls,
    countIf(is_call AND (error_class != '' OR state != 'settled')) AS errors,
    sumIf(is_fallback, is_call),
    sumIf(input_tokens, is_call),
    sumIf(cached_read_tokens, is_call),
    sumIf(cache_write_tokens, is_call),
    sumIf(output_tokens, is_call),
    sumIf(reasoning_tokens, is_call),
    sumIf(provider_cost_nanousd, is_call),
    sumIf(billed_nanousd, is_call),
    countIf(is_call AND baseline_cost_nanousd IS NOT NULL),
    sumIf(ifNull(baseline_cost_nanousd, 0), is_call),
    sumIf(provider_cost_nanousd, is_call AND baseline_cost_nanousd IS NOT NULL),
    sumIf(latency_us, is_call),
    sumIf(ifNull(first_token_us, 0), is_call),
    countIf(is_call AND first_token_us IS NOT NULL),
    quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(latency_us, is_call),
    quantilesDDStateIf(0.01, 0.5, 0.9, 0.95, 0.99)(ifNull(first_token_us, 0), is_call AND first_token_us IS NOT NULL),
    countIf(is_call AND is_truncated IS NOT NULL),
    countIf(is_call AND is_truncated = 1),
    countIf(is_call AND is_refusal IS NOT NULL),
    countIf(is_call AND is_refusal = 1),
    countIf(is_call AND is_json_valid IS NOT NULL),
    countIf(is_call AND is_json_valid = 1),
    countIf(is_call AND is_schema_valid IS NOT NULL),
    countIf(is_call AND is_schema_valid = 1),
    countIf(is_call AND is_tool_call_valid IS NOT NULL),
    countIf(is_call AND is_tool_call_valid = 1),
    sumIf(output_characters, is_call),
    (
        SELECT max(version) + 1
        FROM request_rollups
        WHERE organization_id = {{organization_id:String}} AND hour_at = {{hour_at:DateTime64(0, 'UTC')}}
    ) AS version,
    calls = 0
FROM
(
    SELECT
        1 AS is_call, {_DIMENSIONS}, is_fallback,
        input_tokens, cached_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
        provider_cost_nanousd, billed_nanousd, baseline_cost_nanousd, latency_us, first_token_us,
        is_truncated, is_refusal, is_json_valid, is_schema_valid, is_tool_call_valid, output_characters
    FROM request_logs FINAL
    WHERE organization_id = {{organization_id:String}}
        AND started_at >= {{hour_at:DateTime64(0, 'UTC')}}
        AND started_at < {{next_hour_at:DateTime64(0, 'UTC')}}
    UNION ALL
    SELECT
        0, {_DIMENSIONS}, 0,
        0, 0, 0, 0, 0,
        0, 0, NULL, 0, NULL,
        NULL, NULL, NULL, NULL, NULL, 0
    FROM request_rollups FINAL
    WHERE organization_id = {{organization_id:String}} AND hour_at = {{hour_at:DateTime64(0, 'UTC')}}
)
GROUP BY {_DIMENSIONS}
"""


def refresh(*, organization_id: str, hour_at: datetime, max_execution_seconds: int) -> None:
    """Compute one bucket. `hour_at` is the UTC start of the hour.

    Raises:
        errors.StoreError: the bucket stands as it was.
    """
    client.command(
        REFRESH,
        {"organization_id": organization_id, "hour_at": hour_at, "next_hour_at": hour_at + timedelta(hours=1)},
        settings={"max_execution_time": max_execution_seconds, "distributed_foreground_insert": 1},
    )


# Of all organizations: an operator's rebuild asks, no page does. Rolled-up hours are asked too, so that one whose calls
# are gone is emptied.
SELECT_HOURS = """
SELECT DISTINCT organization_id, toDateTime64(toStartOfHour(started_at), 0, 'UTC') AS hour_at
FROM request_logs
WHERE started_at >= {start_at:DateTime64(6, 'UTC')} AND started_at < {end_at:DateTime64(6, 'UTC')}
UNION DISTINCT
SELECT DISTINCT organization_id, hour_at
FROM request_rollups
WHERE hour_at >= {start_at:DateTime64(6, 'UTC')} AND hour_at < {end_at:DateTime64(6, 'UTC')}
"""


def hours(*, start_at: datetime, end_at: datetime) -> list[tuple[str, datetime]]:
    """Return every organization and hour of the window that has calls or a roll-up."""
    rows = client.query(SELECT_HOURS, {"start_at": start_at, "end_at": end_at})
    return [(str(organization_id), hour_at) for organization_id, hour_at in rows]
