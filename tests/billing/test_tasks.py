"""A segment's message ends in both stores or goes back to the broker; nothing is lost and nothing stands twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from celery.exceptions import Retry
from django.core.management import CommandError, call_command
from django.db import OperationalError

from accounts import encryption
from analytics import events
from analytics.clickhouse import client, errors
from billing import ledger, models, reconciliation, segments, tasks
from tests.factories.records import NOON_US, make_message, make_record, make_segment

DAY = datetime.fromtimestamp(NOON_US / 1_000_000, UTC).date()


def logged() -> int:
    return int(client.query("SELECT count() FROM request_logs FINAL")[0][0])


def posted() -> int:
    return sum(models.UsageEntry.objects.values_list("calls", flat=True))


def differences() -> list[reconciliation.Difference]:
    return reconciliation.compare(first=DAY, last=DAY)


@pytest.fixture
def retries(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the delays of retries instead of publishing messages."""
    delays: list[float] = []

    def retry(*_: Any, countdown: float, **__: Any) -> Retry:
        delays.append(countdown)
        return Retry()

    monkeypatch.setattr(tasks.load_segment, "retry", retry)
    return delays


@pytest.mark.clickhouse
@pytest.mark.django_db
@pytest.mark.usefixtures("log_store")
class TestLoading:
    def test_a_segment_stands_in_both_stores(self) -> None:
        tasks.load_segment.run(**make_message(make_segment([make_record(), make_record()])))
        assert logged() == posted() == 2
        assert differences() == []

    def test_a_message_that_comes_again_changes_nothing(self) -> None:
        message = make_message(make_segment([make_record()]))
        tasks.load_segment.run(**message)
        tasks.load_segment.run(**message)
        assert logged() == posted() == 1

    def test_a_crash_between_the_stores_is_made_good_by_the_next_delivery(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        message = make_message(make_segment([make_record()]))

        class Killed(BaseException):
            pass

        def killed(**_: Any) -> bool:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(ledger, "post_segment", killed)
            with pytest.raises(Killed):
                tasks.load_segment.run(**message)
        assert (logged(), posted()) == (1, 0)
        assert [(d.ledger, d.organization_id) for d in differences()] == [(None, "org_acme")]
        tasks.load_segment.run(**message)
        assert client.query("SELECT count() FROM request_logs") == [(1,)]
        assert posted() == 1
        assert differences() == []

    def test_refused_lines_are_left_out_of_both_stores(self) -> None:
        data = make_segment([make_record(), b"[]", make_record(started_us=1)])
        tasks.load_segment.run(**make_message(data))
        assert logged() == posted() == 1
        assert models.DeadLetter.objects.count() == models.LoadedSegment.objects.get().dead_letters == 2
        assert differences() == []

    def test_opted_in_content_is_decrypted_and_ends_with_its_time(self) -> None:
        record = make_record()
        now_us = int(datetime.now(UTC).timestamp() * 1_000_000)
        keyring = encryption.Keyring.from_settings("", _secret_key())

        def content(request: str, expires_us: int) -> bytes:
            import msgspec

            return keyring.encrypt(
                msgspec.json.encode(
                    events.RequestContent(
                        organization_id="org_acme",
                        workspace_id="ws_production",
                        request_id=request,
                        started_us=record.started_us,
                        expires_us=expires_us,
                        request='{"a":1}',
                        response="{}",
                    )
                )
            )

        data = make_segment(
            [record],
            contents=[content("req_stays", now_us + 10**12), content("req_ends", now_us - 10**6), b"no envelope"],
        )
        tasks.load_segment.run(**make_message(data))
        client.command("OPTIMIZE TABLE request_contents FINAL")
        assert client.query("SELECT request_id, request FROM request_contents") == [("req_stays", '{"a":1}')]
        assert [letter.kind for letter in models.DeadLetter.objects.all()] == ["C"]


@pytest.mark.django_db
class TestFailing:
    @pytest.mark.parametrize(
        "error", [errors.StoreUnavailable("no"), errors.QueryRefused("no"), OperationalError("no")]
    )
    def test_a_store_that_does_not_answer_puts_the_message_back(
        self, error: Exception, retries: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(**_: Any) -> bool:
            raise error

        monkeypatch.setattr(segments, "load", fail)
        with pytest.raises(Retry):
            tasks.load_segment.run(**make_message(make_segment([make_record()])))
        assert retries == [1]

    def test_the_pauses_grow_to_a_minute_and_no_further(
        self, retries: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(**_: Any) -> bool:
            raise errors.StoreUnavailable("no")

        monkeypatch.setattr(segments, "load", fail)
        for number in [*range(8), 10_000]:
            tasks.load_segment.push_request(retries=number)
            with pytest.raises(Retry):
                tasks.load_segment.run(segment_id="one", body="", sha256="")
            tasks.load_segment.pop_request()
        assert retries == [1, 2, 4, 8, 16, 32, 60, 60, 60]

    def test_it_is_retried_without_limit(self) -> None:
        assert tasks.load_segment.max_retries is None
        assert tasks.load_segment.acks_late

    @pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"body": "AAAA"}, {"segment_id": "another"}])
    def test_a_damaged_message_is_dropped_and_leaves_no_mark(
        self, change: dict[str, str], retries: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(segments.loader.client, "insert_raw", lambda *_, **__: None)
        message = {**make_message(make_segment([make_record()])), **change}
        tasks.load_segment.run(**message)
        assert retries == []
        assert models.LoadedSegment.objects.count() == posted() == 0


@pytest.mark.clickhouse
@pytest.mark.django_db
@pytest.mark.usefixtures("log_store")
class TestReconciling:
    def test_it_names_the_organization_and_day_that_differ(self, capsys: pytest.CaptureFixture[str]) -> None:
        tasks.load_segment.run(**make_message(make_segment([make_record(), make_record(organization_id="org_b")])))
        models.UsageEntry.objects.filter(organization_id="org_b").update(billed_nanousd=1)
        (difference,) = differences()
        assert (difference.organization_id, difference.usage_date) == ("org_b", DAY)
        assert "billed 1 nano-USD" in str(difference)
        assert "billed 1300000 nano-USD" in str(difference)

    def test_the_same_number_of_other_calls_differs_by_the_digest(self) -> None:
        tasks.load_segment.run(**make_message(make_segment([make_record()])))
        client.command("TRUNCATE TABLE request_logs")
        segments.loader.load(make_segment([make_record()]), open_content=lambda envelope: envelope)
        (difference,) = differences()
        assert difference.ledger is not None
        assert difference.log_store is not None
        assert difference.ledger.calls == difference.log_store.calls == 1
        assert difference.ledger.digest != difference.log_store.digest

    def test_one_organization_can_be_compared_alone(self) -> None:
        tasks.load_segment.run(**make_message(make_segment([make_record()])))
        models.UsageEntry.objects.update(calls=5)
        assert reconciliation.compare(first=DAY, last=DAY, organization_id="org_b") == []
        assert len(reconciliation.compare(first=DAY, last=DAY, organization_id="org_acme")) == 1

    def test_digests_beyond_64_bits_are_summed_right(self) -> None:
        for _ in range(4):
            tasks.load_segment.run(**make_message(make_segment([make_record() for _ in range(20)])))
        assert differences() == []

    def test_the_command_ends_with_an_error_where_they_differ(self, capsys: pytest.CaptureFixture[str]) -> None:
        now_us = int(datetime.now(UTC).timestamp() * 1_000_000)
        tasks.load_segment.run(**make_message(make_segment([make_record(started_us=now_us)])))
        call_command("reconcile", "--attempts", "1")
        assert "agree" in capsys.readouterr().out
        models.UsageEntry.objects.update(calls=2)
        with pytest.raises(CommandError, match="differ on 1"):
            call_command("reconcile", "--attempts", "1")
        assert "ledger 2 calls" in capsys.readouterr().out


def _secret_key() -> str:
    from django.conf import settings

    return str(settings.SECRET_KEY)
