"""The verdict on an experiment: its error rate under peeking, its power, and which result leads to which words."""

from __future__ import annotations

import random

import pytest

from analytics import evaluation
from analytics.queries.experiments import Arm, Exposure
from analytics.statistics.moments import RatioSample

NOTHING = RatioSample.of([])


def shares(hits: int, n: int) -> RatioSample:
    return RatioSample.of([(1, 1)] * hits + [(0, 1)] * (n - hits))


def exposure(control: dict[str, RatioSample], treatment: dict[str, RatioSample], **fields: int) -> Exposure:
    arms = []
    for name, samples in ((evaluation.CONTROL, control), (evaluation.TREATMENT, treatment)):
        units = max((sample.n for sample in samples.values()), default=0)
        arms.append(Arm(name, False, units, units, 0, samples))
    return Exposure(tuple(arms), fields.get("units_in_both", 0))


def judged(found: Exposure, primary_metric: str = "success") -> evaluation.Evaluation:
    return evaluation.judge(found, treatment_share=0.5, primary_metric=primary_metric)


def peeked(rng: random.Random, rates: tuple[float, float], *, looks: int, calls: int) -> str:
    """Return the first verdict that settles the experiment, else the last; a session has one to five calls."""
    grown = [NOTHING, NOTHING]
    verdict = ""
    for _ in range(looks):
        for side, rate in enumerate(rates):
            units = []
            while sum(n for _, n in units) < calls:
                n = rng.randint(1, 5)
                p = rng.betavariate(9 * rate, 9 * (1 - rate))  # a conversation goes well or badly as a whole
                units.append((sum(rng.random() < p for _ in range(n)), n))
            grown[side] = grown[side] + RatioSample.of(units)
        verdict = judged(exposure({"success": grown[0]}, {"success": grown[1]})).verdict
        if verdict in {evaluation.SHIP_TREATMENT, evaluation.KEEP_CONTROL}:
            return verdict
    return verdict


def test_two_equal_arms_are_told_apart_in_fewer_than_five_of_a_hundred_experiments_however_often_one_looks():
    rng = random.Random(20261122)
    settled = {evaluation.SHIP_TREATMENT, evaluation.KEEP_CONTROL}
    alarms = sum(peeked(rng, (0.92, 0.92), looks=20, calls=200) in settled for _ in range(120))
    assert alarms <= 6


def test_a_worse_arm_is_found_before_it_has_cost_much():
    rng = random.Random(1)
    found = [peeked(rng, (0.92, 0.84), looks=15, calls=200) for _ in range(30)]
    assert found.count(evaluation.KEEP_CONTROL) >= 27


def test_a_guardrail_that_got_worse_turns_a_win_into_a_trade_off():
    better = {"success": shares(800, 1000)}, {"success": shares(920, 1000)}
    cheap = RatioSample.of([(1000 + n % 7, 1) for n in range(1000)])
    dear = RatioSample.of([(1500 + n % 7, 1) for n in range(1000)])
    assert judged(exposure(*better)).verdict == evaluation.SHIP_TREATMENT
    found = judged(exposure(better[0] | {"cost": cheap}, better[1] | {"cost": dear}))
    assert (found.verdict, found.worse_guardrails) == (evaluation.TRADE_OFF, ("cost",))


def test_a_cheaper_arm_wins_where_cost_decides_and_success_watches():
    control = {"cost": RatioSample.of([(1500 + n % 7, 1) for n in range(1000)]), "success": shares(920, 1000)}
    treatment = {"cost": RatioSample.of([(1000 + n % 7, 1) for n in range(1000)]), "success": shares(915, 1000)}
    assert judged(exposure(control, treatment), "cost").verdict == evaluation.SHIP_TREATMENT
    worse = treatment | {"success": shares(800, 1000)}
    assert judged(exposure(control, worse), "cost").verdict == evaluation.TRADE_OFF


def test_feedback_is_judged_by_its_most_frequent_name():
    def arm(mean: float) -> dict[str, RatioSample]:
        often = RatioSample.of([(float(n < mean * 400), 1) for n in range(400)])
        return {"success": shares(380, 400), "feedback:helpful": often, "feedback:tone": shares(1, 120)}

    found = judged(exposure(arm(0.9), arm(0.6)), "feedback")
    assert found.verdict == evaluation.KEEP_CONTROL
    assert found.metrics[0].effect is not None
    assert found.metrics[0].effect.calls_control == 400


def test_an_arm_without_calls_yet_waits_for_data():
    found = judged(exposure({"success": shares(9, 10)}, {}))
    assert found.verdict == evaluation.NO_DIFFERENCE_YET
    assert found.calls_missing == 190


def test_no_calls_at_all_are_no_broken_split():
    found = judged(Exposure((), 0))
    assert (found.verdict, found.split.is_broken, found.is_test_traffic) == (
        evaluation.NO_DIFFERENCE_YET,
        False,
        False,
    )


def test_a_broken_split_outweighs_a_clear_win():
    found = judged(exposure({"success": shares(500, 1000)}, {"success": shares(1190, 1200)}))
    assert found.verdict == evaluation.BROKEN_SPLIT


@pytest.mark.parametrize(("crossed", "is_flagged"), [(0, False), (20, False), (21, True)])
def test_units_in_both_arms_are_flagged_above_one_in_a_hundred(crossed: int, is_flagged: bool):
    found = judged(exposure({"success": shares(9, 1000)}, {"success": shares(9, 1000)}, units_in_both=crossed))
    assert found.is_crossed is is_flagged


def test_every_metric_that_can_decide_exists():
    assert {evaluation.metric_of(name).good for name in evaluation.PRIMARY_METRICS} <= {1, -1}
