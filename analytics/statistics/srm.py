"""Sample-ratio mismatch: did the arms get the shares of traffic that they should have got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics.statistics import distributions

WARN_BELOW = 0.001  # it is asked again at every evaluation, so the level is strict


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Pearson's chi-square of the observed counts against the planned shares."""

    observed: tuple[int, ...]
    expected: tuple[float, ...]
    statistic: float
    p_value: float
    is_broken: bool


def check(observed: Sequence[int], shares: Sequence[float], *, warn_below: float = WARN_BELOW) -> SampleRatio:
    """Compare unit counts with planned shares (any positive scale; they are normalized).

    Without units nothing is broken (p = 1).

    Raises:
        ValueError: the lengths differ, fewer than two arms, or a share is not positive.
    """
    if len(observed) != len(shares) or len(observed) < 2:
        raise ValueError("Give one count and one share for each of at least two arms.")
    if any(share <= 0.0 for share in shares):
        raise ValueError("Every share must be positive.")
    total, whole = sum(observed), sum(shares)
    expected = tuple(total * share / whole for share in shares)
    if total == 0:
        return SampleRatio(tuple(observed), expected, 0.0, 1.0, False)
    statistic = sum((count - wanted) ** 2 / wanted for count, wanted in zip(observed, expected, strict=True))
    p_value = distributions.chi_square_tail(statistic, len(observed) - 1)
    return SampleRatio(tuple(observed), expected, statistic, p_value, p_value < warn_below)
