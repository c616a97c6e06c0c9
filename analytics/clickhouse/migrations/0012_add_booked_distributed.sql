-- only: cluster
ALTER TABLE request_logs $on_cluster
    ADD COLUMN IF NOT EXISTS booked_nanousd Int64 AFTER credential_id
