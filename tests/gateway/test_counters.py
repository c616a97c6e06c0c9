"""A window never lets more through in a minute than it says; a purse never loses or makes money."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.counters import Purse, Window


class Minutes(RuleBasedStateMachine):
    """A window beside a list of everything that was let through, by a clock that only goes forward."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(50)
        self.second = 0
        self.taken: list[list[int]] = []  # second, units

    @rule(seconds=st.integers(0, 200))
    def wait(self, seconds: int) -> None:
        self.second += seconds

    @rule(units=st.integers(1, 60))
    def come(self, units: int) -> None:
        room = self.window.room(self.second)
        assert room == 50 - self._in_window(61)
        if units <= room:
            assert self.window.take(units) == self.second
            self.taken.append([self.second, units])
        elif units <= 50:
            wait = self.window.seconds_until(units)
            assert 0 < wait <= 61
            assert 50 - self._in_window(61, at=self.second + wait) >= units
            assert 50 - self._in_window(61, at=self.second + wait - 1) < units

    @rule(back=st.integers(0, 50), index=st.integers(0, 100))
    def correct(self, back: int, index: int) -> None:
        if self.taken:
            entry = self.taken[index % len(self.taken)]
            back = min(back, entry[1])
            self.window.room(self.second)
            self.window.correct(entry[0], -back)
            entry[1] -= back

    @invariant()
    def never_more_than_the_limit_in_sixty_seconds(self) -> None:
        assert self._in_window(60) <= 50

    def _in_window(self, seconds: int, at: int | None = None) -> int:
        now = self.second if at is None else at
        return sum(units for second, units in self.taken if second > now - seconds)


TestMinutes = Minutes.TestCase


def test_a_burst_gets_exactly_the_limit() -> None:
    window = Window(100)
    admitted = 0
    for _ in range(200):
        if window.room(7) >= 1:
            window.take(1)
            admitted += 1
    assert admitted == 100
    assert window.seconds_until(1) == 61
    assert window.room(68) == 100


@given(
    amount=st.integers(1, 10**6),
    calls=st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 2 * 10**5)), max_size=50),
)
def test_what_is_left_reserved_and_spent_is_always_the_whole(amount: int, calls: list[tuple[int, int]]) -> None:
    purse = Purse(amount)
    purse.open(starts_at=0.0, ends_at=1.0, spent=0, granted=amount)
    open_calls = []
    for reserved, cost in calls:
        if purse.room >= reserved:
            purse.reserve(reserved)
            open_calls.append((reserved, cost))
        assert purse.room + purse.reserved + purse.spent == amount
    for reserved, cost in open_calls:
        purse.settle(reserved, cost)
        assert purse.room + purse.reserved + purse.spent == amount
    assert purse.reserved == 0
    assert purse.spent == sum(cost for _, cost in open_calls) == purse.unreported
