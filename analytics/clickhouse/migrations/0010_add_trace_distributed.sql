-- only: cluster
ALTER TABLE request_logs $on_cluster
    ADD COLUMN IF NOT EXISTS trace_id String AFTER receipt,
    ADD COLUMN IF NOT EXISTS parent_span_id String AFTER trace_id,
    ADD COLUMN IF NOT EXISTS client_request_id String AFTER parent_span_id,
    ADD COLUMN IF NOT EXISTS client_retry_count UInt16 AFTER client_request_id,
    ADD COLUMN IF NOT EXISTS credential_id LowCardinality(String) AFTER client_retry_count
