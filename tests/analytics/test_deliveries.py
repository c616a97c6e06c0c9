"""Records on their way to customers' collectors: real HTTP to a collector on loopback."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pytest_django import Settings

from accounts import audit
from accounts.models import AuditEvent, Organization, Workspace
from analytics import collectors, deliveries
from analytics.models import Collector, TelemetryBatch
from analytics.request_log import RequestLog
from billing import segments
from tests.analytics.telemetry.oracle import parsed
from tests.factories.accounts import make_organization, make_workspace
from tests.factories.records import make_message, make_record, make_segment
from tests.fakes.receiver import Receiver, listening

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
SECRET = "Bearer canary-7f3a"

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.OUTBOUND_ALLOWED_HOSTS = "127.0.0.1"
    with listening() as found:
        yield found


@pytest.fixture
def acme() -> Organization:
    return make_organization("Acme")


def choices(endpoint: str, **fields: Any) -> collectors.Choices:
    return collectors.Choices(
        **{
            "endpoint": endpoint,
            "workspace": None,
            "headers": {"Authorization": SECRET},
            "sends_traces": True,
            "sends_metrics": True,
            "sample_percent": 100,
            **fields,
        }
    )


def make_collector(organization: Organization, endpoint: str, **fields: Any) -> Collector:
    return collectors.add(organization=organization, choices=choices(endpoint, **fields), actor=audit.SYSTEM, now=NOW)


def call(organization: Organization, **fields: Any) -> RequestLog:
    workspace = fields.pop("workspace", None) or organization.workspaces.order_by("created_at").first()
    return make_record(organization_id=organization.pk, workspace_id=workspace.pk, **fields)


def keep(*records: RequestLog, segment_id: str = "") -> int:
    data = make_segment(records, segment_id=segment_id)
    return deliveries.keep(data=data, organization_ids={record.organization_id for record in records}, now=NOW)


def request_ids(receiver: Receiver) -> list[str]:
    found = []
    for one in receiver.of("/v1/traces"):
        for span in parsed(one.body, ExportTraceServiceRequest).resource_spans[0].scope_spans[0].spans:
            found += [item.value.string_value for item in span.attributes if item.key == "kairosroute.request.id"]
    return found


def test_records_arrive_as_spans_and_metrics_with_the_headers(acme: Organization, receiver: Receiver) -> None:
    collector = make_collector(acme, receiver.url)
    records = [call(acme) for _ in range(3)]
    keep(*records)
    assert deliveries.deliver(now=NOW) == 1
    assert request_ids(receiver) == [record.request_id for record in records]
    (metrics,) = receiver.of("/v1/metrics")
    assert metrics.headers["authorization"] == SECRET
    assert metrics.headers["content-type"] == "application/json"
    collector.refresh_from_db()
    assert (collector.sent_records, collector.dropped_records, collector.last_success_at) == (3, 0, NOW)
    assert not TelemetryBatch.objects.exists()


def test_nothing_is_kept_where_nobody_asked(acme: Organization) -> None:
    assert keep(call(acme)) == 0


def test_an_organization_gets_its_own_calls_only(acme: Organization, receiver: Receiver) -> None:
    other = make_organization("Other")
    make_collector(acme, receiver.url)
    mine, theirs = call(acme), call(other)
    keep(mine, theirs)
    deliveries.deliver(now=NOW)
    assert request_ids(receiver) == [mine.request_id]


def test_a_collector_of_one_workspace_gets_no_other(acme: Organization, receiver: Receiver) -> None:
    staging = make_workspace(acme, "Staging")
    make_collector(acme, receiver.url, workspace=staging)
    wanted = call(acme, workspace=staging)
    keep(call(acme), wanted)
    deliveries.deliver(now=NOW)
    assert request_ids(receiver) == [wanted.request_id]


def test_a_segment_that_comes_again_is_kept_once(acme: Organization, receiver: Receiver) -> None:
    make_collector(acme, receiver.url)
    record = call(acme)
    keep(record, segment_id="seg-1")
    keep(record, segment_id="seg-1")
    assert TelemetryBatch.objects.count() == 1


def test_what_is_sent_again_is_the_same_to_the_byte(acme: Organization, receiver: Receiver) -> None:
    make_collector(acme, receiver.url, sends_metrics=False)
    keep(call(acme))
    batch = TelemetryBatch.objects.get()
    deliveries.deliver(now=NOW)
    batch.save(force_insert=True)  # the worker died after the collector had taken it
    deliveries.deliver(now=NOW + dt.timedelta(seconds=1))
    first, second = receiver.of("/v1/traces")
    assert first.body == second.body


def test_a_collector_that_fails_is_left_alone_for_a_growing_while(acme: Organization, receiver: Receiver) -> None:
    collector = make_collector(acme, receiver.url)
    keep(call(acme))
    receiver.status = 503
    deliveries.deliver(now=NOW)
    collector.refresh_from_db()
    assert collector.failing_since_at == NOW
    assert "503" in collector.failure
    first_wait = collector.next_attempt_at - NOW
    assert deliveries.deliver(now=NOW) == 0
    assert len(receiver.received) == 1
    later = collector.next_attempt_at
    deliveries.deliver(now=later)
    collector.refresh_from_db()
    assert collector.next_attempt_at - later > first_wait
    assert collector.failing_since_at == NOW
    receiver.status = 200
    deliveries.deliver(now=collector.next_attempt_at)
    collector.refresh_from_db()
    assert (collector.failing_since_at, collector.failure, collector.sent_records) == (None, "", 1)


def test_traces_that_were_taken_are_not_sent_again_when_metrics_were_not(
    acme: Organization, receiver: Receiver
) -> None:
    collector = make_collector(acme, receiver.url)
    keep(call(acme))
    receiver.by_path["/v1/metrics"] = 500
    deliveries.deliver(now=NOW)
    receiver.by_path.clear()
    collector.refresh_from_db()
    deliveries.deliver(now=collector.next_attempt_at)
    assert [one.path for one in receiver.received] == ["/v1/traces", "/v1/metrics", "/v1/metrics"]


def test_retry_after_is_obeyed(acme: Organization, receiver: Receiver) -> None:
    collector = make_collector(acme, receiver.url)
    keep(call(acme))
    receiver.status, receiver.headers = 429, {"Retry-After": "120"}
    deliveries.deliver(now=NOW)
    collector.refresh_from_db()
    assert collector.next_attempt_at == NOW + dt.timedelta(seconds=120)


def test_a_batch_that_will_never_be_taken_goes_and_is_counted(acme: Organization, receiver: Receiver) -> None:
    collector = make_collector(acme, receiver.url)
    keep(call(acme), call(acme))
    receiver.status = 400
    deliveries.deliver(now=NOW)
    collector.refresh_from_db()
    assert collector.dropped_records == 2
    assert not TelemetryBatch.objects.exists()


def test_spans_that_the_collector_refused_are_counted(acme: Organization, receiver: Receiver) -> None:
    collector = make_collector(acme, receiver.url, sends_metrics=False)
    keep(call(acme), call(acme))
    receiver.answer = b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}'
    deliveries.deliver(now=NOW)
    collector.refresh_from_db()
    assert collector.dropped_records == 1


def test_what_no_collector_takes_for_a_day_is_dropped(acme: Organization, receiver: Receiver) -> None:
    collector = make_collector(acme, receiver.url)
    keep(call(acme))
    receiver.status = 503
    deliveries.deliver(now=NOW)
    deliveries.deliver(now=NOW + deliveries.MAXIMUM_AGE + dt.timedelta(seconds=1))
    collector.refresh_from_db()
    assert (collector.dropped_records, TelemetryBatch.objects.count()) == (1, 0)


def test_a_backlog_has_a_bound(acme: Organization, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = make_collector(acme, receiver.url)
    monkeypatch.setattr(deliveries, "MOST_BATCHES", 1)
    keep(call(acme))
    keep(call(acme))
    collector.refresh_from_db()
    assert (TelemetryBatch.objects.count(), collector.dropped_records) == (1, 1)


def test_one_dead_collector_does_not_hold_up_another(acme: Organization, receiver: Receiver) -> None:
    make_collector(acme, "http://127.0.0.1:9")  # nobody listens there
    alive = make_collector(acme, receiver.url)
    keep(call(acme))
    assert deliveries.deliver(now=NOW) == 1
    alive.refresh_from_db()
    assert alive.sent_records == 1


def test_two_workers_do_not_send_the_same(acme: Organization, receiver: Receiver) -> None:
    collector = make_collector(acme, receiver.url)
    keep(call(acme))
    Collector.objects.filter(pk=collector.pk).update(leased_until=NOW + dt.timedelta(seconds=5))
    assert deliveries.deliver(now=NOW) == 0
    assert deliveries.deliver(now=NOW + dt.timedelta(seconds=6)) == 1


def test_metrics_count_every_call_that_traces_leave_out(acme: Organization, receiver: Receiver) -> None:
    make_collector(acme, receiver.url, sample_percent=1)
    keep(*(call(acme) for _ in range(50)))
    deliveries.deliver(now=NOW)
    assert len(request_ids(receiver)) < 10
    (metrics,) = receiver.of("/v1/metrics")
    sums = [
        metric["sum"]["dataPoints"][0]["asInt"]
        for metric in json.loads(metrics.body)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
        if metric["name"] == "kairosroute.calls"
    ]
    assert sums == ["50"]


@pytest.mark.clickhouse
def test_loading_a_segment_keeps_it_for_the_collectors_once(
    acme: Organization, receiver: Receiver, log_store: None
) -> None:
    make_collector(acme, receiver.url)
    message = make_message(make_segment([call(acme), call(acme)]))
    assert segments.load(**message)
    assert not segments.load(**message)
    assert TelemetryBatch.objects.get().records == 2


@pytest.mark.clickhouse
def test_a_fault_of_the_export_fails_no_loading(
    acme: Organization, receiver: Receiver, log_store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_collector(acme, receiver.url)
    monkeypatch.setattr(deliveries, "RECORDS_PER_BATCH", 0)  # range() refuses a step of 0
    assert segments.load(**make_message(make_segment([call(acme)])))


def test_the_test_button_says_what_was_wrong(acme: Organization, receiver: Receiver) -> None:
    collector = make_collector(acme, receiver.url)
    assert collectors.attempt(collector=collector, now=NOW) == ""
    receiver.status = 401
    assert "Check the headers" in collectors.attempt(collector=collector, now=NOW)
    collector.endpoint = "http://127.0.0.1:9"
    assert "127.0.0.1" in collectors.attempt(collector=collector, now=NOW)


def test_headers_are_nowhere_in_clear(acme: Organization, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    collector = make_collector(acme, receiver.url)
    receiver.status = 500
    keep(call(acme))
    deliveries.deliver(now=NOW)
    collector.refresh_from_db()
    stored = [repr(vars(collector)), repr(choices(receiver.url)), caplog.text]
    stored += [repr(vars(event)) for event in AuditEvent.objects.all()]
    assert not [text for text in stored if "canary" in text]
    assert collectors.opened_headers(collector) == {"Authorization": SECRET}


def test_another_address_clears_the_headers(acme: Organization, receiver: Receiver) -> None:
    collector = make_collector(acme, receiver.url)
    collectors.change(collector=collector, choices=choices(receiver.url, headers=None), actor=audit.SYSTEM, now=NOW)
    collector.refresh_from_db()
    assert collectors.opened_headers(collector) == {"Authorization": SECRET}
    elsewhere = choices(f"{receiver.url}/other", headers=None)
    collectors.change(collector=collector, choices=elsewhere, actor=audit.SYSTEM, now=NOW)
    collector.refresh_from_db()
    assert collectors.opened_headers(collector) == {}


@pytest.mark.parametrize(
    "endpoint", ["http://10.0.0.1", "https://127.0.0.1", "ftp://example.com", "https://[::1]:4318"]
)
def test_addresses_inside_are_refused(acme: Organization, endpoint: str) -> None:
    with pytest.raises(collectors.InvalidCollector):
        make_collector(acme, endpoint)


@pytest.mark.parametrize("pasted", ["/", "/v1/traces", "/v1/metrics/"])
def test_the_path_of_a_signal_may_be_pasted_too(acme: Organization, receiver: Receiver, pasted: str) -> None:
    assert make_collector(acme, receiver.url + pasted).endpoint == receiver.url


@pytest.mark.parametrize("text", ["no colon", "Bad Name: x", "Host: example.com", "content-type: text/plain"])
def test_headers_that_cannot_be_sent_are_refused(text: str) -> None:
    with pytest.raises(collectors.InvalidCollector) as refusal:
        collectors.parse_headers(f"Good: yes\n{text}")
    assert "example.com" not in str(refusal.value)


def test_a_workspace_that_goes_takes_its_collector_along(acme: Organization, receiver: Receiver) -> None:
    staging: Workspace = make_workspace(acme, "Staging")
    make_collector(acme, receiver.url, workspace=staging)
    staging.delete()
    assert not Collector.objects.exists()
