-- One row a verdict on a call, session or agent run: the columns are FeedbackEvent's fields in their order.
-- The same idempotency key replaces the earlier verdict. Read with FINAL.
CREATE TABLE IF NOT EXISTS feedback$local $on_cluster
(
    organization_id LowCardinality(String),
    workspace_id LowCardinality(String),
    idempotency_key String CODEC(ZSTD(1)),
    created_us Int64 CODEC(Delta(8), ZSTD(1)),
    request_id String CODEC(ZSTD(1)),
    session String CODEC(ZSTD(1)),
    agent_run String CODEC(ZSTD(1)),
    name LowCardinality(String),
    kind LowCardinality(String),
    value Nullable(Float64),
    category LowCardinality(String),
    comment String CODEC(ZSTD(3)),
    source LowCardinality(String),
    request_started_us Nullable(Int64) CODEC(ZSTD(1)),
    created_at DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(created_us, 'UTC') CODEC(Delta(8), ZSTD(1)),
    ingested_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    -- the verdicts on one call
    INDEX by_request_id request_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_created_at created_at TYPE minmax GRANULARITY 1
)
ENGINE = ${engine}ReplacingMergeTree(${replica}created_us)
ORDER BY (organization_id, workspace_id, idempotency_key)
SETTINGS $deduplication_window = 100000
