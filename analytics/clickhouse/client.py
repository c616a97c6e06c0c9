"""The one door to ClickHouse: a client per process, opened when first used, with limits on every statement.

The embedded engine (chDB) and a server answer through the same functions. No SQL of the product lives here.

chDB: one handle and one lock per process; a directory can be open in one process only, and an engine that was
open before `fork()` hangs the child, so a forked child is refused with a clear message instead.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import clickhouse_connect
import zstandard
from clickhouse_connect.driver import httputil
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from django.conf import settings as django_settings

from analytics.clickhouse import errors, topology

CONNECT_TIMEOUT_SECONDS = 3
MAX_EXECUTION_SECONDS = 30
# Above the limit of a statement: the server should be the one to stop it.
RECEIVE_TIMEOUT_SECONDS = MAX_EXECUTION_SECONDS + 5
MAX_MEMORY_BYTES = 2 * 1024**3
POOL_SIZE = 16
# Times come back aware: a naive one would be taken for local time.
TZ_MODE = "aware"

Row = tuple[Any, ...]
Settings = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Address:
    """Where the store is. `path` is set for the embedded engine, the rest for a server."""

    path: str = ""
    host: str = ""
    port: int = 0
    is_secure: bool = False
    username: str = ""
    password: str = ""
    database: str = "default"
    is_compressed: bool = False

    @property
    def is_embedded(self) -> bool:
        return bool(self.path)


def parse_address(url: str) -> Address:
    """Return the parts of CLICKHOUSE_URL: `chdb:///path` or `http[s]://user:password@host:port/database?compression=zstd`.

    `compression` (zstd or none) says how data travels; without it it is compressed unless the server is on this
    machine, where compressing costs more than it saves.

    Raises:
        errors.QueryRefused: the URL is not of one of these forms.
    """
    parts = urlsplit(url)
    if parts.scheme == "chdb":
        return Address(path=parts.path)
    if parts.scheme not in {"http", "https", "clickhouse", "clickhouses"} or not parts.hostname:
        raise errors.QueryRefused(
            "CLICKHOUSE_URL must look like chdb:///path or http://user:password@host:8123/database."
        )
    is_secure = parts.scheme in {"https", "clickhouses"}
    is_local = parts.hostname in {"127.0.0.1", "::1", "localhost"}
    compression = parse_qs(parts.query).get("compression", ["none" if is_local else "zstd"])[0]
    if compression not in {"zstd", "none"}:
        raise errors.QueryRefused("compression in CLICKHOUSE_URL must be zstd or none.")
    return Address(
        host=parts.hostname,
        port=parts.port or (8443 if is_secure else 8123),
        is_secure=is_secure,
        username=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.strip("/")) or "default",
        is_compressed=compression == "zstd",
    )


class _Connection:
    """The client of this process. Mutable by need: it opens late and is forgotten in a forked child."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.client: Client | None = None
        self.address = Address()
        self.is_orphaned = False
        self.abandoned: Client | None = None

    def open(self) -> Client:
        if self.client is not None:
            return self.client
        with self.lock:
            if self.is_orphaned:
                raise errors.StoreHeld(
                    "This process was forked from one that has the embedded log store open; "
                    "use threads instead (celery --pool=threads)."
                )
            if self.client is None:
                address = parse_address(django_settings.CLICKHOUSE_DSN)
                self.client = _connect(address)
                self.address = address
            return self.client

    def close(self) -> None:
        with self.lock:
            client, self.client = self.client, None
        if client is not None:
            client.close()

    def forget_after_fork(self) -> None:
        self.is_orphaned = self.is_orphaned or (self.client is not None and self.address.is_embedded)
        # Kept, not dropped: closing the parent's engine in the child would wait for threads that fork did not copy.
        self.abandoned = self.client or self.abandoned
        self.client = None
        self.lock = threading.Lock()


_connection = _Connection()
os.register_at_fork(after_in_child=_connection.forget_after_fork)


def query(sql: str, parameters: Mapping[str, Any] | None = None, *, settings: Settings | None = None) -> list[Row]:
    """Run a SELECT with bound `{name:Type}` parameters and return its rows.

    `settings` overrides the limits of this statement (max_execution_time, max_memory_usage).

    Raises:
        errors.StoreUnavailable: no answer; try again later.
        errors.QueryRefused: the statement is wrong, or ran into its limits.
    """
    client = _connection.open()
    try:
        result = client.query(sql, parameters=dict(parameters or {}), settings=_limits(settings))
        return [tuple(row) for row in result.result_rows]
    except ClickHouseError as error:
        raise _translate(error) from error


def command(sql: str, parameters: Mapping[str, Any] | None = None, *, settings: Settings | None = None) -> None:
    """Run a statement that returns no rows (DDL, INSERT … SELECT); raises what `query` raises."""
    client = _connection.open()
    try:
        client.command(sql, parameters=dict(parameters or {}), settings=_limits(settings))
    except ClickHouseError as error:
        raise _translate(error) from error


