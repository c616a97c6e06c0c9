-- What was asked and answered, for workspaces that opted in only; the gateway caps the size, the TTL ends its stay.
CREATE TABLE IF NOT EXISTS request_contents$local $on_cluster
(
    organization_id LowCardinality(String),
    workspace_id LowCardinality(String),
    request_id String CODEC(ZSTD(1)),
    started_us Int64 CODEC(Delta(8), ZSTD(1)),
    expires_us Int64 CODEC(Delta(8), ZSTD(1)),
    request String CODEC(ZSTD(3)),
    response String CODEC(ZSTD(3)),
    is_capped UInt8,
    started_at DateTime64(6, 'UTC') MATERIALIZED fromUnixTimestamp64Micro(started_us, 'UTC') CODEC(Delta(8), ZSTD(1)),
    expires_at DateTime('UTC') MATERIALIZED toDateTime(fromUnixTimestamp64Micro(expires_us, 'UTC'), 'UTC') CODEC(Delta(4), ZSTD(1)),
    ingested_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = ${engine}ReplacingMergeTree(${replica}ingested_at)
PARTITION BY toYYYYMM(started_at)
ORDER BY (organization_id, started_at, request_id)
TTL expires_at
SETTINGS $deduplication_window = 100000, merge_with_ttl_timeout = 3600
