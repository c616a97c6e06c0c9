from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import money

AMOUNTS = st.integers(min_value=-(10**15), max_value=10**15)


@pytest.mark.parametrize(
    ("nanousd", "shown"),
    [
        (None, "—"),
        (0, "$0.00"),
        (1_330_000, "$0.001330"),
        (499, "<$0.000001"),
        (500, "<$0.000001"),  # half to even is zero, and zero is never shown for something
        (1_500, "$0.000002"),
        (42_000_000, "$0.0420"),
        (999_999_999, "$1.0000"),
        (1_000_000_000, "$1.00"),
        (1_204_184_999_999, "$1,204.18"),
        (-1_330_000, "-$0.001330"),
    ],
)
def test_amounts_at_a_glance(nanousd: int | None, shown: str) -> None:
    assert money.usd(nanousd) == shown


@pytest.mark.parametrize(
    ("nanousd", "shown"),
    [
        (None, "—"),
        (0, "$0.00"),
        (1_330_000, "$0.001330"),
        (1_330_125, "$0.001330125"),
        (500_000_000, "$0.50"),
        (12_345_678_901_234, "$12,345.678901234"),
        (-1, "-$0.000000001"),
    ],
)
def test_exact_amounts_drop_no_digit(nanousd: int | None, shown: str) -> None:
    assert money.usd_exact(nanousd) == shown


@given(AMOUNTS)
def test_exact_forms_read_back_to_the_same_amount(nanousd: int) -> None:
    exact = Decimal(money.usd_exact(nanousd).replace("$", "").replace(",", ""))
    assert exact * 10**9 == nanousd == Decimal(money.decimal(nanousd)) * 10**9


@given(AMOUNTS.filter(lambda amount: abs(amount) >= 10**9))
def test_cents_are_rounded_as_the_decimal_module_rounds(nanousd: int) -> None:
    expected = (Decimal(nanousd) / 10**9).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    assert money.usd(nanousd) == f"{'-' if nanousd < 0 else ''}${abs(expected):,}"


def test_a_column_is_as_precise_as_its_most_precise_amount() -> None:
    assert money.places([1_000_000, 253_500]) == 7
    assert money.places([]) == 6
    assert money.usd_exact(204_000, 7) == "$0.0002040"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(None, "—"), (982, "982"), (9_999, "9,999"), (12_430, "12.4K"), (3_100_000, "3.1M"), (2_000_000_000, "2B")],
)
def test_counts_in_short(number: int | None, shown: str) -> None:
    assert money.compact(number) == shown


@pytest.mark.parametrize(
    ("microseconds", "shown"),
    [
        (None, "—"),
        (420, "420 µs"),
        (1_500, "1.5 ms"),
        (842_000, "842 ms"),
        (2_410_000, "2.41 s"),
        (185_000_000, "3 min 05 s"),
    ],
)
def test_durations(microseconds: int | None, shown: str) -> None:
    assert money.duration(microseconds) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 0, "—"),
        (0, 9, "0%"),
        (9, 9, "100%"),
        (1, 3, "33.3%"),
        (1, 100_000, "<0.1%"),
        (9_999_999, 10_000_000, "100.00%"),
    ],
)
def test_shares(part: int, whole: int, shown: str) -> None:
    assert money.percent(part, whole) == shown


def test_changes_need_something_to_compare_with() -> None:
    assert money.change(5, 0) is None
    assert money.change(5, None) is None
    assert money.signed_percent(money.change(3, 4)) == "\u221225.0%"
    assert money.signed_percent(money.change(40, 4)) == "\u00d710"
