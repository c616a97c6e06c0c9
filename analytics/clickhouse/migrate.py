"""Bring ClickHouse's tables to the state that `migrations/` describes, and say what state they are in.

One statement a file, `NNNN_verb_noun.sql`, in the order of the numbers. Each is safe to run again (IF NOT EXISTS,
IF EXISTS), because ClickHouse has no transaction over DDL and a run may stop between a statement and its mark.
A file that was applied is never edited: its checksum is kept, and a change is refused.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from analytics.clickhouse import client, errors, topology

MIGRATIONS = Path(__file__).parent / "migrations"
SCHEMA = Path(__file__).parent / "schema.sql"

_FILE_NAME = re.compile(r"\d{4}_[a-z]+(_[a-z0-9]+)+\.sql")

_CREATE_MARKS = """
CREATE TABLE IF NOT EXISTS schema_migrations$local $on_cluster
(
    name String,
    checksum String,
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ${engine}ReplacingMergeTree(${replica}applied_at)
ORDER BY name
"""
_CREATE_DISTRIBUTED_MARKS = """-- only: cluster
CREATE TABLE IF NOT EXISTS schema_migrations $on_cluster AS schema_migrations_local
ENGINE = Distributed($distributed, schema_migrations_local, cityHash64(name))
"""
_SELECT_MARKS = "SELECT name, checksum FROM schema_migrations FINAL ORDER BY name"
_INSERT_MARK = "INSERT INTO schema_migrations (name, checksum) VALUES ({name:String}, {checksum:String})"

_SELECT_TABLES = """
SELECT name, engine, engine_full, sorting_key, partition_key
FROM system.tables
WHERE database = currentDatabase() AND name != 'schema_migrations'
ORDER BY name
"""
_SELECT_COLUMNS = """
SELECT table, name, type, default_kind, default_expression, compression_codec
FROM system.columns
WHERE database = currentDatabase() AND table != 'schema_migrations'
ORDER BY table, position
"""
_SELECT_INDEXES = """
SELECT table, name, type_full, expr, granularity
FROM system.data_skipping_indices
WHERE database = currentDatabase()
ORDER BY table, name
"""


class InvalidMigration(Exception):
    """A migration file is misnamed, out of order, or was changed after it had been applied."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `migrations/`; the checksum is over its text before rendering."""

    name: str
    statement: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.statement.encode()).hexdigest()


def read(directory: Path = MIGRATIONS) -> list[Migration]:
    """Return the migrations in their order.

    Raises:
        InvalidMigration: a file's name is not `NNNN_verb_noun.sql`, or the numbers are not 1, 2, 3 ….
    """
    migrations = []
    for number, path in enumerate(sorted(directory.glob("*.sql")), start=1):
        if not _FILE_NAME.fullmatch(path.name):
            raise InvalidMigration(f"{path.name}: name it NNNN_verb_noun.sql.")
        if int(path.name[:4]) != number:
            raise InvalidMigration(
                f"{path.name}: its number should be {number:04d}; numbers have no gaps and no twins."
            )
        migrations.append(Migration(name=path.stem, statement=path.read_text(encoding="utf-8")))
    return migrations


def migrate(*, cluster: str = "", directory: Path = MIGRATIONS) -> list[str]:
    """Apply what is missing and return the names of what was applied. Safe to run from several processes at once.

    Raises:
        InvalidMigration: see `read`; or a file that was applied has changed since.
        errors.StoreError: ClickHouse cannot be reached or refuses a statement.
    """
    shape = topology.Topology(cluster=cluster)
    migrations = read(directory)
    client.create_database()
    for statement in (_CREATE_MARKS, _CREATE_DISTRIBUTED_MARKS):
        if shape.includes(statement):
            client.command(shape.render(statement))
    applied = {str(name): str(checksum) for name, checksum in client.query(_SELECT_MARKS)}
    done = []
    for migration in migrations:
        if migration.name in applied:
            if applied[migration.name] != migration.checksum:
                raise InvalidMigration(
                    f"{migration.name} was applied with another text; restore the file and put the change in a new one."
                )
            continue
        if shape.includes(migration.statement):
            client.command(shape.render(migration.statement))
        client.command(_INSERT_MARK, {"name": migration.name, "checksum": migration.checksum})
        done.append(migration.name)
    return done


def pending(*, directory: Path = MIGRATIONS) -> list[str]:
    """Return the names of the migrations that this store does not have yet; all of them where there are no tables."""
    try:
        applied = {str(name) for name, _ in client.query(_SELECT_MARKS)}
    except errors.QueryRefused as error:
        if error.code not in {60, 81}:  # UNKNOWN_TABLE, UNKNOWN_DATABASE: a store that was never migrated
            raise
        applied = set()
    return [migration.name for migration in read(directory) if migration.name not in applied]


def describe() -> str:
    """Return the tables as they stand, as text that is equal exactly when they are: what `schema.sql` holds."""
    lines: list[str] = []
    columns = client.query(_SELECT_COLUMNS)
    indexes = client.query(_SELECT_INDEXES)
    for name, _engine, engine_full, sorting_key, _partition_key in client.query(_SELECT_TABLES):
        if sorting_key == "" and engine_full == "":
            continue
        lines.append(f"CREATE TABLE {name}")
        lines.append("(")
        parts = [
            " ".join(part for part in (f"    {column}", kind_of, f"{default} {expression}".strip(), codec) if part)
            for table, column, kind_of, default, expression, codec in columns
            if table == name
        ]
        parts += [
            f"    INDEX {index} {expression} TYPE {kind} GRANULARITY {granularity}"
            for table, index, kind, expression, granularity in indexes
            if table == name
        ]
        lines.append(",\n".join(parts))
        lines.append(")")
        lines.append(f"ENGINE = {engine_full};")
        lines.append("")
    return "\n".join(lines)
