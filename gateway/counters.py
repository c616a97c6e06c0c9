"""What limits count in one process: calls and tokens in a sliding minute, money in a period. Pure, and without locks.

One event loop owns them. A `Window` knows all there is to know about its minute; a `Purse` may spend what its bank has
granted (`gateway.leases`), which in a lone process is the whole budget. Which counters a call meets is decided by
`gateway.admission`.
"""

from __future__ import annotations

from typing import Any

from gateway.context import LimitSnapshot

_SECONDS = 61  # the running second and the sixty before it: never more than the limit in any sixty seconds


class Window:
    """Units (calls or tokens) in the last minute, exact to a second, by a clock that only goes forward.

    A unit leaves the window between 60 and 61 seconds after it came.
    """

    __slots__ = ("_by_second", "_first", "_now", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._by_second = [0] * _SECONDS
        self._now = self._first = 0

    def room(self, second: int) -> int:
        """Return how many units fit at `second` (whole seconds of a monotonic clock); negative after a correction."""
        if second > self._now:
            self._forget(second)
        return self.limit - self.used

    def take(self, units: int) -> int:
        """Count `units` at the second that `room` was last asked for; return that second, for `correct`."""
        self.used += units
        self._by_second[self._now % _SECONDS] += units
        return self._now

    def correct(self, second: int, units: int) -> None:
        """Add `units` (fewer than none takes away) to what was taken at `second`, if that is in the window still."""
        if second > self._now - _SECONDS:
            self._by_second[second % _SECONDS] += units
            self.used += units

    def seconds_until(self, units: int) -> int:
        """Return in how many seconds `units` will fit, if nobody else comes; 60 for more than ever fit."""
        missing = self.used + units - self.limit
        if missing <= 0:
            return 0
        for age in range(_SECONDS - 1, -1, -1):
            missing -= self._by_second[(self._now - age) % _SECONDS]
            if missing <= 0:
                return _SECONDS - age
        return _SECONDS - 1

    def all_used(self) -> int:
        """Return the units that everybody used, as far as is known here."""
        return self.used

    def _forget(self, second: int) -> None:
        if second - self._now >= _SECONDS:
            self._by_second = [0] * _SECONDS
            self.used = 0
        else:
            for gone in range(self._now + 1, second + 1):
                place = gone % _SECONDS
                self.used -= self._by_second[place]
                self._by_second[place] = 0
        self._now = second


class Purse:
    """Nano-USD of one budget in one period, as far as this process may spend them.

    `room` may still be reserved here; `reserved` is held for calls under way; `spent` is the whole spend of the period
    as last heard, with all of our own; `unreported` is the part of it that the bank has not heard of.
    """

    __slots__ = (
        "amount",
        "ends_at",
        "held_elsewhere",
        "opening",
        "reserved",
        "room",
        "spent",
        "starts_at",
        "taken",
        "unreported",
    )

    def __init__(self, amount: int) -> None:
        self.amount = amount
        self.starts_at = self.ends_at = 0.0  # epoch seconds; an ended period has to be opened anew
        self.room = self.reserved = self.spent = self.unreported = self.held_elsewhere = 0
        self.taken = 0  # reserved since the last report to the bank
        self.opening = 0  # counts `open`

    def open(self, *, starts_at: float, ends_at: float, spent: int, granted: int) -> None:
        """Begin a period of which `spent` is gone and `granted` may be spent here.

        What is still reserved was taken of the room before: it does not come back to this one.
        """
        self.opening += 1
        self.starts_at, self.ends_at = starts_at, ends_at
        self.spent, self.room = spent, granted
        self.reserved = self.unreported = self.held_elsewhere = 0

    def reserve(self, nanousd: int) -> None:
        self.room -= nanousd
        self.reserved += nanousd
        self.taken += nanousd

    def settle(self, reserved_nanousd: int, cost_nanousd: int) -> None:
        """Replace a reservation by what the call did cost; a cost above it is spent all the same."""
        self.reserved -= reserved_nanousd
        self.room += reserved_nanousd - cost_nanousd
        self.spent += cost_nanousd
        self.unreported += cost_nanousd


class Meter:
    """One limit for one value of whatever it limits: a purse or a window, and when to tell of it next."""

    __slots__ = ("alert_at_nanousd", "lease", "limit", "purse", "used_at", "value", "window")

    def __init__(self, limit: LimitSnapshot, value: str, *, purse: Purse | None, window: Window | None) -> None:
        self.limit = limit
        self.value = value  # as `billing.spending` counts it; of organizations empty
        self.purse = purse
        self.window = window
        self.lease: Any = None  # the bank's own
        self.alert_at_nanousd = -1  # the next percentage; -1: not known yet
        self.used_at = 0  # seconds of the monotonic clock


class Hold:
    """What one call has taken of its meters, until it is settled."""

    __slots__ = ("is_settled", "purses", "requests", "reserved_nanousd", "reserved_tokens", "tokens")

    def __init__(self) -> None:
        self.purses: list[tuple[Meter, Purse, int]] = []  # with the opening of the purse
        self.requests: list[tuple[Meter, int]] = []  # with the second that they were taken at
        self.tokens: list[tuple[Meter, int]] = []
        self.reserved_nanousd = 0
        self.reserved_tokens = 0
        self.is_settled = False
