ALTER TABLE request_logs$local $on_cluster
    ADD COLUMN IF NOT EXISTS trace_id String CODEC(ZSTD(1)) AFTER receipt,
    ADD COLUMN IF NOT EXISTS parent_span_id String CODEC(ZSTD(1)) AFTER trace_id,
    ADD COLUMN IF NOT EXISTS client_request_id String CODEC(ZSTD(1)) AFTER parent_span_id,
    ADD COLUMN IF NOT EXISTS client_retry_count UInt16 AFTER client_request_id,
    ADD COLUMN IF NOT EXISTS credential_id LowCardinality(String) AFTER client_retry_count
