"""Golden values from published sources, equivalence with scipy on raw data, properties, and a simulated error rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analytics.statistics import significance
from analytics.statistics.moments import Proportion, RatioSample, Sample

# GrowthBook, packages/stats/tests/frequentist/test_tests.py (MIT), TestTwoSidedTTest: inputs and results.
GROWTHBOOK_CONTROL = Sample(n=3407, total=1396.87, total_squares=52377.9767)
GROWTHBOOK_TREATMENT = Sample(n=3461, total=2422.7, total_squares=134698.29)

shares = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_welch_gives_the_absolute_difference_that_growthbook_publishes():
    result = significance.welch(GROWTHBOOK_CONTROL, GROWTHBOOK_TREATMENT).absolute
    assert result.value == pytest.approx(0.29, abs=1e-5)
    assert (result.lower, result.upper) == pytest.approx((0.04538, 0.53462), abs=1e-5)
    assert result.standard_error == pytest.approx(0.12478, abs=1e-5)
    assert result.p_value == pytest.approx(0.02016, abs=1e-5)


def test_welch_gives_the_relative_difference_that_growthbook_publishes():
    result = significance.welch(GROWTHBOOK_CONTROL, GROWTHBOOK_TREATMENT).relative
    assert result is not None
    assert result.value == pytest.approx(0.70732, abs=1e-5)
    assert (result.lower, result.upper) == pytest.approx((-0.03526, 1.44989), abs=1e-5)
    assert result.standard_error == pytest.approx(0.37879, abs=1e-5)
    assert result.p_value == pytest.approx(0.06191, abs=1e-5)


def test_welch_on_shares_gives_the_relative_difference_that_growthbook_publishes():
    result = significance.welch(Proportion(28, 14), Proportion(30, 16)).relative
    assert result is not None
    assert result.value == pytest.approx(0.06667, abs=1e-5)
    assert (result.lower, result.upper) == pytest.approx((-0.47767, 0.61101), abs=1e-5)
    assert result.p_value == pytest.approx(0.80707, abs=1e-5)


def test_newcombe_gives_the_published_interval_of_7_of_34_against_1_of_34():
    # Fagerland, Lydersen & Laake 2015; R package PropCIs.
    assert significance.newcombe(Proportion(34, 1), Proportion(34, 7)) == pytest.approx((0.019, 0.340), abs=5e-4)


def test_welch_on_sufficient_statistics_equals_scipy_on_the_raw_data():
    rng = np.random.default_rng(7)
    control, treatment = rng.normal(5.0, 2.0, 83), rng.normal(5.6, 3.0, 41)
    result = significance.welch(Sample.of(control.tolist()), Sample.of(treatment.tolist())).absolute
    reference = stats.ttest_ind(treatment, control, equal_var=False)
    interval = reference.confidence_interval(0.95)
    assert result.p_value == pytest.approx(reference.pvalue, rel=1e-9)
    assert (result.lower, result.upper) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_the_share_test_is_the_n_minus_1_chi_square():
    table = np.array([[40, 60], [55, 47]])
    chi = stats.chi2_contingency(table, correction=False).statistic * (table.sum() - 1) / table.sum()
    assert significance.proportion_p_value(Proportion(100, 40), Proportion(102, 55)) == pytest.approx(
        stats.chi2.sf(chi, 1), rel=1e-9
    )


@pytest.mark.parametrize(("x1", "n1", "x2", "n2"), [(0, 500, 1, 300), (0, 12, 3, 9), (7, 8, 0, 5), (1, 4000, 0, 3)])
def test_fisher_irwin_equals_scipy(x1: int, n1: int, x2: int, n2: int):
    reference = stats.fisher_exact([[x1, n1 - x1], [x2, n2 - x2]]).pvalue
    assert significance.fisher_irwin(x1, n1, x2, n2) == pytest.approx(reference, rel=1e-6)


def test_a_ratio_with_one_call_a_unit_is_a_plain_mean():
    values = [1.5, 2.0, 7.25, 3.0, 4.5]
    ratio, sample = RatioSample.of((value, 1) for value in values), Sample.of(values)
    assert (ratio.mean, ratio.variance) == pytest.approx((sample.mean, sample.variance))


def test_the_delta_method_matches_the_spread_of_simulated_ratios():
    rng = np.random.default_rng(11)

    def units() -> RatioSample:
        calls = rng.integers(1, 9, 400)
        cost = calls * rng.normal(2.0, 0.3, 400) + rng.normal(0.0, 1.0, 400)
        return RatioSample.of(zip(cost.tolist(), calls.tolist(), strict=True))

    samples = [units() for _ in range(400)]
    promised = math.sqrt(sum(sample.variance / sample.n for sample in samples) / len(samples))
    assert promised == pytest.approx(float(np.std([sample.mean for sample in samples])), rel=0.1)


@given(control=shares, treatment=shares)
def test_newcombe_holds_the_difference_and_stays_within_one(control: tuple[int, int], treatment: tuple[int, int]):
    left, right = Proportion(control[1], control[0]), Proportion(treatment[1], treatment[0])
    lower, upper = significance.newcombe(left, right)
    assert -1.0 <= lower <= right.mean - left.mean + 1e-12
    assert right.mean - left.mean - 1e-12 <= upper <= 1.0


@given(control=shares, treatment=shares)
def test_swapping_the_sides_turns_the_sign_and_keeps_the_p_value(control: tuple[int, int], treatment: tuple[int, int]):
    left, right = Proportion(control[1], control[0]), Proportion(treatment[1], treatment[0])
    forth, back = significance.proportions(left, right), significance.proportions(right, left)
    assert 0.0 <= forth.absolute.p_value <= 1.0
    assert forth.absolute.p_value == pytest.approx(back.absolute.p_value, rel=1e-9)
    assert (forth.absolute.lower, forth.absolute.upper) == pytest.approx((-back.absolute.upper, -back.absolute.lower))


def test_constant_and_equal_sides_do_not_differ():
    result = significance.welch(Sample.of([0.1] * 50), Sample.of([0.1] * 70))
    assert (result.absolute.value, result.absolute.p_value) == (0.0, 1.0)


def test_one_unit_is_refused_with_a_reason():
    with pytest.raises(ValueError, match="two units"):
        significance.welch(Sample.of([1.0]), Sample.of([1.0, 2.0]))


def test_an_empty_side_is_refused_with_a_reason():
    with pytest.raises(ValueError, match="one unit"):
        significance.proportions(Proportion(0, 0), Proportion(4, 1))


def test_equal_shares_are_called_different_about_five_times_in_a_hundred():
    rng = np.random.default_rng(20261122)
    control, treatment = rng.binomial(300, 0.9, 2000), rng.binomial(200, 0.9, 2000)
    alarms = sum(
        significance.proportion_p_value(Proportion(300, int(a)), Proportion(200, int(b))) < 0.05
        for a, b in zip(control, treatment, strict=True)
    )
    assert 0.038 < alarms / 2000 < 0.062


def test_clustered_calls_keep_the_error_rate_and_ignoring_the_clusters_would_not():
    rng = np.random.default_rng(3)
    clustered = naive = 0
    for _ in range(600):
        sides = []
        for _ in range(2):
            rates = rng.beta(1.8, 0.2, 120)  # sessions differ: most answer well, some hardly ever
            calls = rng.integers(1, 20, 120)
            sides.append(RatioSample.of(zip(rng.binomial(calls, rates).tolist(), calls.tolist(), strict=True)))
        left, right = sides
        clustered += significance.proportion_p_value(left.as_proportion(), right.as_proportion()) < 0.05
        naive += (
            significance.proportion_p_value(
                Proportion(int(left.denominator), left.numerator), Proportion(int(right.denominator), right.numerator)
            )
            < 0.05
        )
    assert clustered / 600 < 0.08
    assert naive / 600 > 0.3
