"""Request logs for tests and for looking at pages: one record at a time, or a plausible week of them.

They reach ClickHouse the way real ones do: as frames of sealed segments, through `analytics.loader`.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import random
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from analytics import loader, request_log
from analytics.events import FeedbackEvent, RequestContent, encode_feedback
from analytics.request_log import RequestLog
from analytics.spool import Writer

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_counter = iter(range(1, 1_000_000_000))

# nano-USD per million tokens: input, cached read, cache write, output
PRICES: dict[str, tuple[int, int, int, int]] = {
    "openai/gpt-5.4": (2_500_000_000, 250_000_000, 0, 15_000_000_000),
    "openai/gpt-5.4-mini": (750_000_000, 75_000_000, 0, 4_500_000_000),
    "anthropic/claude-sonnet-4-6": (3_000_000_000, 300_000_000, 3_750_000_000, 15_000_000_000),
    "anthropic/claude-haiku-4-5": (1_000_000_000, 100_000_000, 1_250_000_000, 5_000_000_000),
    "google/gemini-2.5-flash": (300_000_000, 30_000_000, 0, 2_500_000_000),
    "deepseek/deepseek-v4-pro": (435_000_000, 3_625_000, 0, 870_000_000),
    "mistralai/mistral-small-2603": (150_000_000, 15_000_000, 0, 600_000_000),
}
BASELINE = "anthropic/claude-sonnet-4-6"


def make_request_id() -> str:
    """Return a new request id, 26 characters of base 32 after the prefix."""
    number = next(_counter)
    digits = ""
    for _ in range(26):
        number, digit = divmod(number, 32)
        digits = _ALPHABET[digit] + digits
    return f"req_{digits}"


def make_request_log(**fields: Any) -> RequestLog:
    """Return a settled call to Claude Haiku by default; costs follow from the tokens unless they are given."""
    now = fields.pop("started_at", dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC))
    values: dict[str, Any] = {
        "request_id": make_request_id(),
        "organization_id": "org_acme",
        "workspace_id": "ws_production",
        "api_key_id": "key_production",
        "started_us": (now - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1),
        "http_status": 200,
        "finish_reason": "stop",
        "model": "anthropic/claude-haiku-4-5",
        "attempts": 1,
        "input_tokens": 1247,
        "cached_read_tokens": 920,
        "output_tokens": 183,
        "latency_us": 842_000,
        "upstream_us": 841_200,
        "overhead_us": 800,
        "output_characters": 760,
        **fields,
    }
    values.setdefault("provider", values["model"].split("/")[0])
    values.setdefault("requested_model", values["model"])
    values.setdefault("upstream_model", values["model"].split("/")[-1])
    if "provider_cost_nanousd" not in values and values["model"] in PRICES and "price_state" not in values:
        values.update(_costs(values))
        values.setdefault("receipt", json.dumps({"attempts": [], "prices": _prices(PRICES[values["model"]])}))
    return RequestLog(**values)


def load(
    records: Iterable[RequestLog],
    *,
    feedback: Iterable[FeedbackEvent] = (),
    contents: dict[str, RequestContent] | None = None,
) -> None:
    """Write the records into one spool segment and load it; contents are keyed by request id and left in the clear."""
    for data in segments(records, feedback=feedback, contents=contents):
        result = loader.load(data, open_content=lambda payload: payload)
        assert result.dead_letters == [], result.dead_letters[0].reason


def segments(
    records: Iterable[RequestLog],
    *,
    feedback: Iterable[FeedbackEvent] = (),
    contents: dict[str, RequestContent] | None = None,
) -> Iterator[bytes]:
    """Yield the bytes of the sealed segments that hold these records."""
    with tempfile.TemporaryDirectory() as directory:
        writer = Writer(Path(directory), segment_bytes=1 << 30, segment_seconds=3600)
        for record in records:
            line = request_log.encode(record)
            content = (contents or {}).get(record.request_id)
            writer.intent(record.request_id, line)
            writer.record(record.request_id, line, msgspec.json.encode(content) if content else None)
        for event in feedback:
            writer.event("F", encode_feedback(event))
        sealed = writer.seal()
        if sealed is not None:
            yield sealed.read_bytes()
        writer.close()


@dataclass(frozen=True, slots=True)
class Scope:
    """One workspace and a key of it, as the week uses them."""

    workspace_id: str
    api_key_id: str
    is_test: bool = False
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class _Job:
    """A kind of work that an agent does all week: its size, its model before and after the route change."""

    agent: str
    feature: str
    task_type: str
    weight: float
    input_tokens: int
    output_tokens: int
    before: str
    after: str
    is_pinned: bool = False


_JOBS = (
    _Job(
        "support-triage",
        "ticket-routing",
        "classification",
        5,
        620,
        24,
        "openai/gpt-5.4",
        "mistralai/mistral-small-2603",
    ),
    _Job("support-triage", "reply-draft", "chat", 3, 2100, 340, BASELINE, "anthropic/claude-haiku-4-5"),
    _Job("research-brief", "digest", "summarization", 2.5, 6400, 520, BASELINE, "google/gemini-2.5-flash"),
    _Job("repo-reviewer", "pull-request", "code", 2, 5200, 900, BASELINE, BASELINE, True),
    _Job("invoice-reader", "extract", "extraction", 3, 1800, 210, "openai/gpt-5.4-mini", "deepseek/deepseek-v4-pro"),
    _Job("", "playground", "general", 0.6, 400, 260, "openai/gpt-5.4-mini", "openai/gpt-5.4-mini", True),
)


def week(
    *,
    organization_id: str,
    scopes: Sequence[Scope],
    now: dt.datetime,
    calls: int = 5000,
    days: float = 7,
    seed: int = 7,
    is_simulated: bool = False,
) -> list[RequestLog]:
    """Return plausible calls of the days before `now`: day and night, weekends, caches, errors, fallbacks, one route
    change in the middle that moves most work to cheaper models.
    """
    rng = random.Random(seed)
    start = now - dt.timedelta(days=days)
    changed_at = route_changed_at(now=now, days=days)
    records = []
    while len(records) < calls:
        at = start + dt.timedelta(seconds=rng.uniform(0, days * 86400))
        if rng.random() > _busyness(at):
            continue
        job = rng.choices(_JOBS, [job.weight for job in _JOBS])[0]
        scope = rng.choices(scopes, [scope.weight for scope in scopes])[0]
        model = job.after if at >= changed_at else job.before
        records.append(_call(rng, organization_id, scope, job, model, at, is_simulated=is_simulated or scope.is_test))
    return sorted(records, key=lambda record: record.started_us)


def route_changed_at(*, now: dt.datetime, days: float = 7) -> dt.datetime:
    """Return the moment of the route change in `week`."""
    return now - dt.timedelta(days=days * 0.45)


def seed_week(**arguments: Any) -> list[RequestLog]:
    """Make a `week` and load it; return its records."""
    records = week(**arguments)
    rng = random.Random(11)
    liked = [record for record in records if record.session and not record.error_class and rng.random() < 0.06]
    load(records, feedback=[make_feedback(record, value=float(rng.random() < 0.87)) for record in liked])
    return records


def make_feedback(record: RequestLog, *, value: float = 1.0, comment: str = "") -> FeedbackEvent:
    """Return a thumb on a call, given half a minute after it."""
    return FeedbackEvent(
        organization_id=record.organization_id,
        workspace_id=record.workspace_id,
        idempotency_key=f"thumb:{record.request_id}",
        created_us=record.started_us + 30_000_000,
        request_id=record.request_id,
        name="helpful",
        value=value,
        comment=comment,
        request_started_us=record.started_us,
    )


def _call(
    rng: random.Random,
    organization_id: str,
    scope: Scope,
    job: _Job,
    model: str,
    at: dt.datetime,
    *,
    is_simulated: bool,
) -> RequestLog:
    fate = rng.random()
    error = ""
    if fate < 0.012:
        error = rng.choice(["UpstreamTimeout", "UpstreamError", "UpstreamRateLimited", "RateLimited", "InvalidRequest"])
    is_interrupted = 0.012 <= fate < 0.0135
    is_fallback = not error and 0.02 <= fate < 0.045
    if is_fallback:
        model = rng.choice([other for other in PRICES if other != model])
    is_unused = bool(error) or is_interrupted
    tokens_in = 0 if is_unused else max(12, int(rng.lognormvariate(math.log(job.input_tokens), 0.45)))
    tokens_out = 0 if is_unused else max(3, int(rng.lognormvariate(math.log(job.output_tokens), 0.4)))
    cached = int(tokens_in * rng.uniform(0.4, 0.9)) if rng.random() < 0.45 else 0
    written = (
        int((tokens_in - cached) * 0.6) if model.startswith("anthropic/") and cached == 0 and rng.random() < 0.3 else 0
    )
    first = int(rng.lognormvariate(math.log(380_000), 0.35))
    latency = first + int(tokens_out * rng.uniform(6_000, 14_000))
    if error in {"RateLimited", "InvalidRequest"}:
        latency, first = rng.randint(400, 1500), 0
    is_stream = rng.random() < 0.6
    attempts = 0 if error in {"RateLimited", "InvalidRequest"} else 2 if is_fallback or error else 1
    status = {"UpstreamTimeout": 504, "UpstreamError": 502, "UpstreamRateLimited": 429, "RateLimited": 429}
    provider = model.split("/")[0]
    price = PRICES[model]
    fields: dict[str, Any] = {
        "request_id": "req_" + "".join(rng.choice(_ALPHABET) for _ in range(26)),
        "organization_id": organization_id,
        "workspace_id": scope.workspace_id,
        "api_key_id": scope.api_key_id,
        "agent": job.agent,
        "feature": job.feature,
        "agent_run": f"run-{at:%m%d}-{rng.randint(1, 400)}" if job.agent else "",
        "session": f"s-{at:%m%d}-{rng.randint(1, 900)}" if rng.random() < 0.8 else "",
        "end_user": f"u_{rng.randint(1, 60)}" if rng.random() < 0.7 else "",
        "key_source": request_log.SIMULATED if is_simulated else request_log.MANAGED,
        "is_test": int(scope.is_test),
        "is_simulated": int(is_simulated),
        "started_at": at,
        "is_stream": int(is_stream),
        "state": request_log.INTERRUPTED if is_interrupted else request_log.SETTLED,
        "http_status": 0 if is_interrupted else status.get(error, 400 if error else 200),
        "error_class": error,
        "finish_reason": "" if is_unused else "length" if rng.random() < 0.015 else "stop",
        "requested_model": model if job.is_pinned else "auto",
        "model": model,
        "is_pinned": int(job.is_pinned),
        "task_type": job.task_type,
        "task_confidence": None if job.is_pinned else round(rng.uniform(0.62, 0.99), 3),
        "task_source": "none" if job.is_pinned else "classifier",
        "policy_version": "" if job.is_pinned else "pol_0000000000000000000a",
        "route_reason": "pinned" if job.is_pinned else "policy",
        "attempts": attempts,
        "is_fallback": int(is_fallback),
        "input_tokens": tokens_in,
        "cached_read_tokens": cached,
        "cache_write_tokens": written,
        "output_tokens": tokens_out,
        "reasoning_tokens": int(tokens_out * 0.4) if model == "openai/gpt-5.4" else 0,
        "latency_us": latency,
        "first_token_us": first if is_stream and not is_unused else None,
        "upstream_us": max(0, latency - 700),
        "overhead_us": rng.randint(240, 900),
        "is_truncated": None if is_unused else 0,
        "is_refusal": None if is_unused else int(rng.random() < 0.004),
        "is_json_valid": int(rng.random() > 0.01) if job.task_type == "extraction" and not is_unused else None,
        "output_characters": tokens_out * 4,
        "tags": {"team": "support" if job.agent == "support-triage" else "platform"} if job.agent else {},
        "receipt": _receipt(job, model, provider, price, at, latency, error, is_fallback=is_fallback),
    }
    fields.update(_costs(fields) if not is_unused else {"price_state": request_log.UNUSED})
    if fields["finish_reason"] == "length":
        fields["is_truncated"] = 1
    if not job.is_pinned and not is_unused:
        fields["baseline_model"] = BASELINE
        fields["baseline_cost_nanousd"] = sum(_parts(fields, PRICES[BASELINE]))
    return make_request_log(**fields)


def _receipt(
    job: _Job,
    model: str,
    provider: str,
    price: tuple[int, int, int, int],
    at: dt.datetime,
    latency: int,
    error: str,
    *,
    is_fallback: bool,
) -> str:
    attempts: list[dict[str, Any]] = []
    if is_fallback or error.startswith("Upstream"):
        attempts.append(
            {
                "model": job.before,
                "provider": job.before.split("/")[0],
                "error_class": error or "UpstreamOverloaded",
                "status": 503,
                "latency_ms": latency // 3000,
            }
        )
    if not error:
        attempts.append({"model": model, "provider": provider, "status": 200, "latency_ms": latency // 1000})
    candidates = [{"model": model, "provider": provider}]
    if not job.is_pinned:
        candidates += [
            {
                "model": BASELINE,
                "provider": "anthropic",
                "filtered_out_by": "policy",
                "reason": "The policy names another model for this task.",
            },
            {
                "model": "groq/gpt-oss-120b",
                "provider": "groq",
                "filtered_out_by": "credentials",
                "reason": "No key is configured for this provider.",
            },
        ]
    return json.dumps({"attempts": attempts, "candidates": candidates, "prices": _prices(price)})


def _prices(price: tuple[int, int, int, int]) -> dict[str, int]:
    """Return unit prices as the gateway's receipts keep them; without a price of their own, writes cost as input."""
    names = ("input", "cached_read", "cache_write", "output")
    rates = (price[0], price[1], price[2] or price[0], price[3])
    return {f"{name}_nanousd_per_mtok": rate for name, rate in zip(names, rates, strict=True)}


