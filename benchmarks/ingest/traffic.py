"""Plausible calls of many tenants, and the sealed segments that a gateway process would have made of them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from analytics import request_log, spool
from analytics.request_log import RequestLog

MODELS = (
    ("openai/gpt-5.4-mini", "openai", 250, 2000),
    ("openai/gpt-5.4", "openai", 1250, 10000),
    ("anthropic/claude-haiku-4-5", "anthropic", 1000, 5000),
    ("google/gemini-2.5-flash", "google", 300, 2500),
    ("deepseek/deepseek-v4-pro", "deepseek", 435, 870),
)
TASKS = ("general", "classification", "extraction", "summarization", "code")
CALLS_A_SECOND = 5000
TEMPLATES = 4000


@dataclass(slots=True)
class Expected:
    """What both stores must hold in the end."""

    records: int = 0
    provider_cost_nanousd: int = 0
    billed_nanousd: int = 0
    digest: int = 0
    segments: list[tuple[str, Path, str]] = field(default_factory=list)  # id, file with the packed body, sha256


def write_segments(
    directory: Path, *, records: int, segment_bytes: int, start_us: int, organizations: int, seed: int
) -> Expected:
    """Write the calls through the spool, an intent and a record each; keep each sealed segment packed as a message."""
    expected = Expected()
    spool_directory = directory / "spool"
    spool_directory.mkdir(parents=True)
    writer = spool.Writer(spool_directory, segment_bytes=segment_bytes, segment_seconds=3600)
    for record in _calls(records, start_us=start_us, organizations=organizations, seed=seed):
        writer.intent(record.request_id, request_log.encode(_intent(record)))
        writer.record(record.request_id, request_log.encode(record))
        expected.records += 1
        expected.provider_cost_nanousd += record.provider_cost_nanousd
        expected.billed_nanousd += record.billed_nanousd
        expected.digest += request_log.digest(record.request_id)
        if expected.records % 256 == 0 and writer.rotate() is not None:
            _pack(spool_directory, directory, expected)
    writer.close()
    _pack(spool_directory, directory, expected)
    shutil.rmtree(spool_directory)
    expected.digest %= 2**63
    return expected


def _pack(spool_directory: Path, directory: Path, expected: Expected) -> None:
    for path in sorted(spool_directory.glob("*.sealed")):
        body, sha256 = spool.pack(path.read_bytes())
        packed = directory / f"{path.stem}.body"
        packed.write_text(body, encoding="ascii")
        expected.segments.append((path.stem, packed, sha256))
        path.unlink()


def _calls(records: int, *, start_us: int, organizations: int, seed: int) -> Iterator[RequestLog]:
    rng = random.Random(seed)
    templates = [_template(rng, organizations) for _ in range(TEMPLATES)]
    prices = {model: (rate_in, rate_out) for model, _, rate_in, rate_out in MODELS}
    replace = msgspec.structs.replace
    started_us = start_us
    for _ in range(records):
        started_us += int(rng.expovariate(CALLS_A_SECOND) * 1_000_000)
        template = templates[int(rng.random() * TEMPLATES)]
        input_tokens = int(rng.lognormvariate(6.8, 0.8))
        output_tokens = int(rng.lognormvariate(4.8, 0.9))
        rate_in, rate_out = prices[template.model]
        costs = (input_tokens * rate_in, output_tokens * rate_out)
        latency_us = 300_000 + output_tokens * 8000
        yield replace(
            template,
            request_id=f"req_{started_us // 1000:012x}{rng.getrandbits(56):014x}",
            started_us=started_us,
            session=f"s-{rng.getrandbits(20):x}",
            end_user=f"u_{rng.getrandbits(16):x}",
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            input_cost_nanousd=costs[0],
            output_cost_nanousd=costs[1],
            provider_cost_nanousd=sum(costs),
            billed_nanousd=sum(costs),
            baseline_cost_nanousd=input_tokens * 3000 + output_tokens * 15000,
            latency_us=latency_us,
            first_token_us=latency_us // 4,
            upstream_us=latency_us - 400,
            overhead_us=200 + rng.getrandbits(9),
            output_characters=output_tokens * 4,
        )


def _intent(record: RequestLog) -> RequestLog:
    return RequestLog(
        request_id=record.request_id,
        organization_id=record.organization_id,
        workspace_id=record.workspace_id,
        api_key_id=record.api_key_id,
        agent=record.agent,
        started_us=record.started_us,
        state=request_log.INTERRUPTED,
        requested_model=record.requested_model,
        model=record.model,
        provider=record.provider,
    )


def _template(rng: random.Random, organizations: int) -> RequestLog:
    # Few tenants make most of the traffic.
    tenant = min(int(rng.paretovariate(1.0)) - 1, organizations - 1)
    model, provider, *_ = rng.choice(MODELS)
    workspace = rng.randrange(2)
    return RequestLog(
        request_id="",
        organization_id=f"org_{tenant:020d}",
        workspace_id=f"ws_{tenant:018d}{workspace:02d}",
        api_key_id=f"key_{tenant:016d}{workspace:02d}{rng.randrange(2):02d}",
        agent=rng.choice(["support-triage", "repo-reviewer", "invoice-reader", ""]),
        feature=rng.choice(["reply-draft", "ticket-routing", ""]),
        started_us=0,
        is_stream=rng.randrange(2),
        http_status=200,
        finish_reason="stop",
        native_finish_reason="stop",
        requested_model="auto",
        model=model,
        provider=provider,
        upstream_model=model.partition("/")[2],
        is_pinned=0,
        task_type=rng.choice(TASKS),
        task_confidence=round(rng.random(), 3),
        task_source="classifier",
        policy_version=f"pol_{tenant:020d}",
        route_reason="policy",
        attempts=1,
        price_state=request_log.PRICED,
        price_version="2026-11-20",
        baseline_model="anthropic/claude-sonnet-4-6",
        is_truncated=0,
        is_refusal=0,
        tags={"team": rng.choice(["support", "platform", "finance"])},
        receipt=json.dumps(
            {
                "attempts": [{"model": model, "provider": provider, "status": 200, "latency_ms": rng.randrange(5000)}],
                "prices": {"input": 250_000_000, "output": 2_000_000_000},
                "candidates": [{"model": name, "provider": maker} for name, maker, *_ in MODELS[:3]],
            },
            separators=(",", ":"),
        ),
    )
