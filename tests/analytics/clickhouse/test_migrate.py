"""The tables are built from nothing to what schema.sql says, on one server or as text for a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from analytics import events, loader, request_log, stored_records
from analytics.clickhouse import client, migrate, topology
from tests.factories.records import make_record, make_segment

DERIVED = ["started_at", "ingested_at", "version"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the migrations, to be spoiled."""
    for path in migrate.MIGRATIONS.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text())
    return tmp_path


def columns(table: str) -> dict[str, str]:
    rows = client.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String} "
        "ORDER BY position",
        {"table": table},
    )
    return {str(name): str(kind) for name, kind in rows}


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
class TestTheStore:
    def test_building_from_nothing_gives_the_schema_file(self) -> None:
        assert migrate.describe() == migrate.SCHEMA.read_text(), (
            "The migrations and schema.sql differ: run manage.py migrate_clickhouse --write-schema on an empty store."
        )

    def test_the_columns_of_request_logs_are_the_fields_of_the_record(self) -> None:
        assert list(columns("request_logs")) == [*request_log.COLUMNS, *DERIVED]

    def test_the_columns_of_feedback_and_contents_are_the_fields_of_their_events(self) -> None:
        assert list(columns("feedback"))[: len(events.FEEDBACK_COLUMNS)] == list(events.FEEDBACK_COLUMNS)
        assert list(columns("request_contents"))[: len(events.CONTENT_COLUMNS)] == list(events.CONTENT_COLUMNS)

    @pytest.mark.parametrize(
        ("table", "names"), [("request_logs", request_log.COLUMNS), ("feedback", events.FEEDBACK_COLUMNS)]
    )
    def test_every_integer_column_holds_the_bounds_that_the_loader_checks(
        self, table: str, names: tuple[str, ...]
    ) -> None:
        limits = {
            "UInt8": (0, 2**8 - 1),
            "UInt16": (0, 2**16 - 1),
            "UInt32": (0, 2**32 - 1),
            "UInt64": (0, 2**64 - 1),
            "Int64": (-(2**63), 2**63 - 1),
        }
        for name, kind in columns(table).items():
            if name not in names:
                continue
            bounds = stored_records.integer_bounds(name)
            least, greatest = limits.get(kind.removeprefix("Nullable(").removesuffix(")"), (None, None))
            assert (bounds is None) == (least is None), f"{name} {kind}"
            if bounds is not None and least is not None and greatest is not None:
                assert least <= bounds[0] <= bounds[1] <= greatest, f"{name} {kind}"

    def test_a_second_run_applies_nothing(self) -> None:
        assert migrate.migrate() == []
        assert migrate.pending() == []

    def test_every_statement_may_be_run_again(self) -> None:
        for migration in migrate.read():
            if topology.Topology().includes(migration.statement):
                client.command(topology.Topology().render(migration.statement))
        assert migrate.describe() == migrate.SCHEMA.read_text()

    def test_an_applied_file_that_was_edited_is_refused(self, directory: Path) -> None:
        path = next(directory.glob("0001_*.sql"))
        path.write_text(path.read_text() + "-- more\n")
        with pytest.raises(migrate.InvalidMigration, match="was applied with another text"):
            migrate.migrate(directory=directory)

    def test_a_new_file_is_pending_until_it_is_applied(self, directory: Path) -> None:
        number = len(list(directory.glob("*.sql"))) + 1
        (directory / f"{number:04d}_create_scratch.sql").write_text(
            "CREATE TABLE IF NOT EXISTS scratch$local $on_cluster (a UInt8) ENGINE = ${engine}MergeTree ORDER BY a\n"
        )
        name = f"{number:04d}_create_scratch"
        try:
            assert migrate.pending(directory=directory) == [name]
            assert migrate.migrate(directory=directory) == [name]
            assert migrate.pending(directory=directory) == []
        finally:
            client.command("DROP TABLE IF EXISTS scratch")
            client.command(f"ALTER TABLE schema_migrations DELETE WHERE name = '{name}' SETTINGS mutations_sync = 1")

    def test_the_command_says_what_it_did(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("migrate_clickhouse")
        call_command("migrate_clickhouse", "--check")
        assert capsys.readouterr().out.count("up to date") == 2

    def test_the_check_fails_where_something_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(migrate, "pending", lambda: ["0009_create_more"])
        with pytest.raises(CommandError, match="0009_create_more"):
            call_command("migrate_clickhouse", "--check")

    def test_one_request_is_found_by_its_id_through_the_index(self) -> None:
        loader.load(make_segment([make_record()]), open_content=lambda envelope: envelope)
        plan = client.query(
            "EXPLAIN indexes = 1 SELECT state FROM request_logs FINAL "
            "WHERE organization_id = 'org_acme' AND request_id = 'r'"
        )
        assert any("by_request_id" in str(line) for (line,) in plan)

    def test_an_hour_of_an_organization_is_read_through_the_primary_key(self) -> None:
        loader.load(make_segment([make_record()]), open_content=lambda envelope: envelope)
        (plan,) = client.query(
            "SELECT arrayStringConcat(groupArray(explain)) FROM (EXPLAIN indexes = 1 "
            "SELECT count() FROM request_logs FINAL WHERE organization_id = 'org_acme' "
            "AND started_at >= toDateTime64('2026-11-15 12:00:00', 6, 'UTC'))"
        )
        assert "PrimaryKey" in plan[0]
        assert "started_at" in plan[0]


class TestTheFiles:
    def test_a_file_holds_one_statement(self) -> None:
        for migration in migrate.read():
            code = "\n".join(line for line in migration.statement.splitlines() if not line.lstrip().startswith("--"))
            assert code.rstrip().rstrip(";").count(";") == 0, migration.name

    def test_numbers_have_no_gaps(self, directory: Path) -> None:
        next(directory.glob("0003_*.sql")).unlink()
        with pytest.raises(migrate.InvalidMigration, match="its number should be 0003"):
            migrate.read(directory)

    def test_a_misnamed_file_is_refused(self, directory: Path) -> None:
        (directory / "9-Things.sql").write_text("SELECT 1")
        with pytest.raises(migrate.InvalidMigration, match="NNNN_verb_noun"):
            migrate.read(directory)


class TestTheCluster:
    shape = topology.Topology(cluster="main")

    def test_every_table_is_replicated_on_its_shard_and_distributed_over_them(self) -> None:
        rendered = [self.shape.render(migration.statement) for migration in migrate.read()]
        assert all("ON CLUSTER 'main'" in statement for statement in rendered)
        for table in ("request_logs", "feedback", "request_contents", "request_rollups"):
            (local,) = [text for text in rendered if f"CREATE TABLE IF NOT EXISTS {table}_local ON CLUSTER" in text]
            (over,) = [text for text in rendered if f"CREATE TABLE IF NOT EXISTS {table} ON CLUSTER" in text]
            assert "ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', " in local
            assert (
                f"ENGINE = Distributed('main', currentDatabase(), {table}_local, cityHash64(organization_id))" in over
            )

    def test_replicated_tables_keep_their_own_window_of_tokens(self) -> None:
        text = self.shape.render(migrate.read()[0].statement)
        assert "SETTINGS replicated_deduplication_window = 100000" in text
        assert "non_replicated" not in text

    def test_one_server_gets_no_cluster_statements(self) -> None:
        shape = topology.Topology()
        rendered = [shape.render(m.statement) for m in migrate.read() if shape.includes(m.statement)]
        assert len(rendered) * 2 == len(migrate.read())
        assert not any(word in text for text in rendered for word in ("CLUSTER", "Replicated", "Distributed", "$"))

    @pytest.mark.parametrize("name", ["a b", "x'; DROP TABLE y", "1st", "ü", "a" * 65])
    def test_a_name_that_is_none_is_refused(self, name: str) -> None:
        with pytest.raises(topology.InvalidCluster):
            topology.Topology(cluster=name)

    def test_an_unknown_placeholder_is_an_error(self) -> None:
        with pytest.raises(KeyError):
            self.shape.render("CREATE TABLE x $nonsense")
