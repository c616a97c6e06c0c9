from __future__ import annotations

import math

import numpy as np
import pytest

from analytics.statistics import effects
from analytics.statistics.effects import Scale
from analytics.statistics.moments import RatioSample


def bernoulli(hits: int, n: int) -> RatioSample:
    return RatioSample.of([(1, 1)] * hits + [(0, 1)] * (n - hits))


def test_the_result_for_any_time_is_wider_and_less_certain_than_the_one_for_one_look():
    effect = effects.between(bernoulli(460, 500), bernoulli(430, 500), scale=Scale.SHARE)
    assert effect.anytime_lower < effect.lower < effect.value < effect.upper < effect.anytime_upper
    assert effect.p_value < effect.anytime_p_value <= 1.0


def test_the_logarithms_scale_is_the_ratio_of_geometric_means():
    rng = np.random.default_rng(1)
    left, right = rng.lognormal(6.0, 0.5, 4000), rng.lognormal(6.2, 0.5, 4000)
    sides = (RatioSample.of((math.log(x), 1) for x in side.tolist()) for side in (left, right))
    effect = effects.between(*sides, scale=Scale.LOG)
    assert effect.mean_control == pytest.approx(math.exp(np.log(left).mean()))
    assert effect.value == pytest.approx(math.exp(np.log(right).mean() - np.log(left).mean()) - 1)
    assert effect.relative == effect.value
    assert effect.lower < math.exp(0.2) - 1 < effect.upper


def test_a_narrow_interval_around_zero_rules_out_a_change_that_matters():
    wide = effects.between(bernoulli(90, 100), bernoulli(90, 100), scale=Scale.SHARE)
    narrow = effects.between(bernoulli(9000, 10000), bernoulli(9000, 10000), scale=Scale.SHARE)
    assert not effects.excludes_margin(wide, 0.03)
    assert effects.excludes_margin(narrow, 0.03)


def test_the_margin_of_a_logarithm_is_on_the_scale_of_the_test():
    units = [(math.log(100) + (x % 10) / 100, 1) for x in range(2000)]
    effect = effects.between(RatioSample.of(units), RatioSample.of(units), scale=Scale.LOG)
    assert effects.excludes_margin(effect, 0.1)
    assert not effects.excludes_margin(effect, 0.001)


def test_the_missing_calls_are_about_enough():
    effect = effects.between(bernoulli(360, 400), bernoulli(360, 400), scale=Scale.SHARE)
    missing = effects.calls_missing(effect, 0.03)
    factor = (800 + missing) / 800
    rng = np.random.default_rng(2)
    n = round(400 * factor)
    seen = 0
    for _ in range(300):
        left, right = rng.binomial(n, 0.9), rng.binomial(n, 0.87)
        seen += (
            effects.between(bernoulli(int(left), n), bernoulli(int(right), n), scale=Scale.SHARE).anytime_p_value < 0.05
        )
    assert 0.6 < seen / 300 < 0.95  # 0.8 was asked for; the worse share scatters more than the one seen so far


def test_where_a_smaller_change_could_be_seen_already_nothing_is_missing():
    effect = effects.between(bernoulli(90000, 100000), bernoulli(90000, 100000), scale=Scale.SHARE)
    assert effects.calls_missing(effect, 0.03) == 0


def test_one_unit_on_a_side_is_refused():
    with pytest.raises(ValueError, match="two units"):
        effects.between(bernoulli(1, 1), bernoulli(1, 2), scale=Scale.SHARE)


@pytest.mark.parametrize("scale", list(Scale))
def test_constant_sides_give_finite_numbers(scale: Scale):
    effect = effects.between(bernoulli(50, 50), bernoulli(50, 50), scale=scale)
    assert effect.value == 0.0
    assert effect.anytime_p_value == 1.0
    apart = effects.between(bernoulli(0, 50), bernoulli(50, 50), scale=scale)
    assert apart.anytime_p_value < 1e-6
    assert all(math.isfinite(x) for x in (apart.lower, apart.upper, apart.anytime_lower, apart.anytime_upper))
