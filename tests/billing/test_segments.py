"""A segment lands once in both stores also when it is loaded twice at a time, or ClickHouse dies and comes back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection

from analytics.clickhouse import client, errors, migrate
from billing import models, segments
from tests.factories.records import make_message, make_record, make_segment
from tests.stores import ClickHouseServer

pytestmark = [pytest.mark.clickhouse, pytest.mark.django_db(transaction=True)]


def posted() -> int:
    return sum(models.UsageEntry.objects.values_list("calls", flat=True))


@pytest.mark.usefixtures("log_store")
def test_two_workers_with_the_same_message_load_it_once() -> None:
    messages = [make_message(make_segment([make_record() for _ in range(20)])) for _ in range(4)]
    outcomes: list[bool] = []
    failures: list[Exception] = []

    def work(barrier: threading.Barrier) -> None:
        try:
            for message in messages:
                barrier.wait(timeout=30)
                outcomes.append(segments.load(**message))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=work, args=(barrier,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(outcomes) == [False] * 4 + [True] * 4
    assert client.query("SELECT count() FROM request_logs") == [(80,)]
    assert posted() == 80


class TestServer:
    @pytest.fixture
    def server(
        self, clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[ClickHouseServer]:
        monkeypatch.setattr(client, "_connection", client._Connection())
        monkeypatch.setattr(client, "RECEIVE_TIMEOUT_SECONDS", 2)
        monkeypatch.setattr(settings, "CLICKHOUSE_DSN", f"{clickhouse_server.url}/kairos")
        migrate.migrate()
        yield clickhouse_server
        client.close()

    @pytest.mark.parametrize("fault", ["killed", "hung"])
    def test_clickhouse_goes_and_comes_back_and_every_call_stands_once(
        self, server: ClickHouseServer, fault: str
    ) -> None:
        messages = [make_message(make_segment([make_record() for _ in range(50)])) for _ in range(6)]
        waiting = list(messages)
        for round_number in range(3):
            segments.load(**waiting.pop())
            if fault == "killed":
                server.stop(signal.SIGKILL)
            else:
                server.pause()
            with pytest.raises(errors.StoreUnavailable):
                segments.load(**waiting[-1])
            assert posted() == 50 * (2 * round_number + 1)
            if fault == "killed":
                server.start()
            else:
                server.resume()
            segments.load(**waiting.pop())
        for message in messages:
            segments.load(**message)
        assert client.query("SELECT count() FROM request_logs FINAL") == [(300,)]
        assert posted() == 300
