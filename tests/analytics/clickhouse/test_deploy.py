"""The server configurations that we ship are well-formed and agree with what the topology renders."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from analytics.clickhouse import migrate, topology

DEPLOY = Path(__file__).parents[3] / "deploy" / "clickhouse"


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.xml")), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_a_configuration_is_well_formed_and_holds_no_password(path: Path) -> None:
    root = ElementTree.parse(path).getroot()
    assert root.tag == "clickhouse"
    for element in root.iter():
        if element.tag in {"password", "secret"}:
            assert element.text is None
            assert element.get("from_env", "").startswith("KAIROS_")


def test_the_macros_of_a_host_are_those_that_the_tables_are_made_with() -> None:
    macros = {element.tag for element in ElementTree.parse(DEPLOY / "cluster/macros.xml").getroot().findall("macros/*")}
    shape = topology.Topology(cluster="kairos")
    rendered = " ".join(shape.render(migration.statement) for migration in migrate.read())
    assert set(re.findall(r"\{(\w+)\}", rendered)) - {"uuid"} == macros


def test_the_cluster_is_named_as_the_manual_says() -> None:
    clusters = ElementTree.parse(DEPLOY / "cluster/config.xml").getroot().findall("remote_servers/*")
    assert [cluster.tag for cluster in clusters] == ["kairos"]
    assert "KAIROS_CLICKHOUSE_CLUSTER=kairos" in (DEPLOY / "README.md").read_text()
