ALTER TABLE request_logs$local $on_cluster
    ADD COLUMN IF NOT EXISTS booked_nanousd Int64 CODEC(T64, ZSTD(1)) AFTER credential_id
