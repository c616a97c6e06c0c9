from __future__ import annotations

import dataclasses
import itertools
import json

import pytest

from analytics import intervals
from analytics.statistics import effects
from analytics.statistics.effects import Effect, Scale
from analytics.statistics.moments import RatioSample


def share_effect(before: int, after: int, n: int = 500) -> Effect:
    sides = (RatioSample.of([(1, 1)] * hits + [(0, 1)] * (n - hits)) for hits in (before, after))
    return effects.between(*sides, scale=Scale.SHARE)


def test_a_stored_effect_comes_back_as_it_was():
    effect = share_effect(480, 450)
    assert intervals.restored(json.loads(json.dumps(dataclasses.asdict(effect)))) == effect


def test_shares_read_as_percent_and_points():
    shown = intervals.shown(share_effect(480, 450), unit=intervals.SHARE, margin=0.03)
    assert (shown.control, shown.treatment, shown.difference) == ("96.0%", "90.0%", "\u22126.0 points")
    assert shown.interval.startswith("\u2212")
    assert shown.relative.startswith("\u22126.2%")


@pytest.mark.parametrize(("share", "words"), [(0.0, "0%"), (1.0, "100%"), (0.9999, "99.9%"), (0.00001, "0.1%")])
def test_a_share_is_never_a_flat_0_or_100_percent_unless_it_is(share: float, words: str):
    assert intervals.level(share, intervals.SHARE) == words


def test_logarithms_read_as_a_change_in_percent():
    sides = (RatioSample.of([(base + x / 100, 1) for x in range(100)]) for base in (5.0, 5.1))
    shown = intervals.shown(effects.between(*sides, scale=Scale.LOG), unit=intervals.CHARACTERS, margin=0.1)
    assert shown.control == "243 characters"
    assert shown.difference == "+10.5%"
    assert shown.relative == ""


def test_money_reads_as_dollars_with_its_relative_change():
    sides = (RatioSample.of([(base + x * 1000, 1) for x in range(100)]) for base in (2_000_000, 1_000_000))
    shown = intervals.shown(effects.between(*sides, scale=Scale.MEAN), unit=intervals.USD, margin=None)
    assert shown.control.startswith("$0.0020")
    assert shown.difference.startswith("\u2212$0.001")
    assert shown.relative.startswith("\u2212")


@pytest.mark.parametrize(
    ("value", "words"), [(None, "\u2013"), (0.0, "< 0.0001"), (0.0012, "0.0012"), (0.5, "0.50"), (1.0, "1.00")]
)
def test_p_values_read_in_few_digits(value: float | None, words: str):
    assert intervals.p_value(value) == words


@pytest.mark.parametrize("effect", [share_effect(480, 450), share_effect(500, 500), share_effect(500, 0)])
def test_the_drawing_stays_in_its_frame_and_in_order(effect: Effect):
    drawing = intervals.shown(effect, unit=intervals.SHARE, margin=0.03).drawing
    order = [0.0, drawing.whisker_start, drawing.bar_start, drawing.point, drawing.bar_start + drawing.bar_width]
    order += [drawing.whisker_end, float(intervals.WIDTH)]
    assert all(left <= right + 1.0 for left, right in itertools.pairwise(order))
    assert "95% interval" in drawing.label
