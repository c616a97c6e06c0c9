"""How much data a question needs: sample size, power, and the smallest effect that a sample can show."""

from __future__ import annotations

import math

from analytics.statistics import distributions

DEFAULT_POWER = 0.8


def units_per_arm(
    *,
    variance_control: float,
    variance_treatment: float,
    effect: float,
    alpha: float = 0.05,
    power: float = DEFAULT_POWER,
) -> float:
    """Return the units needed in each of two equal arms to see an absolute `effect` (normal approximation).

    Raises:
        ValueError: the effect is zero: no amount of data shows it.
    """
    if effect == 0.0:
        raise ValueError("An effect of zero cannot be detected by any sample.")
    reach = distributions.normal_quantile(1.0 - alpha / 2.0) + distributions.normal_quantile(power)
    return reach**2 * (variance_control + variance_treatment) / effect**2


def units_per_arm_for_shares(
    control: float, treatment: float, *, alpha: float = 0.05, power: float = DEFAULT_POWER
) -> float:
    """Return the units needed in each arm to tell two shares apart, with the pooled variance under no difference.

    Fleiss, Levin & Paik 2003, Statistical Methods for Rates and Proportions, eq. 4.14; R's `power.prop.test`.
    """
    if control == treatment:
        raise ValueError("Equal shares cannot be told apart by any sample.")
    pooled = (control + treatment) / 2.0
    under_null = distributions.normal_quantile(1.0 - alpha / 2.0) * math.sqrt(2.0 * pooled * (1.0 - pooled))
    under_effect = distributions.normal_quantile(power) * math.sqrt(
        control * (1.0 - control) + treatment * (1.0 - treatment)
    )
    return ((under_null + under_effect) / (treatment - control)) ** 2


def power_for_shares(control: float, treatment: float, *, units_per_arm: float, alpha: float = 0.05) -> float:
    """Return the chance that `units_per_arm` units in each arm tell two shares apart; see above for the formula."""
    pooled = (control + treatment) / 2.0
    under_null = distributions.normal_quantile(1.0 - alpha / 2.0) * math.sqrt(2.0 * pooled * (1.0 - pooled))
    spread = math.sqrt(control * (1.0 - control) + treatment * (1.0 - treatment))
    return distributions.normal_cdf((math.sqrt(units_per_arm) * abs(treatment - control) - under_null) / spread)


def minimum_detectable_effect(standard_error: float, *, alpha: float = 0.05, power: float = DEFAULT_POWER) -> float:
    """Return the absolute effect that an estimate with this standard error shows with the given power."""
    reach = distributions.normal_quantile(1.0 - alpha / 2.0) + distributions.normal_quantile(power)
    return reach * standard_error


def growth_needed(standard_error: float, *, effect: float, alpha: float = 0.05, power: float = DEFAULT_POWER) -> float:
    """Return by which factor the data must grow until `effect` can be shown; 1 or less where it already can.

    The standard error shrinks with the square root of the data, whatever the design, so this holds for means,
    shares and clustered ratios alike.
    """
    return (minimum_detectable_effect(standard_error, alpha=alpha, power=power) / effect) ** 2
