"""One effect as jobs judge it and pages show it: estimate, interval, p-values, and how much data is still missing.

Brings clustered sums on the right test: shares through Rao-Scott weights to the score test, means through the delta
method to Welch's t, logarithms to a ratio of geometric means. Beside each fixed-horizon result stands the one that
may be looked at any time, which is what verdicts are made from: the jobs look every minute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from analytics.statistics import distributions, sequential, significance
from analytics.statistics.moments import RatioSample

# The evidence of a few hundred to a few ten thousand units is what these jobs see; there this tuning costs least.
TUNING_N = 1000


class Scale(StrEnum):
    """What is compared: shares of calls, means, or means of logarithms (shown as geometric means)."""

    SHARE = "share"
    MEAN = "mean"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Effect:
    """Treatment (or after) against control (or before).

    Means, `value` and bounds are as read: shares 0..1 and their difference, means and their difference, geometric
    means and their relative change (0.1 is +10 %). `standard_error`, `spread` and `margin`s are on the scale of the
    test, which for LOG is the logarithm. `relative` is None where the control's mean is zero.
    """

    scale: Scale
    calls_control: int
    calls_treatment: int
    units_control: int
    units_treatment: int
    mean_control: float
    mean_treatment: float
    value: float
    lower: float
    upper: float
    p_value: float
    anytime_lower: float
    anytime_upper: float
    anytime_p_value: float
    relative: float | None
    relative_lower: float | None
    relative_upper: float | None
    standard_error: float
    spread: float

    @property
    def calls(self) -> int:
        return self.calls_control + self.calls_treatment


def between(control: RatioSample, treatment: RatioSample, *, scale: Scale, alpha: float = 0.05) -> Effect:
    """Return the effect between two sides of clustered sums; `alpha` is the level of both intervals.

    Raises:
        ValueError: a side has fewer than two units.
    """
    if control.n < 2 or treatment.n < 2:
        raise ValueError("An effect needs at least two units on each side.")
    if scale is Scale.SHARE:
        left = control.as_proportion(fallback_effect=treatment.design_effect)
        right = treatment.as_proportion(fallback_effect=control.design_effect)
        comparison = significance.proportions(left, right, alpha=alpha)
        worth = max(2, round(left.weight + right.weight))
    else:
        comparison = significance.welch(control, treatment, alpha=alpha)
        worth = control.n + treatment.n
    return _effect(control, treatment, comparison, scale=scale, worth=worth, alpha=alpha)


def excludes_margin(effect: Effect, margin: float) -> bool:
    """Return whether the fixed-horizon interval lies within ± `margin` (on the test's scale)."""
    lower, upper = effect.lower, effect.upper
    if effect.scale is Scale.LOG:
        lower, upper = math.log1p(lower), math.log1p(upper)
    return -margin < lower and upper < margin


def calls_missing(effect: Effect, margin: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return about how many more calls, on both sides together, show an effect of `margin` in an any-time look.

    The standard error shrinks with the square root of the data whatever the clustering; the sequence's width in
    standard errors hardly moves, so today's is used.
    """
    worth = max(2, effect.units_control + effect.units_treatment)
    reach = sequential.half_width(1.0, worth, alpha=alpha, tuning_n=TUNING_N) + distributions.normal_quantile(power)
    growth = (reach * effect.standard_error / margin) ** 2
    return max(0, math.ceil(effect.calls * (growth - 1.0)))


def _effect(
    control: RatioSample,
    treatment: RatioSample,
    comparison: significance.Comparison,
    *,
    scale: Scale,
    worth: int,
    alpha: float,
) -> Effect:
    absolute, relative = comparison.absolute, comparison.relative
    z_fixed = distributions.normal_quantile(1.0 - alpha / 2.0)
    widening = sequential.half_width(1.0, worth, alpha=alpha, tuning_n=TUNING_N) / z_fixed
    anytime_lower = absolute.value - widening * (absolute.value - absolute.lower)
    anytime_upper = absolute.value + widening * (absolute.upper - absolute.value)
    p_value = sequential.p_value(distributions.normal_score(absolute.p_value), worth, alpha=alpha, tuning_n=TUNING_N)
    if scale is Scale.SHARE:
        anytime_lower, anytime_upper = max(-1.0, anytime_lower), min(1.0, anytime_upper)
    show = _relative_change if scale is Scale.LOG else float
    level = math.exp if scale is Scale.LOG else float
    shown = [show(x) for x in (absolute.value, absolute.lower, absolute.upper)]
    uplift = (relative.value, relative.lower, relative.upper) if relative else (None, None, None)
    return Effect(
        scale=scale,
        calls_control=int(control.denominator),
        calls_treatment=int(treatment.denominator),
        units_control=control.n,
        units_treatment=treatment.n,
        mean_control=level(control.mean),
        mean_treatment=level(treatment.mean),
        value=shown[0],
        lower=shown[1],
        upper=shown[2],
        p_value=absolute.p_value,
        anytime_lower=show(anytime_lower),
        anytime_upper=show(anytime_upper),
        anytime_p_value=p_value,
        relative=shown[0] if scale is Scale.LOG else uplift[0],
        relative_lower=shown[1] if scale is Scale.LOG else uplift[1],
        relative_upper=shown[2] if scale is Scale.LOG else uplift[2],
        # Newcombe's interval is not empty at 0 of n, where the plain standard error is.
        standard_error=(absolute.upper - absolute.lower) / (2.0 * z_fixed),
        spread=math.sqrt((control.variance + treatment.variance) / 2.0),
    )


def _relative_change(log_difference: float) -> float:
    return math.expm1(min(log_difference, 700.0))
