"""Sufficient statistics that merge: what SQL returns and every test here takes.

A summary holds counts and power sums only, so that summaries of hours, shards or segments add up to the summary
of the whole. Integers stay integers (ClickHouse sums them exactly), which keeps a variance of large, nearly equal
numbers exact. The tests themselves stand in `significance`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeAlias

Number: TypeAlias = int | float

# Below this share of the raw sum of squares, what float power sums leave as scatter is rounding, not data.
_ROUNDING = 1e-13


class Summary(Protocol):
    """What a test needs of one side: how many independent units, their mean, and the variance of one unit."""

    @property
    def n(self) -> int: ...
    @property
    def mean(self) -> float: ...
    @property
    def variance(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured quantity over `n` independent units."""

    n: int
    total: Number
    total_squares: Number

    @classmethod
    def of(cls, values: Iterable[Number]) -> Sample:
        """Summarize raw values."""
        kept = list(values)
        return cls(n=len(kept), total=sum(kept), total_squares=sum(value * value for value in kept))

    def __add__(self, other: Sample) -> Sample:
        return Sample(self.n + other.n, self.total + other.total, self.total_squares + other.total_squares)

    @property
    def mean(self) -> float:
        """The mean; 0 for an empty sample."""
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """The unbiased variance (divisor n - 1); 0 below two units."""
        return _covariance(self.n, self.total, self.total, self.total_squares)


@dataclass(frozen=True, slots=True)
class Proportion:
    """`successes` of `n` independent yes/no units. Both may be fractional after a correction for clustering."""

    n: int
    successes: Number
    effective_n: float | None = None  # what `n` units are worth; see `RatioSample.as_proportion`

    def __add__(self, other: Proportion) -> Proportion:
        if self.effective_n is None and other.effective_n is None:
            return Proportion(self.n + other.n, self.successes + other.successes)
        return Proportion(self.n + other.n, self.successes + other.successes, effective_n=self.weight + other.weight)

    @property
    def weight(self) -> float:
        """How many independent units the count is worth."""
        return float(self.n) if self.effective_n is None else self.effective_n

    @property
    def mean(self) -> float:
        """The share of successes; 0 for an empty count."""
        return self.successes / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """p(1 - p) for one counted unit, inflated by what clustering takes away."""
        if not self.n:
            return 0.0
        return self.mean * (1.0 - self.mean) * self.n / self.weight


@dataclass(frozen=True, slots=True)
class RatioSample:
    """A ratio of two sums over `n` independent units, such as cost per call with sessions as units.

    `numerator` and `denominator` are the sums over units, the squares and the cross product are sums of the
    units' own totals. Units whose denominator is zero must not be counted.
    """

    n: int
    numerator: Number
    denominator: Number
    numerator_squares: Number
    denominator_squares: Number
    cross: Number

    @classmethod
    def of(cls, units: Iterable[tuple[Number, Number]]) -> RatioSample:
        """Summarize raw (numerator, denominator) pairs, one a unit; pairs with a zero denominator are left out."""
        kept = [(top, bottom) for top, bottom in units if bottom]
        return cls(
            n=len(kept),
            numerator=sum(top for top, _ in kept),
            denominator=sum(bottom for _, bottom in kept),
            numerator_squares=sum(top * top for top, _ in kept),
            denominator_squares=sum(bottom * bottom for _, bottom in kept),
            cross=sum(top * bottom for top, bottom in kept),
        )

    def __add__(self, other: RatioSample) -> RatioSample:
        return RatioSample(
            self.n + other.n,
            self.numerator + other.numerator,
            self.denominator + other.denominator,
            self.numerator_squares + other.numerator_squares,
            self.denominator_squares + other.denominator_squares,
            self.cross + other.cross,
        )

    @property
    def mean(self) -> float:
        """The ratio of the sums; 0 where nothing was counted."""
        return self.numerator / self.denominator if self.denominator else 0.0

    @property
    def variance(self) -> float:
        """The variance of one unit by the delta method, so that the ratio's variance is `variance / n`.

        (Var N - 2 R Cov(N, D) + R^2 Var D) / mean(D)^2; Cochran 1977, Sampling Techniques, eq. 6.10; the same as
        Var N / d^2 + Var D n^2 / d^4 - 2 Cov n / d^3.
        """
        if self.n < 2 or not self.denominator:
            return 0.0
        # Sums of squares of the residuals N - R D need no centring: they add up to zero by construction.
        ratio: Number | Fraction
        if isinstance(self.numerator, int) and isinstance(self.denominator, int):
            ratio = Fraction(self.numerator, self.denominator)
        else:
            ratio = self.mean
        residuals = self.numerator_squares - 2 * ratio * self.cross + ratio * ratio * self.denominator_squares
        if isinstance(residuals, float) and residuals <= _ROUNDING * abs(self.numerator_squares):
            return 0.0
        mean_denominator = self.denominator / self.n
        return float(residuals) / (self.n - 1) / mean_denominator**2

    def as_proportion(self, *, fallback_effect: float | None = None) -> Proportion:
        """Return the count of successes among the denominators, worth less where units cluster.

        The design effect is the clustered variance over the binomial one, at least 1; the count is divided by it
        (Rao & Scott 1992, Biometrics 48:577-585). Where every call agrees there is no scatter to measure it by:
        then `fallback_effect` is used, or, without one, a whole unit counts once.
        """
        calls = int(self.denominator)
        if not calls:
            return Proportion(0, 0)
        if calls == self.n:
            return Proportion(calls, self.numerator)
        effect = self.design_effect
        if effect is None:
            effect = fallback_effect if fallback_effect is not None else calls / self.n
        return Proportion(calls, self.numerator, effective_n=calls / max(1.0, effect))

    @property
    def design_effect(self) -> float | None:
        """How many times the variance of a share exceeds the binomial one; None where all calls agree."""
        share = self.mean
        binomial = share * (1.0 - share)
        if not self.n or binomial <= 0.0:
            return None
        return (self.variance / self.n) / (binomial / self.denominator)


def _covariance(n: int, left: Number, right: Number, cross: Number) -> float:
    if n < 2:
        return 0.0
    scatter = n * cross - left * right
    if isinstance(scatter, float) and scatter <= _ROUNDING * abs(n * cross):
        return 0.0
    return scatter / (n * (n - 1))
