"""One endpoint's last five minutes: outcomes, time to first token, throughput, its weight and its breaker. Pure.

`now` is given in seconds of a clock that never goes back, the same for all calls. What all endpoints together mean for
a call is `gateway.health.board`.

The counters only grow. Every 15 seconds a copy is put aside; a window is the difference to the copy of five minutes
ago, and what another process must be told is the difference to what it was told last. So the common success costs a
few additions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

STEP_S = 15.0
WINDOW_S = 300.0
# Fewer attempts than this in the window say nothing: the endpoint counts as sound.
MIN_SAMPLES = 3

CLASSES = (
    "UpstreamError",
    "UpstreamOverloaded",
    "UpstreamTimeout",
    "UpstreamGarbage",
    "UpstreamCut",
    "UpstreamRateLimited",
    "UpstreamAccount",
)
# The last two are the credential's: they say nothing about the endpoint.
FAULTS = 5
_CLASS_INDEX = {name: 1 + position for position, name in enumerate(CLASSES)}

_RATIO = 1.25
_HALF_BIN: float = _RATIO**0.5
# Upper bounds of the histograms' bins, each a quarter above the one before: a quantile is right to about 12 %.
FIRST_TOKEN_BOUNDS_US = tuple(round(20_000 * _RATIO**step) for step in range(40))  # 20 ms to 120 s
RATE_BOUNDS = tuple(2.0 * _RATIO**step for step in range(30))  # 2 to 1,300 tokens a second
_FIRST_TOKEN = 1 + len(CLASSES)
_RATE = _FIRST_TOKEN + len(FIRST_TOKEN_BOUNDS_US) + 1
SIZE = _RATE + len(RATE_BOUNDS) + 1

# The weight: see `Window.weight`.
_PRIOR_ATTEMPTS = 2.0
_DECAY = 0.5 ** (STEP_S / 60.0)
_SLOW_FIRST_TOKEN_US = 3_000_000.0
_SLOW_RATE = 20.0
_LEAST_FACTOR = 0.5
_WEIGHT_HOLDS_S = 1.0

# The breaker: see `Window.fail`.
_TRIP_STREAK = 3
_TRIP_STREAK_RATIO = 0.2
_TRIP_STREAK_ALONE = 10
_TRIP_RATIO = 0.5
_TRIP_ATTEMPTS = 6.0
_OPEN_FIRST_S = 5.0
_OPEN_MOST_S = 60.0
_PROBE_S = 30.0

CLOSED = "closed"
OPEN = "open"
HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Figures:
    """What the window of five minutes holds. Quantiles are None where nothing was measured; the error ratio leaves
    aside what was the credential's."""

    samples: int
    successes: int
    failures: dict[str, int]
    error_ratio: float
    first_token_p50_ms: float | None
    first_token_p75_ms: float | None
    first_token_p95_ms: float | None
    tokens_per_s_p50: float | None


