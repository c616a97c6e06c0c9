"""Render the placeholders of our DDL for one server or for a cluster: the only place that knows both shapes.

On one server a table is one table. On a cluster each table `t` is a replicated `t_local` on every shard and a
distributed `t` over them, sharded by organization so that all rows of a tenant, and with them every FINAL and
every roll-up, stay on one shard. Replication needs Keeper; what is rendered for a cluster is checked as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import Template

CLUSTER_ONLY = "-- only: cluster"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class InvalidCluster(Exception):
    """The cluster's name cannot be written into DDL."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Where the tables live: `cluster` is the name in remote_servers, empty for one server or the embedded engine."""

    cluster: str = ""

    def __post_init__(self) -> None:
        if self.cluster and not _NAME.fullmatch(self.cluster):
            raise InvalidCluster("KAIROS_CLICKHOUSE_CLUSTER must be a name of letters, digits and underscores.")

    @property
    def is_cluster(self) -> bool:
        return bool(self.cluster)

    def includes(self, statement: str) -> bool:
        """Return whether the statement is run here; a first line `-- only: cluster` keeps it from a single server."""
        return self.is_cluster or not statement.startswith(CLUSTER_ONLY)

    def render(self, statement: str) -> str:
        """Return the statement with `$on_cluster`, `$local` and the `$engine_…` placeholders filled in.

        Raises:
            KeyError: the statement has a placeholder that is not known here.
        """
        return Template(statement).substitute(self._values())

    def _values(self) -> dict[str, str]:
        if not self.is_cluster:
            return {
                "on_cluster": "",
                "local": "",
                "engine": "",
                "replica": "",
                "deduplication_window": "non_replicated_deduplication_window",
                "distributed": "",
            }
        return {
            "on_cluster": f"ON CLUSTER '{self.cluster}'",
            "local": "_local",
            "engine": "Replicated",
            # {uuid} keeps the path unique when a table is dropped and made again.
            "replica": "'/clickhouse/tables/{uuid}/{shard}', '{replica}', ",
            "deduplication_window": "replicated_deduplication_window",
            "distributed": f"'{self.cluster}', currentDatabase()",
        }
