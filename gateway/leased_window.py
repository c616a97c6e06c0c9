"""A minute's window of which one process holds a part. Leasing and reporting are `gateway.leases`'."""

from __future__ import annotations

from gateway.counters import Window


class LeasedWindow(Window):
    """A window of which this process holds units; while its bank is away it counts for itself.

    Units are spent within about a second of their lease: what is left over is renewed with each report.
    """

    __slots__ = ("corrections", "elsewhere", "held", "is_alone", "lease_second", "offset", "taken", "wait_s")

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.held = 0
        self.lease_second = 0  # by the clock of Redis
        self.offset = 0  # of that clock to ours
        self.elsewhere = 0
        self.taken = 0  # since the last report
        self.wait_s = 1
        self.is_alone = False
        self.corrections: dict[int, int] = {}

    def room(self, second: int) -> int:
        own = super().room(second)
        return own if self.is_alone else self.held

    def take(self, units: int) -> int:
        self.taken += units
        if not self.is_alone:
            self.held -= units
        return super().take(units)

    def correct(self, second: int, units: int) -> None:
        super().correct(second, units)
        if units and not self.is_alone:
            there = second + self.offset
            self.corrections[there] = self.corrections.get(there, 0) + units

    def seconds_until(self, units: int) -> int:
        return super().seconds_until(units) if self.is_alone else max(1, self.wait_s)

    def all_used(self) -> int:
        return self.used if self.is_alone else self.used + self.elsewhere