class Window:
    """The health of one endpoint. `state_changes` counts openings and closings, so that others can see one."""

    __slots__ = (
        "_attempts",
        "_copies",
        "_faults",
        "_next_step",
        "_open_for_s",
        "_open_until",
        "_probe_until",
        "_streak",
        "_weight",
        "_weight_until",
        "counts",
        "is_closed",
        "seen_at",
        "state_changes",
    )

    def __init__(self, now: float) -> None:
        self.counts = [0] * SIZE
        self._copies: deque[tuple[float, list[int]]] = deque([(now, self.counts.copy())])
        self._next_step = now + STEP_S
        self.seen_at = now
        # What counts fast: attempts and faults whose weight halves every minute.
        self._attempts = self._faults = 0.0
        self._streak = 0
        self._weight, self._weight_until = 1.0, now
        self.is_closed = True
        self._open_for_s = _OPEN_FIRST_S
        self._open_until = self._probe_until = 0.0
        self.state_changes = 0

    # -- what happened

    def succeed(self, now: float, first_token_us: int | None = None) -> None:
        """Count an attempt that gave an answer; of a stream, how long its first token took."""
        if now >= self._next_step:
            self._step(now)
        counts = self.counts
        counts[0] += 1
        if first_token_us is not None:
            counts[_FIRST_TOKEN + bisect_left(FIRST_TOKEN_BOUNDS_US, first_token_us)] += 1
        self._attempts += 1.0
        self._streak = 0
        if not self.is_closed:
            self.close(now)

    def note_rate(self, tokens_per_s: float) -> None:
        """Count how fast an answer came."""
        self.counts[_RATE + bisect_left(RATE_BOUNDS, tokens_per_s)] += 1

    def fail(self, now: float, error_class: str, *, was_success: bool = False) -> None:
        """Count an attempt that failed by the endpoint's fault; `was_success`: it gave output first.

        The breaker opens after 3 faults in a row where a fifth of the last minute's attempts failed, after 10 in a row
        whatever went before, or when half of at least 6 attempts of the last minute failed.
        """
        if now >= self._next_step:
            self._step(now)
        counts = self.counts
        counts[_CLASS_INDEX.get(error_class, 1)] += 1
        if was_success:
            counts[0] -= 1
        else:
            self._attempts += 1.0
        self._faults += 1.0
        self._streak += 1
        self._weight_until = now
        if not self.is_closed:
            self._reopen(now)
        elif self._is_tripped():
            self.open(now, self._open_for_s)

    def note_credential_failure(self, now: float, error_class: str) -> None:
        """Count a refusal that was the credential's: it shows, and weighs nothing."""
        if now >= self._next_step:
            self._step(now)
        self.counts[_CLASS_INDEX[error_class]] += 1

    def merge(self, now: float, delta: list[tuple[int, int]]) -> None:
        """Add what another process counted: pairs of position and increment."""
        if now >= self._next_step:
            self._step(now)
        counts = self.counts
        for position, count in delta:
            counts[position] += count
            if position <= FAULTS:
                self._attempts += count
                if position:
                    self._faults += count
        self._attempts = max(0.0, self._attempts)
        self._weight_until = now
        if self.is_closed and self._is_tripped():
            self.open(now, self._open_for_s)

    # -- the breaker

    def state(self, now: float) -> str:
        """Return whether calls may go there: closed, open, or half-open, where one probe decides."""
        if self.is_closed:
            return CLOSED
        return OPEN if now < self._open_until else HALF_OPEN

    def wants_probe(self, now: float) -> bool:
        """Return whether the next call may be the probe."""
        return not self.is_closed and now >= self._open_until and now >= self._probe_until

    def begin_probe(self, now: float) -> None:
        """Note that a call is the probe. One that never reports back (its client hung up) is replaced after 30 s."""
        self._probe_until = now + _PROBE_S

    def open_for(self, now: float) -> float:
        """Return for how many seconds nothing goes there; 0 when the breaker is not open."""
        return 0.0 if self.is_closed else max(0.0, self._open_until - now)

    def open(self, now: float, for_s: float) -> None:
        """Open the breaker, or keep it open, for some seconds."""
        if self.is_closed:
            self.is_closed = False
            self.state_changes += 1
        self._open_until = max(self._open_until, now + for_s)
        self._probe_until = 0.0

    def close(self, now: float) -> None:
        """Close the breaker: the endpoint answered. Its faults are forgiven but for the weight of one."""
        if not self.is_closed:
            self.is_closed = True
            self.state_changes += 1
        self._open_for_s = _OPEN_FIRST_S
        self._open_until = self._probe_until = 0.0
        self._streak = 0
        self._faults = min(self._faults, 1.0)
        self._weight_until = now

    def _reopen(self, now: float) -> None:
        """The probe failed, or a call that was under way: wait twice as long, up to a minute."""
        if now < self._open_until:
            return
        self._open_for_s = min(self._open_for_s * 2.0, _OPEN_MOST_S)
        self.open(now, self._open_for_s)

    def _is_tripped(self) -> bool:
        streak, attempts, faults = self._streak, self._attempts, self._faults
        return (
            (streak >= _TRIP_STREAK and faults >= _TRIP_STREAK_RATIO * attempts)
            or streak >= _TRIP_STREAK_ALONE
            or (attempts >= _TRIP_ATTEMPTS and faults >= _TRIP_RATIO * attempts)
        )

    # -- what it means

    def weight(self, now: float) -> float:
        """Return the endpoint's weight, 0..1; 1 for one that was hardly tried.

        weight = (1 - F / (N + 2)) x min(1, 3 s / first-token P75) x min(1, throughput P50 / 20 tokens/s)

        N and F are attempts and faults, each halved for every minute since; the 2 lets an endpoint that nobody tries
        recover. The last two factors are at least 0.5, so that being slow never weighs as much as failing.
        """
        if now < self._weight_until:
            return self._weight
        if now >= self._next_step:
            self._step(now)
        self._weight = self._weigh(now)
        self._weight_until = now + _WEIGHT_HOLDS_S
        return self._weight

    def _weigh(self, now: float) -> float:
        counts = self._difference(now)
        if sum(counts[: FAULTS + 1]) < MIN_SAMPLES:
            return 1.0
        weight = 1.0 - self._faults / (self._attempts + _PRIOR_ATTEMPTS)
        slow_us = _quantile(counts[_FIRST_TOKEN:_RATE], FIRST_TOKEN_BOUNDS_US, 0.75)
        if slow_us is not None:
            weight *= max(_LEAST_FACTOR, min(1.0, _SLOW_FIRST_TOKEN_US / slow_us))
        rate = _quantile(counts[_RATE:], RATE_BOUNDS, 0.5)
        if rate is not None:
            weight *= max(_LEAST_FACTOR, min(1.0, rate / _SLOW_RATE))
        return max(0.0, weight)

    def figures(self, now: float) -> Figures:
        """Return what the last five minutes hold."""
        if now >= self._next_step:
            self._step(now)
        counts = self._difference(now)
        first_token, rates = counts[_FIRST_TOKEN:_RATE], counts[_RATE:]
        tried = sum(counts[: FAULTS + 1])

        def milliseconds(share: float) -> float | None:
            found = _quantile(first_token, FIRST_TOKEN_BOUNDS_US, share)
            return None if found is None else round(found / 1000, 1)

        rate = _quantile(rates, RATE_BOUNDS, 0.5)
        return Figures(
            samples=sum(counts[:_FIRST_TOKEN]),
            successes=counts[0],
            failures={name: counts[at] for name, at in _CLASS_INDEX.items() if counts[at]},
            error_ratio=sum(counts[1 : FAULTS + 1]) / tried if tried else 0.0,
            first_token_p50_ms=milliseconds(0.5),
            first_token_p75_ms=milliseconds(0.75),
            first_token_p95_ms=milliseconds(0.95),
            tokens_per_s_p50=None if rate is None else round(rate, 1),
        )

    # -- time

    def _step(self, now: float) -> None:
        """Put a copy of the counters aside, and let what counts fast fade."""
        steps = 1 + int((now - self._next_step) / STEP_S)
        fade = _DECAY**steps
        self._attempts *= fade
        self._faults *= fade
        copies = self._copies
        copies.append((self._next_step, self.counts.copy()))  # all of it was counted before that moment
        self._next_step += steps * STEP_S
        self.seen_at = now
        while len(copies) > 1 and copies[1][0] <= now - WINDOW_S:
            copies.popleft()

    def _difference(self, now: float) -> list[int]:
        copies = self._copies
        while len(copies) > 1 and copies[1][0] <= now - WINDOW_S:
            copies.popleft()
        since = copies[0][1]
        return [max(0, count - before) for count, before in zip(self.counts, since, strict=True)]


def _quantile(bins: list[int], bounds: tuple[float, ...], share: float) -> float | None:
    """Return the middle, on the scale of ratios, of the bin that holds the quantile; None where nothing was counted."""
    total = sum(bins)
    if not total:
        return None
    wanted = share * total
    reached = 0
    for position, count in enumerate(bins):
        reached += count
        if reached >= wanted:
            return bounds[min(position, len(bounds) - 1)] / _HALF_BIN
    raise AssertionError("a share of a total is reached")
