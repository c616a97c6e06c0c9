"""One call: its receipt, the arithmetic of its cost, its timing, its content where that is stored and permitted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import roles
from accounts.access import MemberRequest, organization_view
from accounts.models import Organization
from analytics import arithmetic, money, timerange
from analytics.queries import requests as queries
from analytics.request_log import UNPRICED, RequestLog
from analytics.views import log_page


@require_safe
@organization_view(roles.VIEW_REQUESTS)
def request_detail(request: MemberRequest, organization: Organization, request_id: str) -> HttpResponse:
    """Show one call: the decision, the attempts, the cost line by line, the timing, the attribution."""
    now = timezone.now()
    template = "analytics/request_detail.html"
    context: dict[str, Any] = {"organization": organization, "request_id": request_id}
    try:
        record = queries.find(organization_id=organization.pk, request_id=request_id, now=now)
        if record is None:
            raise Http404("No such request.")
        context |= _detail(organization, record)
        context["verdicts"] = queries.verdicts(organization_id=organization.pk, record=record)
        context["may_see_content"] = roles.grants(request.membership.role, roles.VIEW_CONTENT)
        if context["may_see_content"]:
            content = queries.content(organization_id=organization.pk, record=record, now=now)
            context["content"] = content
            if content is not None:
                context["request_text"] = _pretty(content.request)
                context["response_text"] = _pretty(content.response)
    except queries.StoreError as error:
        return log_page.broken(request, template, context, error)
    return render(request, template, context)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that was considered; `gate` names what dropped it."""

    model: str
    provider: str
    gate: str
    reason: str
    is_chosen: bool
    cost_nanousd: int | None = None  # what the call was estimated to cost there


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a provider; `failure` is empty where it answered."""

    model: str
    provider: str
    failure: str
    status: str
    latency_us: int | None
    then: str = ""  # why the call went on
    is_own_key: bool = False  # with the organization's provider key, not the operator's


# Why a call went on after a failed attempt, as its receipt has it, in words.
_THEN = {
    "retry": "asked again",
    "next_endpoint": "next endpoint",
    "next_model": "next model",
    "larger_context_window": "a model with a larger window",
    "other_vendor": "a model of another vendor",
}


# Why a model was chosen, as the record's `route_reason` has it, in words that end a sentence.
_BECAUSE = {
    "cheapest-capable": "the cheapest that could take the call",
    "policy": "as the workspace's policy says",
    "experiment": "by the draw of an experiment",
}

# What stopped candidates, where the gate's name alone says too little.
_GATES = {
    "provider": "not configured",
    "allow_list": "guardrails",
    "providers": "provider preferences",
    "deprecation": "retirement",
    "context": "context window",
    "max_output": "length of answer",
}


@dataclass(frozen=True, slots=True)
class Span:
    """One part of the timing bar, in a drawing 1000 wide."""

    name: str
    kind: str
    duration_us: int
    x: float
    width: float


def _detail(organization: Organization, record: RequestLog) -> dict[str, Any]:
    receipt = _json_object(record.receipt)
    prices = receipt.get("prices")
    lines = arithmetic.lines(record, prices if isinstance(prices, dict) else {})
    cost = None if record.price_state == UNPRICED else record.provider_cost_nanousd
    saved = None
    if record.baseline_cost_nanousd is not None and cost is not None:
        saved = record.baseline_cost_nanousd - cost
    return {
        "record": record,
        "started_at": timerange.moment(record.started_us),
        "receipt": receipt,
        "receipt_id": f"rcpt_{record.request_id.removeprefix('req_')}",
        "candidates": [_candidate(found, record) for found in _objects(receipt.get("candidates"))],
        "attempts": [_attempt(found, record) for found in _objects(receipt.get("attempts"))],
        "skipped": _objects(receipt.get("skipped")),
        "because": _BECAUSE.get(record.route_reason, ""),
        "downgrade": _object(receipt.get("downgrade")),
        "funnel": [_passed_or_stopped(name, count) for name, count in _object(receipt.get("funnel")).items()],
        "shows_keys": any(found.get("key_source") == "byok" for found in _objects(receipt.get("attempts"))),
        "lines": lines,
        "places": money.places([record.provider_cost_nanousd, *(line.cost_nanousd for line in lines)]),
        "cost_nanousd": cost,
        "saved_nanousd": saved,
        "plain_input_tokens": max(0, record.input_tokens - record.cached_read_tokens - record.cache_write_tokens),
        "spans": _spans(record),
        "key_name": log_page.key_names(organization).get(record.api_key_id, record.api_key_id),
        "workspace_name": log_page.workspace_names(organization).get(record.workspace_id, record.workspace_id),
        "signals": _signals(record),
        "list_url": reverse("requests", args=[organization.slug]),
    }


def _spans(record: RequestLog) -> list[Span]:
    """Return where the time of a call went: our own work, waiting for the first token, the rest of the answer."""
    whole = record.latency_us
    if whole <= 0:
        return []
    overhead = min(record.overhead_us, whole)
    first = record.first_token_us
    parts = [("KairosRoute", "overhead", overhead)]
    if first is not None:
        waiting = max(0, min(first, whole) - overhead)
        parts += [("Until the first token", "waiting", waiting), ("Streaming", "streaming", whole - overhead - waiting)]
    else:
        parts.append(("Provider", "waiting", whole - overhead))
    spans, x = [], 0.0
    for name, kind, duration in parts:
        width = duration / whole * 1000
        spans.append(Span(name, kind, duration, round(x, 2), round(width, 2)))
        x += width
    return spans


def _signals(record: RequestLog) -> list[tuple[str, str, str]]:
    """Return (signal, words, tone) for the questions that arose in this call."""
    asked = (
        ("Truncated", record.is_truncated, True),
        ("Refused", record.is_refusal, True),
        ("Valid JSON", record.is_json_valid, False),
        ("Matches its schema", record.is_schema_valid, False),
        ("Valid tool calls", record.is_tool_call_valid, False),
    )
    return [
        (name, "Yes" if value else "No", "danger" if bool(value) == is_bad else "positive")
        for name, value, is_bad in asked
        if value is not None
    ]


def _candidate(found: Mapping[str, Any], record: RequestLog) -> Candidate:
    model, provider = str(found.get("model", "")), str(found.get("provider", ""))
    gate = _gate(str(found.get("filtered_out_by") or ""))
    # The simulator answers in the place of the provider that was chosen.
    is_chosen = not gate and model == record.model and (provider == record.provider or record.is_simulated == 1)
    estimate = found.get("est_cost_usd")
    cost = round(estimate * money.NANO) if isinstance(estimate, int | float) else None
    return Candidate(model, provider, gate, str(found.get("reason") or ""), is_chosen, cost)


def _attempt(found: Mapping[str, Any], record: RequestLog) -> Attempt:
    latency_ms = found.get("latency_ms")
    return Attempt(
        model=str(found.get("model") or record.model),
        provider=str(found.get("provider") or ""),
        failure=str(found.get("error_class") or ""),
        status=str(found.get("status") or ""),
        latency_us=round(latency_ms * 1000) if isinstance(latency_ms, int | float) else None,
        then=_THEN.get(str(found.get("then") or ""), ""),
        is_own_key=found.get("key_source") == "byok",
    )


def _gate(name: str) -> str:
    return _GATES.get(name, name.replace("_", " "))


def _passed_or_stopped(name: str, count: object) -> str:
    """Return what became of the candidates that got as far as a gate."""
    if name in ("passed", "provider"):
        return f"{count} {_gate(name)}"
    return f"{count} stopped by {_gate(name)}"


def _object(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _objects(found: Any) -> list[dict[str, Any]]:
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
