from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analytics.statistics import multiplicity

p_lists = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20)

# Benjamini & Hochberg 1995, their example of 15 p-values; adjusted values in scipy's documentation of
# `false_discovery_control`.
BH_1995 = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
BH_1995 += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.000]
BH_ADJUSTED = [0.0015, 0.003, 0.0095, 0.035625, 0.0603, 0.06385714, 0.06385714, 0.0645]
BH_ADJUSTED += [0.0765, 0.486, 0.58118182, 0.714875, 0.75323077, 0.81321429, 1.0]


def test_benjamini_hochberg_gives_the_values_of_its_paper():
    assert multiplicity.benjamini_hochberg(BH_1995) == pytest.approx(BH_ADJUSTED, abs=1e-8)


@given(p_lists)
def test_benjamini_hochberg_equals_scipy(p_values: list[float]):
    assert multiplicity.benjamini_hochberg(p_values) == pytest.approx(list(stats.false_discovery_control(p_values)))


def test_holm_multiplies_by_what_is_left_and_never_falls():
    # Worked by hand: 4 x 0.01, 3 x 0.02 = 0.06, 2 x 0.03 = 0.06, 1 x 0.04 lifted to 0.06.
    assert multiplicity.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


@given(p_lists)
def test_holm_lies_between_the_p_value_and_bonferroni(p_values: list[float]):
    for p_value, adjusted in zip(p_values, multiplicity.holm(p_values), strict=True):
        assert p_value <= adjusted <= min(1.0, len(p_values) * p_value) + 1e-12


def test_no_tests_need_no_correction():
    assert multiplicity.holm([]) == []
    assert multiplicity.benjamini_hochberg([]) == []
