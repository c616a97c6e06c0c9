from __future__ import annotations

import subprocess
import sys
import timeit

import pytest

from analytics import assignment
from analytics.statistics import srm

HALVES = (("control", 0.5), ("treatment", 0.5))


@pytest.mark.parametrize(
    ("salt", "unit", "arm"),
    [
        ("exp_1", "session-1", "control"),
        ("exp_1", "session-2", "control"),
        ("exp_2", "session-1", "treatment"),
        ("exp_1", "séance-Ω", "control"),
        ("exp_1", "", "treatment"),
    ],
)
def test_an_assignment_never_changes(salt: str, unit: str, arm: str):
    assert assignment.assign(salt, unit, HALVES) == arm


def test_arms_get_their_shares():
    arms = (("a", 0.1), ("b", 0.6), ("c", 0.3))
    counts = dict.fromkeys("abc", 0)
    for number in range(50_000):
        counts[assignment.assign("salt", f"ses_{number}", arms)] += 1
    assert srm.check(list(counts.values()), [0.1, 0.6, 0.3]).p_value > 0.001


def test_two_experiments_split_independently():
    counts = {("control", "control"): 0, ("control", "treatment"): 0, ("treatment", "control"): 0}
    counts[("treatment", "treatment")] = 0
    for number in range(20_000):
        unit = f"user-{number}"
        counts[(assignment.assign("exp_a", unit, HALVES), assignment.assign("exp_b", unit, HALVES))] += 1
    assert srm.check(list(counts.values()), [1, 1, 1, 1]).p_value > 0.001


def test_the_scale_of_the_shares_does_not_matter():
    percent = (("control", 90), ("treatment", 10))
    ratio = (("control", 0.9), ("treatment", 0.1))
    units = [f"u{number}" for number in range(2000)]
    assert [assignment.assign("s", unit, percent) for unit in units] == [
        assignment.assign("s", unit, ratio) for unit in units
    ]


def test_a_growing_share_takes_units_and_gives_none_back():
    units = [f"u{number}" for number in range(5000)]
    small = {unit for unit in units if assignment.assign("s", unit, (("t", 0.1), ("c", 0.9))) == "t"}
    large = {unit for unit in units if assignment.assign("s", unit, (("t", 0.5), ("c", 0.5))) == "t"}
    assert small < large


def test_an_arm_without_a_share_gets_nobody():
    assert {assignment.assign("s", f"u{n}", (("a", 0.0), ("b", 1.0), ("c", 0.0))) for n in range(500)} == {"b"}


@pytest.mark.parametrize("arms", [(), (("a", 0.0),)])
def test_no_share_at_all_is_refused(arms: tuple[tuple[str, float], ...]):
    with pytest.raises(ValueError, match="positive share"):
        assignment.assign("s", "u", arms)


def test_it_takes_microseconds():
    seconds = min(timeit.repeat(lambda: assignment.assign("exp_1", "session-1", HALVES), number=2000, repeat=5))
    assert seconds / 2000 < 10e-6  # about 1.5 on an idle core; the margin is for a busy machine


def test_importing_it_costs_no_numpy():
    code = "import sys, analytics.assignment, analytics.statistics.significance, analytics.statistics.sequential; "
    code += "print(any(m.split('.')[0] in {'numpy', 'scipy', 'django'} for m in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert answer.stdout.strip() == "False"
