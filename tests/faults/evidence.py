"""Ask the upstream, the log store, the ledger and the spool what they hold after a run."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Sequence

from tests.faults.load import Seen
from tests.faults.stack import Stack, StackError
from tests.faults.verdict import Evidence, Posted, Recorded

_JOURNAL_CAPACITY = 10_000
_MARKER = re.compile(r"call-(\d{6})")


def collect(stack: Stack, *, seen: Sequence[Seen], kills: Sequence[float], calm_from: float) -> Evidence:
    """Return what everybody holds now; Django must be set up with the stack's environment.

    Raises:
        StackError: the upstream's journal is full, so it has forgotten calls.
    """
    from billing.models import DeadLetter

    return Evidence(
        seen=seen,
        asked=_asked(stack),
        kills=kills,
        calm_from=calm_from,
        recorded=_recorded(),
        posted=_posted(),
        dead_letters=DeadLetter.objects.count(),
        unshipped_segments=len(list(stack.spool.glob("*.sealed"))) + len(list(stack.spool.glob("*.open"))),
        damaged_segments=len(list(stack.spool.glob("*.damaged"))),
    )


def loaded_segments() -> int:
    """Return how many segments the ledger has."""
    from billing.models import LoadedSegment

    return LoadedSegment.objects.count()


def _asked(stack: Stack) -> frozenset[int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.upstream_port}/_llmock/requests", timeout=60) as answer:
        journal = json.load(answer)
    entries = journal["requests"] if isinstance(journal, dict) else journal
    if len(entries) >= _JOURNAL_CAPACITY:
        raise StackError("The upstream's journal is full. Use fewer kills, fewer seconds or a lower --rate.")
    return frozenset(int(number) for entry in entries for number in _MARKER.findall(json.dumps(entry.get("body"))))


def _recorded() -> list[Recorded]:
    from analytics.clickhouse import client

    rows = client.query(
        """
        SELECT session, request_id, state, http_status, billed_nanousd, provider_cost_nanousd
        FROM request_logs
        WHERE session LIKE 'call-%'
        """
    )
    return [
        Recorded(int(session.removeprefix("call-")), request_id, state, http_status, billed_nanousd, cost_nanousd)
        for session, request_id, state, http_status, billed_nanousd, cost_nanousd in rows
    ]


def _posted() -> Posted:
    from django.db.models import Sum

    from billing.models import UsageEntry

    sums = UsageEntry.objects.aggregate(
        calls=Sum("calls"), billed=Sum("billed_nanousd"), cost=Sum("provider_cost_nanousd"), digest=Sum("digest")
    )
    return Posted(
        calls=int(sums["calls"] or 0),
        billed_nanousd=int(sums["billed"] or 0),
        provider_cost_nanousd=int(sums["cost"] or 0),
        digest=int(sums["digest"] or 0) % 2**63,
    )
