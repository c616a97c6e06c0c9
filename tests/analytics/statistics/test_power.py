from __future__ import annotations

import pytest

from analytics.statistics import power


def test_the_sample_size_of_rs_power_prop_test():
    # R, help page of power.prop.test: p1 = .50, p2 = .75, power = .90 gives n = 76.7.
    assert power.units_per_arm_for_shares(0.5, 0.75, power=0.9) == pytest.approx(76.7, abs=0.05)


def test_the_power_of_rs_power_prop_test():
    # Same page: n = 50, p1 = .50, p2 = .75 gives power = .740.
    assert power.power_for_shares(0.5, 0.75, units_per_arm=50) == pytest.approx(0.740, abs=5e-4)


@pytest.mark.parametrize(
    ("variance", "effect", "alpha", "chance", "total"),
    [
        (100.0, 0.3, 0.05, 0.85, 39906),
        (0.34 * 0.66, 0.003, 0.05, 0.85, 897348),
        (0.34 * 0.66, 0.003, 0.14, 0.85, 630710),
        (0.34 * 0.66, 0.003, 0.14, 0.67, 366424),
    ],
)
def test_the_sample_sizes_of_g_power(variance: float, effect: float, alpha: float, chance: float, total: int):
    # G*Power, as cited in the tests of spotify/confidence; they allow 0.5 %.
    needed = power.units_per_arm(
        variance_control=variance, variance_treatment=variance, effect=effect, alpha=alpha, power=chance
    )
    assert 2 * needed == pytest.approx(total, rel=0.005)


def test_the_smallest_visible_effect_needs_exactly_the_data_that_is_there():
    effect = power.minimum_detectable_effect(0.02)
    assert power.growth_needed(0.02, effect=effect) == pytest.approx(1.0)


def test_half_the_effect_needs_four_times_the_data():
    effect = power.minimum_detectable_effect(0.02)
    assert power.growth_needed(0.02, effect=effect / 2) == pytest.approx(4.0)


def test_an_effect_of_zero_is_refused():
    with pytest.raises(ValueError, match="zero"):
        power.units_per_arm(variance_control=1.0, variance_treatment=1.0, effect=0.0)
    with pytest.raises(ValueError, match="told apart"):
        power.units_per_arm_for_shares(0.5, 0.5)
