"""The OpenTelemetry collectors of customers: add, change, pause, try and remove them.

What waits for them and how it is sent is `analytics.deliveries`. Headers are secrets: encrypted here, shown nowhere.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import transaction

from accounts import audit, encryption, outbound
from accounts.models import Organization, Workspace
from analytics.models import Collector
from analytics.request_log import RequestLog
from analytics.telemetry import metrics, spans

MOST_COLLECTORS = 5
TRY_TIMEOUT_S = 10.0

_PURPOSE = "collector-headers"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE = re.compile(r"[\t -~]{0,4000}")
_RESERVED = frozenset({"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection"})
_MOST_HEADERS = 20
_SIGNAL_PATHS = ("/v1/traces", "/v1/metrics", "/v1/logs")

Post = Callable[..., outbound.Response]


class InvalidCollector(ValueError):
    """The collector cannot be kept like that; the message says what can."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a customer chooses of a collector. `headers` is None to leave those that are kept."""

    endpoint: str
    workspace: Workspace | None
    headers: Mapping[str, str] | None
    sends_traces: bool
    sends_metrics: bool
    sample_percent: int

    def __repr__(self) -> str:
        return f"Choices(endpoint={self.endpoint!r})"  # the headers are secrets


def add(*, organization: Organization, choices: Choices, actor: audit.Actor, now: dt.datetime) -> Collector:
    """Add a collector; what is called from now on is sent to it.

    Raises:
        InvalidCollector: its address may not be reached, a header is malformed, nothing would be sent, or there are
            too many.
    """
    _require_sound(choices)
    if Collector.objects.for_organization(organization.pk).count() >= MOST_COLLECTORS:
        raise InvalidCollector(f"An organization has at most {MOST_COLLECTORS} collectors. Remove one first.")
    headers = dict(choices.headers or {})
    with transaction.atomic():
        collector = Collector.objects.create(
            organization=organization,
            workspace=choices.workspace,
            endpoint=_base(choices.endpoint),
            headers_envelope=_sealed(headers),
            header_names=sorted(headers),
            sends_traces=choices.sends_traces,
            sends_metrics=choices.sends_metrics,
            sample_percent=choices.sample_percent,
            next_attempt_at=now,
        )
        audit.change(collector, "collector.add", actor=actor, now=now, after=_facts(collector))
    return collector


def change(*, collector: Collector, choices: Choices, actor: audit.Actor, now: dt.datetime) -> None:
    """Change a collector. Another address without headers clears those that were kept: they were for the old one.

    Raises:
        InvalidCollector: as `add`.
    """
    _require_sound(choices)
    with transaction.atomic():
        current = Collector.objects.select_for_update().get(pk=collector.pk)
        before = _facts(current)
        endpoint = _base(choices.endpoint)
        headers = choices.headers
        if headers is None and endpoint != current.endpoint:
            headers = {}
        if headers is not None:
            current.headers_envelope = _sealed(headers)
            current.header_names = sorted(headers)
        current.endpoint = endpoint
        current.workspace = choices.workspace
        current.sends_traces = choices.sends_traces
        current.sends_metrics = choices.sends_metrics
        current.sample_percent = choices.sample_percent
        current.next_attempt_at = now  # what was wrong may be right now
        current.save()
        audit.change(current, "collector.change", actor=actor, now=now, before=before, after=_facts(current))


def pause(*, collector: Collector, is_paused: bool, actor: audit.Actor, now: dt.datetime) -> None:
    """Stop sending, or go on. Calls made while a collector is paused are not sent later."""
    with transaction.atomic():
        Collector.objects.filter(pk=collector.pk).update(is_enabled=not is_paused, next_attempt_at=now)
        audit.change(collector, "collector.pause" if is_paused else "collector.resume", actor=actor, now=now)


def remove(*, collector: Collector, actor: audit.Actor, now: dt.datetime) -> None:
    """Remove a collector and what waits for it."""
    with transaction.atomic():
        audit.change(collector, "collector.remove", actor=actor, now=now, before=_facts(collector))
        collector.delete()


