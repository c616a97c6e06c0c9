-- only: cluster
CREATE TABLE IF NOT EXISTS feedback $on_cluster AS feedback_local
ENGINE = Distributed($distributed, feedback_local, cityHash64(organization_id))
