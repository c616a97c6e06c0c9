from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.statistics.moments import Proportion, RatioSample, Sample

values = st.lists(st.integers(-1_000_000, 1_000_000), max_size=40)
pairs = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 30)), max_size=40)


@given(left=values, right=values)
def test_summaries_of_parts_add_up_to_the_summary_of_the_whole(left: list[int], right: list[int]):
    assert Sample.of(left) + Sample.of(right) == Sample.of(left + right)


@given(left=pairs, right=pairs)
def test_ratio_summaries_add_up_too(left: list[tuple[int, int]], right: list[tuple[int, int]]):
    assert RatioSample.of(left) + RatioSample.of(right) == RatioSample.of(left + right)


@given(st.lists(st.integers(-1_000_000, 1_000_000), min_size=2, max_size=40))
def test_mean_and_variance_equal_numpy(sample: list[int]):
    summary = Sample.of(sample)
    assert summary.mean == pytest.approx(float(np.mean(sample)), rel=1e-9, abs=1e-9)
    assert summary.variance == pytest.approx(float(np.var(sample, ddof=1)), rel=1e-9, abs=1e-6)


def test_the_variance_of_large_nearly_equal_integers_is_exact():
    assert Sample.of([10**15, 10**15 + 1, 10**15 + 2]).variance == 1.0


def test_rounding_of_equal_floats_is_not_taken_for_scatter():
    assert Sample.of([math.log(1234.5)] * 1000).variance == 0.0


def test_units_without_a_denominator_are_not_counted():
    assert RatioSample.of([(0, 0), (3, 2)]).n == 1


def test_empty_summaries_have_zero_mean_and_variance():
    for empty in (Sample.of([]), RatioSample.of([]), Proportion(0, 0)):
        assert (empty.mean, empty.variance) == (0.0, 0.0)


def test_independent_calls_count_in_full():
    proportion = RatioSample.of([(1, 1)] * 30 + [(0, 1)] * 10).as_proportion()
    assert (proportion.n, proportion.mean, proportion.weight) == (40, 0.75, 40.0)


def test_calls_that_agree_within_their_session_count_once_a_session():
    proportion = RatioSample.of([(10, 10)] * 30 + [(0, 10)] * 10).as_proportion()
    assert (proportion.n, proportion.mean) == (400, 0.75)
    assert proportion.weight == pytest.approx(39.0)  # 40 sessions, less the one degree of freedom of the variance


def test_where_every_call_agrees_a_session_counts_once_unless_the_other_side_shows_the_clustering():
    whole = RatioSample.of([(10, 10)] * 30)
    assert whole.as_proportion().weight == 30.0
    assert whole.as_proportion(fallback_effect=2.0).weight == 150.0


def test_spread_out_successes_never_count_for_more_than_the_calls():
    proportion = RatioSample.of([(1, 2)] * 50).as_proportion()
    assert proportion.weight == 100.0
