-- only: cluster
CREATE TABLE IF NOT EXISTS request_rollups $on_cluster AS request_rollups_local
ENGINE = Distributed($distributed, request_rollups_local, cityHash64(organization_id))
