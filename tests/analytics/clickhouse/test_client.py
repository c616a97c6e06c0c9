"""The client answers, or says which kind of failure it was and what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings

from analytics.clickhouse import client, errors
from tests.stores import ClickHouseServer

ROOT = Path(__file__).parents[3]


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("chdb:///var/store", client.Address(path="/var/store")),
            (
                "http://reader:p%40ss@ch.internal:9123/logs",
                client.Address(
                    host="ch.internal",
                    port=9123,
                    username="reader",
                    password="p@ss",
                    database="logs",
                    is_compressed=True,
                ),
            ),
            (
                "https://ch.internal?compression=none",
                client.Address(host="ch.internal", port=8443, is_secure=True, username="default"),
            ),
            ("http://127.0.0.1", client.Address(host="127.0.0.1", port=8123, username="default")),
            (
                "clickhouse://localhost/logs?compression=zstd",
                client.Address(host="localhost", port=8123, username="default", database="logs", is_compressed=True),
            ),
        ],
    )
    def test_a_url_says_where_the_store_is(self, url: str, expected: client.Address) -> None:
        assert client.parse_address(url) == expected

    @pytest.mark.parametrize("url", ["", "postgresql://x", "http://", "/var/store", "http://h?compression=rar"])
    def test_another_url_is_refused_with_what_to_write(self, url: str) -> None:
        with pytest.raises(errors.QueryRefused, match="CLICKHOUSE_URL"):
            client.parse_address(url)


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
class TestStatements:
    def test_parameters_are_bound_and_come_back_as_they_went_in(self) -> None:
        hostile = "'; DROP TABLE request_logs; --\\'\n{x:String}"
        assert client.query("SELECT {x:String}", {"x": hostile}) == [(hostile,)]

    def test_a_wrong_statement_is_refused_with_clickhouses_words(self) -> None:
        with pytest.raises(errors.QueryRefused, match="no_such_table") as caught:
            client.query("SELECT 1 FROM no_such_table")
        assert (caught.value.code, caught.value.is_retryable) == (60, False)

    def test_a_statement_that_takes_too_long_is_stopped(self) -> None:
        with pytest.raises(errors.QueryRefused) as caught:
            client.query(
                "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))",
                settings={"max_execution_time": 1},
            )
        assert caught.value.code == 159

    def test_a_statement_that_takes_too_much_memory_is_stopped(self) -> None:
        with pytest.raises(errors.StoreUnavailable) as caught:
            client.query(
                "SELECT number, count() FROM numbers(50000000) GROUP BY number",
                settings={"max_memory_usage": 20_000_000, "max_bytes_before_external_group_by": 0},
            )
        assert caught.value.code == 241

    def test_limits_of_one_statement_do_not_stay_for_the_next(self) -> None:
        client.query("SELECT 1", settings={"max_execution_time": 1})
        assert client.query("SELECT getSetting('max_execution_time')") == [(client.MAX_EXECUTION_SECONDS,)]

    def test_a_refused_row_is_not_quoted(self) -> None:
        with pytest.raises(errors.RowsRefused) as caught:
            client.insert_raw("request_logs", ["http_status"], b'["my secret prompt"]', token="one")
        assert "secret" not in str(caught.value)
        assert not caught.value.is_retryable

    def test_a_missing_column_is_no_fault_of_the_rows(self) -> None:
        with pytest.raises(errors.QueryRefused):
            client.insert_raw("request_logs", ["not_yet"], b"[1]", token="two")

    def test_times_come_back_in_utc_and_say_so(self) -> None:
        noon = datetime(2026, 11, 15, 12, tzinfo=UTC)
        assert client.query("SELECT {t:DateTime64(6, 'UTC')}", {"t": noon}) == [(noon,)]

    def test_threads_share_the_client(self) -> None:
        answers: list[int] = []

        def ask(number: int) -> None:
            answers.append(client.query("SELECT {n:UInt32} + sleepEachRow(0.01)", {"n": number})[0][0])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == list(range(8))


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
class TestEmbedded:
    @pytest.fixture(autouse=True)
    def _embedded_only(self) -> None:
        # What is tested here is chDB's one owner for each path; a server has no such owner.
        if not settings.CLICKHOUSE_IS_EMBEDDED:
            pytest.skip("the profile's log store is a server")

    def test_a_second_process_is_told_who_holds_the_store_and_what_to_do(self) -> None:
        client.query("SELECT 1")
        other = subprocess.run(
            [sys.executable, "manage.py", "migrate_clickhouse"],
            cwd=ROOT,
            env={**os.environ, "CLICKHOUSE_URL": settings.CLICKHOUSE_DSN, "KAIROS_DATA_DIR": str(settings.DATA_DIR)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert other.returncode == 1
        assert "is open in another process" in other.stderr
        assert "Stop that process" in other.stderr
        assert "Traceback" not in other.stderr

    def test_a_forked_child_is_refused_and_does_not_hang(self) -> None:
        client.query("SELECT 1")
        program = (
            "import os, sys, django; django.setup()\n"
            "from analytics.clickhouse import client, errors\n"
            "client.query('SELECT 1')\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    try: client.query('SELECT 1')\n"
            "    except errors.StoreHeld as error: os._exit(7)\n"
            "    os._exit(1)\n"
            "code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
            "client.query('SELECT 2')\n"
            "client.close()\n"
            "sys.exit(code)\n"
        )
        forked = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "CLICKHOUSE_URL": f"chdb://{settings.DATA_DIR}/forked",
                "KAIROS_DATA_DIR": str(settings.DATA_DIR),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert forked.returncode == 7, forked.stderr


@pytest.mark.clickhouse
class TestServer:
    """A server of the test's own, whatever the profile: the connection is what is tried here."""

    @pytest.fixture
    def server(self, clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch) -> ClickHouseServer:
        monkeypatch.setattr(client, "_connection", client._Connection())
        monkeypatch.setattr(settings, "CLICKHOUSE_DSN", f"{clickhouse_server.url}/kairos")
        client.create_database()
        return clickhouse_server

    def test_a_server_that_is_away_is_unavailable_and_comes_back(self, server: ClickHouseServer) -> None:
        assert client.query("SELECT 1") == [(1,)]
        server.stop(signal.SIGKILL)
        with pytest.raises(errors.StoreUnavailable, match="does not answer"):
            client.query("SELECT 1")
        client.close()
        with pytest.raises(errors.StoreUnavailable, match="does not answer"):
            client.query("SELECT 1")
        server.start()
        assert client.query("SELECT 1") == [(1,)]

    def test_a_server_that_hangs_is_unavailable_after_the_time_limit(
        self, server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "RECEIVE_TIMEOUT_SECONDS", 1)
        assert client.query("SELECT 1") == [(1,)]
        server.pause()
        with pytest.raises(errors.StoreUnavailable, match="does not answer"):
            client.query("SELECT 1")
        server.resume()
        assert client.query("SELECT 1") == [(1,)]

    def test_a_compressed_insert_lands(self, server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(settings, "CLICKHOUSE_DSN", f"{server.url}/kairos?compression=zstd")
        client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
        client.insert_raw("t", ["a"], b"[1]\n[2]", token="one")
        assert client.query("SELECT sum(a) FROM t") == [(3,)]

    def test_a_database_that_is_missing_is_named(
        self, server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settings, "CLICKHOUSE_DSN", f"{server.url}/nowhere")
        with pytest.raises(errors.QueryRefused, match="nowhere"):
            client.query("SELECT 1")
