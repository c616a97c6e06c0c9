-- Sums of request_logs by hour. A bucket (organization, hour) is always computed whole from request_logs FINAL and
-- replaces its former rows; a row whose calls have left the bucket is written as deleted. Read with FINAL.
CREATE TABLE IF NOT EXISTS request_rollups$local $on_cluster
(
    organization_id LowCardinality(String),
    hour_at DateTime64(0, 'UTC') CODEC(Delta(8), ZSTD(1)),
    workspace_id LowCardinality(String),
    agent LowCardinality(String),
    feature LowCardinality(String),
    api_key_id LowCardinality(String),
    key_source LowCardinality(String),
    model LowCardinality(String),
    provider LowCardinality(String),
    task_type LowCardinality(String),
    state LowCardinality(String),
    error_class LowCardinality(String),
    price_state LowCardinality(String),
    is_test UInt8,
    is_simulated UInt8,
    calls UInt64 CODEC(T64, ZSTD(1)),
    errors UInt64 CODEC(T64, ZSTD(1)),
    fallbacks UInt64 CODEC(T64, ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    cached_read_tokens UInt64 CODEC(T64, ZSTD(1)),
    cache_write_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    reasoning_tokens UInt64 CODEC(T64, ZSTD(1)),
    provider_cost_nanousd Int64 CODEC(T64, ZSTD(1)),
    billed_nanousd Int64 CODEC(T64, ZSTD(1)),
    -- savings compare only the calls that have a baseline: both sides of it
    baselined_calls UInt64 CODEC(T64, ZSTD(1)),
    baseline_cost_nanousd Int64 CODEC(T64, ZSTD(1)),
    baselined_cost_nanousd Int64 CODEC(T64, ZSTD(1)),
    latency_us_sum UInt64 CODEC(T64, ZSTD(1)),
    first_token_us_sum UInt64 CODEC(T64, ZSTD(1)),
    first_token_calls UInt64 CODEC(T64, ZSTD(1)),
    latency_us_quantiles AggregateFunction(quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99), UInt64) CODEC(ZSTD(1)),
    first_token_us_quantiles AggregateFunction(quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99), UInt64) CODEC(ZSTD(1)),
    -- a signal is `of` calls where the question arises, `true` where the answer is yes
    truncated_of UInt64 CODEC(T64, ZSTD(1)),
    truncated_true UInt64 CODEC(T64, ZSTD(1)),
    refusal_of UInt64 CODEC(T64, ZSTD(1)),
    refusal_true UInt64 CODEC(T64, ZSTD(1)),
    json_valid_of UInt64 CODEC(T64, ZSTD(1)),
    json_valid_true UInt64 CODEC(T64, ZSTD(1)),
    schema_valid_of UInt64 CODEC(T64, ZSTD(1)),
    schema_valid_true UInt64 CODEC(T64, ZSTD(1)),
    tool_call_valid_of UInt64 CODEC(T64, ZSTD(1)),
    tool_call_valid_true UInt64 CODEC(T64, ZSTD(1)),
    output_characters UInt64 CODEC(T64, ZSTD(1)),
    version UInt64,
    is_deleted UInt8
)
ENGINE = ${engine}ReplacingMergeTree(${replica}version, is_deleted)
PARTITION BY toYYYYMM(hour_at)
ORDER BY (organization_id, hour_at, workspace_id, agent, feature, api_key_id, key_source, model, provider, task_type, state, error_class, price_state, is_test, is_simulated)