def attempt(*, collector: Collector, now: dt.datetime, post: Post = outbound.post) -> str:
    """Send a made-up call of 0 tokens to the collector; return what was wrong, empty when it took it."""
    record = RequestLog(
        request_id=f"req_{int(now.timestamp() * 1000):012x}{0:014x}",
        organization_id=collector.organization_id,
        workspace_id=collector.workspace_id or "",
        api_key_id="",
        started_us=int(now.timestamp() * 1_000_000),
        requested_model="connection-test",
        is_test=1,
        http_status=200,
        latency_us=1000,
    )
    bodies = []
    if collector.sends_traces:
        bodies.append(("/v1/traces", spans.export([record], organization_id=collector.organization_id)))
    if collector.sends_metrics:
        bodies.append(("/v1/metrics", metrics.export([record], organization_id=collector.organization_id)))
    headers = {"content-type": "application/json", **opened_headers(collector)}
    for path, body in bodies:
        try:
            answer = post(collector.endpoint + path, body=body, headers=headers, timeout_s=TRY_TIMEOUT_S)
        except outbound.OutboundError as error:
            return str(error)
        if not 200 <= answer.status < 300:
            return f"The collector answered {answer.status} to {path}. {advice(answer.status)}".strip()
    return ""


def advice(status: int) -> str:
    """Return what a customer can do about a collector's status."""
    if status in {401, 403}:
        return "Check the headers that it asks for."
    if status == 404:
        return "Give its base address; /v1/traces and /v1/metrics are added to it."
    if 300 <= status < 400:
        return "Redirects are not followed: give the final address."
    if status == 415:
        return "It must take OTLP over HTTP as JSON."
    return ""


def opened_headers(collector: Collector) -> dict[str, str]:
    """Return the collector's headers in clear.

    Raises:
        accounts.encryption.KeyringError: the master key that they were kept under is gone.
    """
    if not collector.headers_envelope:
        return {}
    opened: dict[str, str] = orjson.loads(
        encryption.deployment_keyring().decrypt(bytes(collector.headers_envelope), purpose=_PURPOSE)
    )
    return opened


def parse_headers(text: str) -> dict[str, str]:
    """Return the headers of a text with one `Name: value` a line.

    Raises:
        InvalidCollector: a line is none; the message gives its number, never its text.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, separator, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not separator or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidCollector(f"Line {number} of the headers is not of the form “Name: value”.")
        if name.lower() in _RESERVED:
            raise InvalidCollector(f"The header {name} is set by us. Leave it out.")
        found[name] = value
    if len(found) > _MOST_HEADERS:
        raise InvalidCollector(f"Give at most {_MOST_HEADERS} headers.")
    return found


def _require_sound(choices: Choices) -> None:
    if not choices.sends_traces and not choices.sends_metrics:
        raise InvalidCollector("Choose traces, metrics or both.")
    if not 1 <= choices.sample_percent <= 100:
        raise InvalidCollector("The share of traces is 1 to 100 percent.")
    try:
        outbound.check(_base(choices.endpoint) + "/v1/traces")
    except outbound.Refused as error:
        raise InvalidCollector(str(error)) from error


def _base(endpoint: str) -> str:
    """Return the address without what is added to it; people paste the whole one."""
    endpoint = endpoint.strip().rstrip("/")
    for path in _SIGNAL_PATHS:
        endpoint = endpoint.removesuffix(path)
    return endpoint.rstrip("/")


def _sealed(headers: Mapping[str, str]) -> bytes:
    return encryption.deployment_keyring().encrypt(orjson.dumps(dict(headers)), purpose=_PURPOSE) if headers else b""


def _facts(collector: Collector) -> dict[str, Any]:
    return {
        "endpoint": collector.endpoint,
        "workspace": collector.workspace.slug if collector.workspace else None,
        "headers": collector.header_names,
        "traces": collector.sends_traces,
        "metrics": collector.sends_metrics,
        "sample_percent": collector.sample_percent,
    }
