from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.statistics import sequential, significance
from analytics.statistics.moments import Proportion, Sample

# GrowthBook, packages/stats/tests/frequentist/test_tests.py (MIT), TestSequentialTTest.
CONTROL = Sample(n=3000, total=1396.87, total_squares=52377.9767)
TREATMENT = Sample(n=3461, total=2422.7, total_squares=134698.29)
N = 6461


@pytest.mark.parametrize(("alpha", "expected"), [(0.05, 0.0398401), (0.01, 0.0480286), (0.001, 0.0574651)])
def test_rho_at_a_tuning_of_5000(alpha: float, expected: float):
    assert sequential.rho(alpha, 5000) == pytest.approx(expected, abs=5e-8)


def test_the_sequence_of_a_mean_is_the_published_one():
    effect = significance.welch(CONTROL, TREATMENT).relative
    assert effect is not None
    half = sequential.half_width(effect.standard_error, N, tuning_n=1000)
    assert effect.standard_error == pytest.approx(0.33341, abs=1e-5)
    assert (effect.value - half, effect.value + half) == pytest.approx((-0.55844, 1.56516), abs=1e-5)
    assert sequential.p_value(effect.value / effect.standard_error, N, tuning_n=1000) == 1.0


def test_the_sequence_of_a_share_is_the_published_one():
    effect = significance.welch(Proportion(3000, 1396), Proportion(3461, 2422)).relative
    assert effect is not None
    half = sequential.half_width(effect.standard_error, N, tuning_n=5000)
    assert effect.standard_error == pytest.approx(0.03386, abs=1e-5)
    assert (effect.value - half, effect.value + half) == pytest.approx((0.40098, 0.60675), abs=1e-5)
    assert sequential.p_value(effect.value / effect.standard_error, N) < 1e-5


def test_the_one_sided_bounds_are_the_published_ones():
    # GrowthBook, TestSequentialOneSidedGreaterTTest.
    result = significance.welch(CONTROL, TREATMENT)
    assert result.relative is not None
    for effect, bound in ((result.relative, -0.42356454602790883), (result.absolute, -0.12656844172804982)):
        half = sequential.one_sided_half_width(effect.standard_error, N, tuning_n=5000)
        assert effect.value - half == pytest.approx(bound, abs=1e-9)


@given(z=st.floats(0.01, 30.0), n=st.integers(2, 10**7))
def test_the_p_value_and_the_sequence_agree(z: float, n: int):
    excludes_zero = sequential.half_width(1.0, n, alpha=0.05) < z
    assert (sequential.p_value(z, n) < 0.05) == excludes_zero or abs(sequential.p_value(z, n) - 0.05) < 1e-9


def test_looking_every_day_raises_false_alarms_with_a_plain_test_and_not_with_the_sequence():
    rng = np.random.default_rng(20261122)
    naive = valid = 0
    for _ in range(400):
        control, treatment = (np.cumsum(rng.binomial(200, 0.92, 30)) for _ in range(2))
        looks = [
            significance.welch(Proportion(200 * day, int(a)), Proportion(200 * day, int(b))).absolute
            for day, (a, b) in enumerate(zip(control, treatment, strict=True), start=1)
        ]
        naive += any(look.p_value < 0.05 for look in looks)
        valid += any(
            sequential.p_value(look.value / look.standard_error, 400 * day) < 0.05
            for day, look in enumerate(looks, start=1)
        )
    assert naive / 400 > 0.2
    assert valid / 400 < 0.05
