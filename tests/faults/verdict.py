"""Compare what clients and the upstream saw with what was recorded and posted. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from analytics import request_log
from tests.faults.load import WHOLE, Seen

# A client notices a kill a little after it, and its clock reading of the start lies a little before the call.
_SLACK_S = 0.25


@dataclass(frozen=True, slots=True)
class Recorded:
    """One row of the log store, as it lies there (duplicates included)."""

    number: int
    request_id: str
    state: str
    http_status: int
    billed_nanousd: int
    provider_cost_nanousd: int


@dataclass(frozen=True, slots=True)
class Posted:
    """The sums of the ledger."""

    calls: int
    billed_nanousd: int
    provider_cost_nanousd: int
    digest: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was seen. `asked` are the calls in the upstream's journal, `kills` the gateway's deaths;
    from `calm_from` on the gateway was left alone, whatever happened to the others."""

    seen: Sequence[Seen]
    asked: frozenset[int]
    kills: Sequence[float]
    calm_from: float
    recorded: Sequence[Recorded]
    posted: Posted
    dead_letters: int = 0
    unshipped_segments: int = 0
    damaged_segments: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim: how many cases it was checked on, and those that break it."""

    claim: str
    checked: int
    broken: Sequence[object] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Return whether the claim was checked on something and nothing breaks it."""
        return self.checked > 0 and not self.broken


def judge(evidence: Evidence) -> list[Finding]:
    """Return every claim that must hold, with what breaks it."""
    recorded, posted = evidence.recorded, evidence.posted
    rows = Counter(row.number for row in recorded)
    by_number = {row.number: row for row in recorded}
    by_request_id = Counter(row.request_id for row in recorded)
    whole = [call for call in evidence.seen if call.outcome == WHOLE]
    calm = [call for call in evidence.seen if call.started_at >= evidence.calm_from]
    in_flight = _in_flight_at_a_kill(evidence)
    interrupted = [row.number for row in recorded if row.state == request_log.INTERRUPTED]
    ids = {row.request_id: row for row in recorded}.values()
    return [
        Finding(
            "every call in the upstream's journal has a record",
            len(evidence.asked),
            sorted(number for number in evidence.asked if not rows[number]),
        ),
        Finding("no call has two records", len(rows), sorted(number for number, count in rows.items() if count > 1)),
        Finding(
            "no row stands twice", len(by_request_id), [name for name, count in by_request_id.items() if count > 1]
        ),
        Finding(
            "every completion that a client saw whole is settled",
            len(whole),
            [call.number for call in whole if not _is_settled(by_number.get(call.number))],
        ),
        Finding(
            "its record is the one that its receipt names",
            len(whole),
            [call.number for call in whole if _request_id(by_number.get(call.number)) != call.request_id],
        ),
        Finding(
            "only calls in flight at a kill are interrupted",
            len(recorded),
            sorted(number for number in interrupted if number not in in_flight),
        ),
        Finding(
            "no call fails because worker, stores or broker are away",
            len(calm),
            [call.number for call in calm if call.outcome != WHOLE],
        ),
        Finding("the ledger counts the calls of the log store", len(ids), _difference(len(ids), posted.calls)),
        Finding(
            "the ledger bills what the log store shows",
            sum(row.billed_nanousd for row in ids),
            _difference(sum(row.billed_nanousd for row in ids), posted.billed_nanousd),
        ),
        Finding(
            "the ledger's provider cost is the log store's",
            sum(row.provider_cost_nanousd for row in ids),
            _difference(sum(row.provider_cost_nanousd for row in ids), posted.provider_cost_nanousd),
        ),
        Finding(
            "the ledger and the log store hold the same calls (digest)",
            len(ids),
            _difference(sum(request_log.digest(row.request_id) for row in ids) % 2**63, posted.digest),
        ),
        Finding(
            "nothing is left over (dead letters, unshipped or damaged segments)",
            len(recorded),
            _difference(0, evidence.dead_letters)
            + _difference(0, evidence.unshipped_segments)
            + _difference(0, evidence.damaged_segments),
        ),
    ]


def table(findings: Iterable[Finding]) -> str:
    """Return the findings as text, one a line, with the first cases that break a claim."""
    lines = []
    for finding in findings:
        verdict = "holds" if finding.holds else "BROKEN" if finding.broken else "NOT CHECKED"
        broken = ", ".join(str(case) for case in finding.broken[:8])
        lines.append(f"{finding.claim:<68} {finding.checked:>12,} {len(finding.broken):>7,}  {verdict:<11} {broken}")
    return "\n".join([f"{'claim':<68} {'checked':>12} {'broken':>7}  verdict", *(line.rstrip() for line in lines)])


def _in_flight_at_a_kill(evidence: Evidence) -> set[int]:
    return {
        call.number
        for call in evidence.seen
        if any(call.started_at - _SLACK_S <= kill <= call.ended_at + _SLACK_S for kill in evidence.kills)
    }


def _is_settled(row: Recorded | None) -> bool:
    return row is not None and row.state == request_log.SETTLED and row.http_status == 200


def _request_id(row: Recorded | None) -> str:
    return "" if row is None else row.request_id


def _difference(left: int, right: int) -> list[str]:
    return [] if left == right else [f"{left} != {right}"]
