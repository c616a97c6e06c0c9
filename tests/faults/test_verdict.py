"""The verdict notices each thing that can go wrong: a comparison that cannot fail proves nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analytics import request_log
from tests.faults.load import CUT, REFUSED, WHOLE, Seen, _is_whole
from tests.faults.verdict import Evidence, Posted, Recorded, judge, table


def recorded(number: int, state: str = "settled", status: int = 200) -> Recorded:
    return Recorded(number, f"req_{number}", state, status, billed_nanousd=100, provider_cost_nanousd=90)


def make_evidence() -> Evidence:
    """Four calls: one whole, one killed at second 10, one refused, one whole while the gateway is left alone."""
    rows = [recorded(1), recorded(2, "interrupted", 0), recorded(4)]
    return Evidence(
        seen=[
            Seen(1, 1.0, 2.0, WHOLE, "req_1", 200),
            Seen(2, 9.5, 10.1, CUT),
            Seen(3, 11.0, 11.1, REFUSED),
            Seen(4, 21.0, 22.0, WHOLE, "req_4", 200),
        ],
        asked=frozenset({1, 2, 4}),
        kills=[10.0],
        calm_from=20.0,
        recorded=rows,
        posted=Posted(3, 300, 270, sum(request_log.digest(row.request_id) for row in rows) % 2**63),
    )


def broken(evidence: Evidence) -> list[str]:
    return [finding.claim for finding in judge(evidence) if not finding.holds]


def test_a_run_in_which_everything_is_right_holds() -> None:
    assert broken(make_evidence()) == []


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"asked": frozenset({1, 2, 4, 5})}, "every call in the upstream's journal has a record"),
        ({"recorded": [recorded(1), recorded(2), replace(recorded(2), request_id="req_x")]}, "no call has two records"),
        ({"recorded": [recorded(1), recorded(2), recorded(2)]}, "no row stands twice"),
        (
            {"recorded": [recorded(1, "interrupted"), recorded(2)]},
            "every completion that a client saw whole is settled",
        ),
        ({"recorded": [recorded(2)]}, "every completion that a client saw whole is settled"),
        ({"recorded": [replace(recorded(1), request_id="req_9")]}, "its record is the one that its receipt names"),
        ({"kills": [50.0]}, "only calls in flight at a kill are interrupted"),
        ({"calm_from": 11.0}, "no call fails because worker, stores or broker are away"),
        ({"posted": Posted(4, 300, 270, 0)}, "the ledger counts the calls of the log store"),
        ({"posted": Posted(3, 301, 270, 0)}, "the ledger bills what the log store shows"),
        ({"posted": Posted(3, 300, 271, 0)}, "the ledger's provider cost is the log store's"),
        ({"posted": Posted(3, 300, 270, 5)}, "the ledger and the log store hold the same calls (digest)"),
        ({"dead_letters": 1}, "nothing is left over (dead letters, unshipped or damaged segments)"),
        ({"unshipped_segments": 1}, "nothing is left over (dead letters, unshipped or damaged segments)"),
        ({"seen": []}, "every completion that a client saw whole is settled"),
    ],
)
def test_it_notices(change: dict[str, object], claim: str) -> None:
    evidence = replace(make_evidence(), **change)
    assert claim in broken(evidence)
    assert claim in table(judge(evidence))


def test_a_completion_is_whole_only_with_its_end() -> None:
    chunk = 'data: {"choices":[{"finish_reason":null}]}\n\n'
    last = 'data: {"choices":[{"finish_reason":"stop"}]}\n\n'
    error = 'data: {"error":{"message":"cut"}}\n\n'
    done = "data: [DONE]\n\n"
    assert _is_whole(chunk + last + done, is_stream=True)
    assert not _is_whole(chunk + last, is_stream=True)
    assert not _is_whole(chunk + done, is_stream=True)
    assert not _is_whole(chunk + last + error + done, is_stream=True)
    assert _is_whole('{"choices":[{"finish_reason":"stop"}]}', is_stream=False)