def _parts(values: dict[str, Any], price: tuple[int, int, int, int]) -> list[int]:
    cached, written = values.get("cached_read_tokens", 0), values.get("cache_write_tokens", 0)
    plain = values["input_tokens"] - cached - written
    # A model without a price for writes charges them as input.
    rates = (price[0], price[1], price[2] or price[0], price[3])
    exact = [
        tokens * rate for tokens, rate in zip((plain, cached, written, values["output_tokens"]), rates, strict=True)
    ]
    total = round(sum(exact) / 1_000_000)
    parts = [amount // 1_000_000 for amount in exact]
    for index in sorted(range(4), key=lambda index: -(exact[index] % 1_000_000))[: max(0, total - sum(parts))]:
        parts[index] += 1
    return parts


def _costs(values: dict[str, Any]) -> dict[str, Any]:
    parts = _parts(values, PRICES[values["model"]])
    is_managed = values.get("key_source", request_log.MANAGED) == request_log.MANAGED
    return {
        "price_state": request_log.PRICED,
        "price_version": "2026-11-20",
        "input_cost_nanousd": parts[0],
        "cached_read_cost_nanousd": parts[1],
        "cache_write_cost_nanousd": parts[2],
        "output_cost_nanousd": parts[3],
        "provider_cost_nanousd": sum(parts),
        "billed_nanousd": sum(parts) if is_managed else 0,
    }


def _busyness(at: dt.datetime) -> float:
    """Return how likely a call is at this time of the week, 0..1."""
    by_hour = 0.18 + 0.82 * math.exp(-(((at.hour + at.minute / 60 - 14) / 4.6) ** 2))
    return by_hour * (0.35 if at.weekday() >= 5 else 1.0)
