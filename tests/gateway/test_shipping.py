from __future__ import annotations

import hashlib
import logging
import os
import socket
import threading
import time
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from celery import Celery
from django.db import OperationalError

from analytics import spool
from billing.models import LoadedSegment
from gateway import shipping
from tests.analytics.spooling import Clock, crash, intent_line, make_line, open_writer


class Stores:
    """A broker and a ledger in memory; each can be down."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, str]] = []
        self.loaded: set[str] = set()
        self.asked: list[list[str]] = []
        self.is_broker_down = self.is_ledger_down = False

    def publish(self, *, segment_id: str, body: str, sha256: str) -> None:
        if self.is_broker_down:
            raise shipping.BrokerUnavailable
        self.messages.append((segment_id, body, sha256))

    def is_loaded(self, segment_ids: list[str]) -> set[str]:
        if self.is_ledger_down:
            raise OperationalError
        self.asked.append(segment_ids)
        return self.loaded.intersection(segment_ids)

    def load_all(self) -> None:
        for segment_id, body, sha256 in self.messages:
            segment = spool.read_segment(spool.unpack(body, sha256))
            assert segment.segment_id == segment_id
            self.loaded.add(segment_id)


@pytest.fixture
def stores() -> Stores:
    return Stores()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shipper(tmp_path: Path, stores: Stores, clock: Clock) -> shipping.Shipper:
    return shipping.Shipper(tmp_path, stores.publish, stores.is_loaded, redelivery_s=60, clock=clock)


def seal_segments(directory: Path, count: int) -> list[str]:
    """Leave `count` sealed segments behind, each a second younger than the one before."""
    writer = open_writer(directory)
    names = []
    for number in range(count):
        writer.record(f"req_{number}", make_line(f"req_{number}"))
        path = writer.seal()
        assert path is not None
        os.utime(path, (1_790_000_000 + number, 1_790_000_000 + number))
        names.append(path.stem)
    writer.close()
    return names


def test_segments_are_published_oldest_first_and_deleted_when_the_ledger_has_them(
    tmp_path: Path, stores: Stores, shipper: shipping.Shipper
) -> None:
    names = seal_segments(tmp_path, 3)
    shipper.ship()
    assert [name for name, _, _ in stores.messages] == names
    assert len(list(tmp_path.glob("*.sealed"))) == 3
    shipper.ship()
    assert len(stores.messages) == 3
    stores.load_all()
    shipper.ship()
    assert list(tmp_path.glob("*.sealed")) == []
    assert shipper.counters == shipping.Counters(published=3, confirmed=3)


def test_a_message_unpacks_to_the_file(tmp_path: Path, stores: Stores, shipper: shipping.Shipper) -> None:
    seal_segments(tmp_path, 1)
    (path,) = tmp_path.glob("*.sealed")
    shipper.ship()
    _, body, sha256 = stores.messages[0]
    assert spool.unpack(body, sha256) == path.read_bytes()
    with pytest.raises(spool.DamagedParcel, match="checksum"):
        spool.unpack(body, "0" * 64)
    with pytest.raises(spool.DamagedParcel, match="checksum"):
        spool.unpack(body[:-8], sha256)
    with pytest.raises(spool.DamagedParcel, match="unpacked"):
        spool.unpack("not base64", sha256)
    cut = b64decode(body)[:-8]
    with pytest.raises(spool.DamagedParcel, match="unpacked"):
        spool.unpack(b64encode(cut).decode(), hashlib.sha256(cut).hexdigest())


def test_a_segment_that_was_loaded_before_the_restart_is_not_published_again(
    tmp_path: Path, stores: Stores, shipper: shipping.Shipper
) -> None:
    stores.loaded.update(seal_segments(tmp_path, 2))
    shipper.ship()
    assert stores.messages == []
    assert list(tmp_path.glob("*.sealed")) == []


def test_a_lost_message_is_sent_again_each_time_later(
    tmp_path: Path, stores: Stores, clock: Clock, shipper: shipping.Shipper
) -> None:
    seal_segments(tmp_path, 1)
    sent_at = []
    for second in range(400):
        clock.now = 100.0 + second
        before = len(stores.messages)
        shipper.ship()
        if len(stores.messages) > before:
            sent_at.append(second)
    assert sent_at == [0, 60, 180]
    assert (shipper.counters.published, shipper.counters.republished) == (1, 2)


def test_an_outage_waits_on_the_disk_and_not_in_the_broker(
    tmp_path: Path, stores: Stores, shipper: shipping.Shipper
) -> None:
    names = seal_segments(tmp_path, 40)
    for _ in range(3):
        shipper.ship()
    assert [name for name, _, _ in stores.messages] == names[:32]
    assert all(len(asked) == 32 for asked in stores.asked)
    stores.loaded.update(names[:10])
    shipper.ship()
    shipper.ship()
    assert [name for name, _, _ in stores.messages] == names


def test_nothing_is_lost_while_the_broker_or_the_ledger_is_down(
    tmp_path: Path, stores: Stores, shipper: shipping.Shipper
) -> None:
    names = seal_segments(tmp_path, 2)
    stores.is_broker_down = True
    with pytest.raises(shipping.BrokerUnavailable):
        shipper.ship()
    stores.is_broker_down, stores.is_ledger_down = False, True
    with pytest.raises(OperationalError):
        shipper.ship()
    stores.is_ledger_down = False
    shipper.ship()
    assert [name for name, _, _ in stores.messages] == names


def test_one_shipper_ships_a_directory_and_another_takes_over(
    tmp_path: Path, stores: Stores, clock: Clock, shipper: shipping.Shipper
) -> None:
    second = shipping.Shipper(tmp_path, stores.publish, stores.is_loaded, clock=clock)
    seal_segments(tmp_path, 1)
    shipper.ship()
    second.ship()
    assert len(stores.messages) == 1
    shipper.start()
    assert shipper.stop(5)
    second.ship()
    assert len(stores.messages) == 2


def test_the_backlog_is_what_lies_there(tmp_path: Path, shipper: shipping.Shipper) -> None:
    assert shipper.backlog() == shipping.Backlog(0, 0, 0.0)
    seal_segments(tmp_path, 2)
    for path in tmp_path.glob("*.sealed"):
        os.utime(path, (time.time() - 90, time.time() - 90))
    backlog = shipper.backlog()
    assert backlog.segments == 2
    assert backlog.size_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.sealed"))
    assert 89 < backlog.oldest_s < 120


def test_the_thread_survives_what_goes_wrong_and_says_so_without_content(
    tmp_path: Path, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    seal_segments(tmp_path, 1)
    stores.is_broker_down = True
    shipper = shipping.Shipper(tmp_path, stores.publish, stores.is_loaded, 0.01)
    with caplog.at_level(logging.WARNING):
        shipper.start()
        _wait_for(lambda: shipper.counters.failures > 0)
        stores.is_broker_down = False
        _wait_for(lambda: shipper.counters.published == 1)
        assert shipper.stop(5)
    assert "The broker takes no segments; they wait in the spool." in caplog.text
    assert "req_0" not in caplog.text


def test_stopping_publishes_everything_that_is_sealed(tmp_path: Path, stores: Stores) -> None:
    shipper = shipping.Shipper(tmp_path, stores.publish, stores.is_loaded, 3600)
    shipper.start()
    _wait_for(lambda: (tmp_path / "shipper.lock").exists())
    names = seal_segments(tmp_path, 40)
    assert shipper.stop(5)
    assert [name for name, _, _ in stores.messages] == names


def test_stopping_gives_up_in_time_when_the_broker_hangs(tmp_path: Path, stores: Stores) -> None:
    seal_segments(tmp_path, 1)
    release = threading.Event()

    def hang(*, segment_id: str, body: str, sha256: str) -> None:
        release.wait(20)

    shipper = shipping.Shipper(tmp_path, hang, stores.is_loaded, 0.01)
    shipper.start()
    started = time.monotonic()
    assert not shipper.stop(0.2)
    assert time.monotonic() - started < 5
    release.set()
    assert shipper.stop(5)


def test_the_start_recovers_what_a_dead_process_left_and_ships_it(
    tmp_path: Path, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    writer = open_writer(tmp_path / "living")
    writer.intent("req_1", intent_line("req_1"))
    directory = crash(tmp_path / "living", tmp_path / "left")
    writer.close()
    with caplog.at_level(logging.WARNING):
        shipper = shipping.recover_and_start(directory, publish=stores.publish, is_loaded=stores.is_loaded)
        _wait_for(lambda: stores.messages)
        shipper.stop(5)
    _, body, sha256 = stores.messages[0]
    assert spool.read_segment(spool.unpack(body, sha256)).lines("R") == [intent_line("req_1")]
    assert "1 calls interrupted" in caplog.text


def test_a_sibling_that_dies_later_is_recovered_too(
    tmp_path: Path, stores: Stores, clock: Clock, shipper: shipping.Shipper
) -> None:
    shipper.ship()
    writer = open_writer(tmp_path / "other")
    writer.intent("req_1", intent_line("req_1"))
    for path in (tmp_path / "other").glob("*.open"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    writer.close()
    clock.now += 6
    shipper.ship()
    assert shipper.counters.interrupted == 1
    assert len(stores.messages) == 1


@pytest.mark.django_db
def test_the_ledger_is_asked_for_the_marks_of_segments() -> None:
    LoadedSegment.objects.create(segment_id="a", records=1, sha256="0" * 64)
    assert shipping.loaded_segments(["a", "b"]) == {"a"}


def test_a_published_message_is_the_task_of_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    app = _app("memory://localhost/shipping-test", monkeypatch)
    shipping.CeleryPublisher()(segment_id="seg", body="Ym9keQ==", sha256="0" * 64)
    with app.connection_for_read() as connection, connection.SimpleQueue("segments") as queue:
        message = queue.get(timeout=5)
        message.ack()
        assert message.headers["task"] == "billing.tasks.load_segment"
        assert message.headers["kwargsrepr"] == "seg"
        assert message.payload[:2] == [[], {"segment_id": "seg", "body": "Ym9keQ==", "sha256": "0" * 64}]


def test_a_broker_that_is_not_there_is_unavailable_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        _app(f"redis://127.0.0.1:{taken.getsockname()[1]}/0", monkeypatch)
        started = time.monotonic()
        with pytest.raises(shipping.BrokerUnavailable):
            shipping.CeleryPublisher()(segment_id="seg", body="", sha256="")
        assert time.monotonic() - started < 5


def test_a_broker_that_accepts_and_says_nothing_is_unavailable_after_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "_BROKER_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _app(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", monkeypatch)
        publisher = shipping.CeleryPublisher()
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(shipping.BrokerUnavailable):
                publisher(segment_id="seg", body="x" * 100_000, sha256="")
            assert time.monotonic() - started < 10


def _app(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Celery:
    app = Celery("shipping-test", broker=broker_url, set_as_current=False)
    monkeypatch.setattr(shipping, "current_app", app)
    return app


def _wait_for(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
