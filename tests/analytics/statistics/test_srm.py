from __future__ import annotations

import numpy as np
import pytest

from analytics.statistics import srm


def test_600_against_400_of_an_even_split_is_the_published_p_value():
    # Wikipedia, "Sample ratio mismatch".
    result = srm.check([600, 400], [1, 1])
    assert result.p_value == pytest.approx(2.54e-10, rel=1e-2)
    assert result.is_broken


def test_44000_against_45000_is_the_published_p_value():
    # srm.osc.garden
    result = srm.check([44000, 45000], [0.5, 0.5])
    assert result.p_value == pytest.approx(0.0008, abs=5e-5)
    assert result.is_broken


def test_three_arms_of_the_statsig_example_are_broken():
    # Statsig documentation, experiments/monitoring/srm: p < 0.0001.
    assert srm.check([166080, 171180, 166300], [1, 1, 1]).p_value < 1e-4


def test_an_uneven_plan_is_met_by_uneven_counts():
    assert srm.check([900, 100], [0.9, 0.1]).p_value == 1.0


def test_no_traffic_breaks_nothing():
    assert not srm.check([0, 0], [0.5, 0.5]).is_broken


@pytest.mark.parametrize(("observed", "shares"), [([1], [1.0]), ([1, 2], [1.0]), ([1, 2], [1.0, 0.0])])
def test_it_refuses_shares_that_make_no_plan(observed: list[int], shares: list[float]):
    with pytest.raises(ValueError):
        srm.check(observed, shares)


def test_a_fair_split_is_called_broken_about_once_in_a_thousand():
    rng = np.random.default_rng(5)
    alarms = sum(srm.check([int(n), 1000 - int(n)], [0.5, 0.5]).is_broken for n in rng.binomial(1000, 0.5, 4000))
    assert alarms <= 12
