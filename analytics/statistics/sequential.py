"""Results that may be looked at any time: the asymptotic confidence sequence and its always-valid p-value.

Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2021 (arXiv 2103.06476), tuned by the sample size `tuning_n` at which
the sequence is tightest. `n` is the number of units on both sides together.
"""

from __future__ import annotations

import math

DEFAULT_TUNING_N = 5000


def rho(alpha: float, tuning_n: float = DEFAULT_TUNING_N) -> float:
    """Return the mixture's scale that makes the sequence tightest at `tuning_n` units."""
    return math.sqrt((-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)) / tuning_n)


def half_width(standard_error: float, n: int, *, alpha: float = 0.05, tuning_n: float = DEFAULT_TUNING_N) -> float:
    """Return half the width of the two-sided confidence sequence around an estimate with `standard_error`."""
    scale = rho(alpha, tuning_n)
    grown = n * scale**2
    return standard_error * math.sqrt(2.0 * (grown + 1.0) / grown * math.log(math.sqrt(grown + 1.0) / alpha))


def one_sided_half_width(
    standard_error: float, n: int, *, alpha: float = 0.05, tuning_n: float = DEFAULT_TUNING_N
) -> float:
    """Return the distance of a one-sided bound from the estimate (level `alpha` on that side alone)."""
    scale = rho(2.0 * alpha, tuning_n)
    grown = n * scale**2
    return standard_error * math.sqrt(
        2.0 * (grown + 1.0) / grown * math.log(1.0 + math.sqrt(grown + 1.0) / (2.0 * alpha))
    )


def p_value(z: float, n: int, *, alpha: float = 0.05, tuning_n: float = DEFAULT_TUNING_N) -> float:
    """Return the always-valid p-value of an effect that is `z` standard errors from zero.

    It is below `alpha` exactly when the two-sided sequence of that level leaves zero out.
    """
    grown = n * rho(alpha, tuning_n) ** 2
    log_evidence = grown * z * z / (2.0 * (grown + 1.0)) - 0.5 * math.log(grown + 1.0)
    return 1.0 if log_evidence <= 0.0 else math.exp(-log_evidence)
