"""The distribution functions that the tests need, by name.

The only module here that touches scipy, and only when a function is called: importing the package costs no
numpy, so a process that never evaluates anything (the data plane) never pays for it. `scipy.special` is used
instead of `scipy.stats`, which takes ten times as long to import.
"""

from __future__ import annotations

import math
from statistics import NormalDist

_NORMAL = NormalDist()


def normal_quantile(probability: float) -> float:
    """Return z with P(Z <= z) = `probability`, 0 < probability < 1."""
    return _NORMAL.inv_cdf(probability)


def normal_cdf(z: float) -> float:
    """Return P(Z <= z)."""
    return _NORMAL.cdf(z)


def normal_two_sided(z: float) -> float:
    """Return P(|Z| >= |z|), accurate far into the tail."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def normal_score(p_value: float) -> float:
    """Return the |z| whose two-sided p-value is `p_value`; 38.4 (the float range's end) for 0, 0 for 1."""
    from scipy import special

    half = max(p_value, 5e-324) / 2.0
    return 38.4 if half <= 0.0 else min(38.4, max(0.0, -float(special.ndtri(half))))


def student_two_sided(t: float, degrees_of_freedom: float) -> float:
    """Return P(|T| >= |t|) for Student's t."""
    from scipy import special

    return 2.0 * float(special.stdtr(degrees_of_freedom, -abs(t)))


def student_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Return t with P(T <= t) = `probability` for Student's t."""
    from scipy import special

    return float(special.stdtrit(degrees_of_freedom, probability))


def chi_square_tail(statistic: float, degrees_of_freedom: float) -> float:
    """Return P(X >= statistic) for the chi-square distribution."""
    from scipy import special

    return float(special.chdtrc(degrees_of_freedom, statistic))
