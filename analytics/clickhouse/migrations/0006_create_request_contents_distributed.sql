-- only: cluster
CREATE TABLE IF NOT EXISTS request_contents $on_cluster AS request_contents_local
ENGINE = Distributed($distributed, request_contents_local, cityHash64(organization_id))
