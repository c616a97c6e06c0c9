"""Do two sides differ: means by Welch's t, shares by a score test with Newcombe's interval.

Every function takes sufficient statistics and answers with a frozen `Comparison`. These are fixed-horizon tests:
valid when looked at once. What may be looked at any time stands in `sequential`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analytics.statistics import distributions
from analytics.statistics.moments import Proportion, Summary


@dataclass(frozen=True, slots=True)
class Estimate:
    """An effect with its standard error, its interval and the two-sided p-value against zero."""

    value: float
    standard_error: float
    lower: float
    upper: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Treatment against control. `relative` is None where the control's mean is zero."""

    n_control: int
    n_treatment: int
    mean_control: float
    mean_treatment: float
    absolute: Estimate
    relative: Estimate | None


def welch(control: Summary, treatment: Summary, *, alpha: float = 0.05) -> Comparison:
    """Compare two means by Welch's t on sufficient statistics.

    Absolute: treatment - control. Relative: treatment / control - 1, its variance by the delta method. Degrees of
    freedom by Welch-Satterthwaite, for both. Without any scatter an equal mean gives p = 1 and an unequal one
    p = 0; a caller's minimum-volume guard belongs before that.

    Raises:
        ValueError: a side holds fewer than two units, so no variance can be estimated.
    """
    _require_two(control, treatment)
    of_control, of_treatment = control.variance / control.n, treatment.variance / treatment.n
    freedom = _welch_satterthwaite(of_control, control.n, of_treatment, treatment.n)
    difference = treatment.mean - control.mean
    if math.isclose(treatment.mean, control.mean, rel_tol=1e-12):
        difference = 0.0  # equal constants summed in another order differ in the last digit
    absolute = _student_estimate(difference, of_control + of_treatment, freedom, alpha)
    relative = None
    if control.mean:
        variance = of_treatment / control.mean**2 + of_control * treatment.mean**2 / control.mean**4
        relative = _student_estimate(difference / control.mean, variance, freedom, alpha)
    return Comparison(control.n, treatment.n, control.mean, treatment.mean, absolute, relative)


def proportions(control: Proportion, treatment: Proportion, *, alpha: float = 0.05) -> Comparison:
    """Compare two shares: the p-value by the 'N - 1' chi-square or Fisher-Irwin test, the interval by Newcombe.

    The 'N - 1' test is used while every expected count is at least 1, Fisher-Irwin below (Campbell 2007, Statistics
    in Medicine 26:3661-3675). The relative interval is by the delta method.

    Raises:
        ValueError: a side is empty.
    """
    if not control.n or not treatment.n:
        raise ValueError("A share needs at least one unit on each side.")
    p_value = proportion_p_value(control, treatment)
    difference = treatment.mean - control.mean
    lower, upper = newcombe(control, treatment, alpha=alpha)
    error = math.sqrt(control.variance / control.n + treatment.variance / treatment.n)
    relative = None
    if control.mean:
        ratio_error = math.sqrt(
            treatment.variance / treatment.n / control.mean**2
            + control.variance / control.n * treatment.mean**2 / control.mean**4
        )
        half = distributions.normal_quantile(1.0 - alpha / 2.0) * ratio_error
        uplift = difference / control.mean
        relative = Estimate(uplift, ratio_error, uplift - half, uplift + half, p_value)
    return Comparison(
        control.n,
        treatment.n,
        control.mean,
        treatment.mean,
        Estimate(difference, error, lower, upper, p_value),
        relative,
    )


def proportion_p_value(control: Proportion, treatment: Proportion) -> float:
    """Return the two-sided p-value of two shares being equal; see `proportions`."""
    total = control.weight + treatment.weight
    successes = control.mean * control.weight + treatment.mean * treatment.weight
    pooled = successes / total
    if pooled <= 0.0 or pooled >= 1.0:
        return 1.0
    if min(control.weight, treatment.weight) * min(pooled, 1.0 - pooled) < 1.0:
        return fisher_irwin(
            round(control.mean * control.weight),
            round(control.weight),
            round(treatment.mean * treatment.weight),
            round(treatment.weight),
        )
    difference = treatment.mean - control.mean
    variance = pooled * (1.0 - pooled) * (1.0 / control.weight + 1.0 / treatment.weight)
    statistic = difference**2 / variance * (total - 1.0) / total
    return distributions.normal_two_sided(math.sqrt(statistic))


def fisher_irwin(x1: int, n1: int, x2: int, n2: int) -> float:
    """Return the two-sided exact p-value of a 2x2 table: all tables at most as likely as the observed one."""
    successes, total = x1 + x2, n1 + n2
    denominator = _log_choose(total, successes)
    log_probabilities = {
        x: _log_choose(n1, x) + _log_choose(n2, successes - x) - denominator
        for x in range(max(0, successes - n2), min(n1, successes) + 1)
    }
    observed = log_probabilities[x1] + 1e-7  # equally likely tables differ by rounding
    return min(1.0, math.fsum(math.exp(value) for value in log_probabilities.values() if value <= observed))


def newcombe(control: Proportion, treatment: Proportion, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return Newcombe's hybrid score interval of the difference treatment - control.

    Newcombe 1998, Statistics in Medicine 17:873-890, method 10: two Wilson intervals combined by squares.
    """
    difference = treatment.mean - control.mean
    control_low, control_high = wilson(control, alpha=alpha)
    treatment_low, treatment_high = wilson(treatment, alpha=alpha)
    below = math.hypot(treatment.mean - treatment_low, control_high - control.mean)
    above = math.hypot(treatment_high - treatment.mean, control.mean - control_low)
    return max(-1.0, difference - below), min(1.0, difference + above)


def wilson(proportion: Proportion, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return Wilson's score interval of one share (Wilson 1927, JASA 22:209-212)."""
    weight = proportion.weight
    if not weight:
        return 0.0, 1.0
    z = distributions.normal_quantile(1.0 - alpha / 2.0)
    share, spread = proportion.mean, z * z / weight
    centre = (share + spread / 2.0) / (1.0 + spread)
    half = z / (1.0 + spread) * math.sqrt(share * (1.0 - share) / weight + spread / (4.0 * weight))
    return max(0.0, centre - half), min(1.0, centre + half)


def _require_two(control: Summary, treatment: Summary) -> None:
    if control.n < 2 or treatment.n < 2:
        raise ValueError("A mean needs at least two units on each side.")


def _welch_satterthwaite(left: float, n_left: int, right: float, n_right: int) -> float:
    if left + right <= 0.0:
        return float(n_left + n_right - 2)
    return (left + right) ** 2 / (left**2 / (n_left - 1) + right**2 / (n_right - 1))


def _student_estimate(value: float, variance: float, freedom: float, alpha: float) -> Estimate:
    error = math.sqrt(variance)
    if error == 0.0:
        return Estimate(value, 0.0, value, value, 1.0 if value == 0.0 else 0.0)
    half = distributions.student_quantile(1.0 - alpha / 2.0, freedom) * error
    return Estimate(value, error, value - half, value + half, distributions.student_two_sided(value / error, freedom))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
