-- only: cluster
CREATE TABLE IF NOT EXISTS request_logs $on_cluster AS request_logs_local
ENGINE = Distributed($distributed, request_logs_local, cityHash64(organization_id))