def insert_raw(
    table: str, columns: Sequence[str], block: bytes, *, token: str, settings: Settings | None = None
) -> None:
    """Insert lines of JSONCompactEachRow as one block; a `token` that the table has seen lately inserts nothing.

    Raises:
        errors.StoreUnavailable: it is not known whether the rows landed; insert them again with the same token.
        errors.RowsRefused: nothing landed, because at least one row does not fit.
        errors.QueryRefused: the statement as a whole is wrong: no such table, no such column, no permission.
    """
    client = _connection.open()
    limits = _limits(
        {
            "insert_deduplication_token": token,
            "insert_deduplicate": 1,
            # The rows must be on disk when this returns, and a retry must meet its own token.
            "async_insert": 0,
            "distributed_foreground_insert": 1,
            # One insert is one block, so it lands whole or not at all.
            "max_insert_block_size": 16_000_000,
            "min_insert_block_size_rows": 16_000_000,
            "min_insert_block_size_bytes": MAX_MEMORY_BYTES,
            "max_partitions_per_insert_block": 1200,
            # Measured, a quarter of an insert's CPU: a segment is too small to be parsed in parallel, and the ids in a
            # block are unique already, so replacing can wait for the merges.
            "input_format_parallel_parsing": 0,
            "optimize_on_insert": 0,
            **(settings or {}),
        }
    )
    if not _connection.address.is_embedded:
        limits["wait_end_of_query"] = 1
    is_compressed = _connection.address.is_compressed
    try:
        client.raw_insert(
            table,
            list(columns),
            insert_block=zstandard.compress(block, 1) if is_compressed else block,
            fmt="JSONCompactEachRow",
            settings=limits,
            compression="zstd" if is_compressed else None,
        )
    except ClickHouseError as error:
        raise _translate(error, is_insert=True) from error


def is_embedded() -> bool:
    """Return whether the store is the engine inside this process."""
    return parse_address(django_settings.CLICKHOUSE_DSN).is_embedded


def create_database() -> None:
    """Create the server's database if it is missing; the driver cannot even connect to one that does not exist."""
    address = parse_address(django_settings.CLICKHOUSE_DSN)
    if address.is_embedded or address.database == "default":
        return
    cluster = topology.Topology(cluster=django_settings.CLICKHOUSE_CLUSTER)
    try:
        client = _connect_server(address, "default")
        try:
            client.command(cluster.render(f"CREATE DATABASE IF NOT EXISTS `{address.database}` $on_cluster"))
        finally:
            client.close()
    except (ClickHouseError, OSError) as error:
        raise _translate(error) from error


def close() -> None:
    """Close this process's client, if it is open; the next call opens a new one."""
    _connection.close()


def _limits(settings: Settings | None) -> dict[str, str | int | float]:
    return {
        "max_execution_time": MAX_EXECUTION_SECONDS,
        "max_memory_usage": MAX_MEMORY_BYTES,
        # Every version of a row has the same partition, because the partition key is part of the sort key.
        "do_not_merge_across_partitions_select_final": 1,
        **(settings or {}),
    }


def _connect(address: Address) -> Client:
    try:
        if address.is_embedded:
            os.makedirs(address.path, exist_ok=True)
            _check_not_held(address.path)
            return clickhouse_connect.get_client(dsn=f"chdb://{address.path}", tz_mode=TZ_MODE)
        return _connect_server(address, address.database)
    except (ClickHouseError, OSError) as error:
        raise _translate(error) from error


def _check_not_held(path: str) -> None:
    """Say who holds the store, which the engine tells to stderr only, a second late and with a stack trace.

    Raises:
        errors.StoreHeld: another process has the engine's status file locked.
    """
    try:
        fd = os.open(os.path.join(path, "status"), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 200).decode(errors="replace").partition("\n")[0]
        raise errors.StoreHeld(
            f"The embedded log store is open in another process ({holder or 'no PID known'}), usually the server that "
            "`make up` started. Stop that process first, or use its pages and API; "
            "several processes need KAIROS_PROFILE=full."
        ) from None
    finally:
        os.close(fd)


def _connect_server(address: Address, database: str) -> Client:
    return clickhouse_connect.get_client(
        host=address.host,
        port=address.port,
        secure=address.is_secure,
        username=address.username,
        password=address.password,
        database=database,
        compress="zstd" if address.is_compressed else False,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        send_receive_timeout=RECEIVE_TIMEOUT_SECONDS,
        # Threads share the client; a server session would serialize them.
        autogenerate_session_id=False,
        query_retries=0,
        tz_mode=TZ_MODE,
        pool_mgr=httputil.get_pool_manager(maxsize=POOL_SIZE, num_pools=2),
    )


def _translate(error: Exception, *, is_insert: bool = False) -> errors.StoreError:
    """Return our error for the driver's. Messages of inserts are dropped: ClickHouse quotes the rows in them."""
    code = getattr(error, "code", None)
    name = getattr(error, "name", None) or ""
    text = str(error)
    if code is None and (isinstance(error, OperationalError | OSError) or not isinstance(error, ClickHouseError)):
        return errors.StoreUnavailable("ClickHouse does not answer.")
    label = f"ClickHouse error {code} {name}".rstrip()
    if is_insert and code in errors.ROW_FAULTS:
        return errors.RowsRefused(label, code=code, name=name)
    if code in errors.PASSING_FAULTS or (is_insert and code in errors.LIMIT_FAULTS):
        return errors.StoreUnavailable(label, code=code, name=name)
    return errors.QueryRefused(label if is_insert else f"{label}: {text}", code=code, name=name)
