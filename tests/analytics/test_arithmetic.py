"""The worked example is Claude Haiku 4.5 at its list price of $1 and $5 a million: 1,247 in (920 cached), 183 out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import arithmetic
from analytics.arithmetic import Line
from tests.factories.request_logs import make_request_log

HAIKU = {
    "input_nanousd_per_mtok": 1_000_000_000,
    "cached_read_nanousd_per_mtok": 100_000_000,
    "cache_write_nanousd_per_mtok": 1_250_000_000,
    "output_nanousd_per_mtok": 5_000_000_000,
}


def lines(prices: dict[str, int] = HAIKU, **fields: Any) -> list[Line]:
    return arithmetic.lines(make_request_log(**fields), prices)


def test_the_published_example_costs_1334_microdollars() -> None:
    assert lines() == [
        Line("Input", 327, 1_000_000_000, 327_000),
        Line("Cached input", 920, 100_000_000, 92_000),
        Line("Output", 183, 5_000_000_000, 915_000),
    ]
    assert sum(line.cost_nanousd for line in lines()) == 1_334_000


def test_reasoning_without_a_price_of_its_own_costs_as_output() -> None:
    assert lines(reasoning_tokens=100)[-1] == Line("Output", 183, 5_000_000_000, 915_000)


def test_reasoning_with_its_own_price_has_its_own_line() -> None:
    found = lines(
        HAIKU | {"reasoning": 2_000_000_000},
        reasoning_tokens=100,
        output_cost_nanousd=83 * 5_000 + 100 * 2_000,
        price_state="priced",
        input_cost_nanousd=327_000,
        cached_read_cost_nanousd=92_000,
    )
    assert found[-2:] == [
        Line("Output", 83, 5_000_000_000, 415_000),
        Line("Reasoning", 100, 2_000_000_000, 200_000),
    ]


def test_a_price_that_does_not_explain_the_cost_is_not_shown() -> None:
    found = lines(HAIKU | {"output_nanousd_per_mtok": 4_000_000_000})
    assert found[-1] == Line("Output", 183, None, 915_000)


def test_a_receipt_without_prices_still_shows_the_parts() -> None:
    assert [(line.units, line.per_million_nanousd, line.cost_nanousd) for line in lines({})] == [
        (327, None, 327_000),
        (920, None, 92_000),
        (183, None, 915_000),
    ]


def test_an_estimated_call_has_its_lines_too() -> None:
    assert lines(price_state="estimated") == lines(price_state="priced") != []


@pytest.mark.parametrize("price_state", ["unpriced", "unused"])
def test_a_call_without_a_price_has_no_lines(price_state: str) -> None:
    assert lines(price_state=price_state) == []


@given(
    plain=st.integers(0, 200_000),
    cached=st.integers(0, 200_000),
    written=st.integers(0, 200_000),
    output=st.integers(0, 50_000),
    reasoning=st.integers(0, 50_000),
    drift=st.lists(st.integers(-1, 1), min_size=4, max_size=4),
    has_prices=st.booleans(),
)
def test_the_lines_always_add_up_to_the_record(
    plain: int, cached: int, written: int, output: int, reasoning: int, drift: list[int], has_prices: bool
) -> None:
    exact = (plain * 1_000, cached * 100, written * 1_250, output * 5_000)
    parts = [max(0, amount + error) for amount, error in zip(exact, drift, strict=True)]
    record = make_request_log(
        price_state="priced",
        input_tokens=plain + cached + written,
        cached_read_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
        input_cost_nanousd=parts[0],
        cached_read_cost_nanousd=parts[1],
        cache_write_cost_nanousd=parts[2],
        output_cost_nanousd=parts[3],
        provider_cost_nanousd=sum(parts),
    )
    found = arithmetic.lines(record, HAIKU if has_prices else {})
    assert sum(line.cost_nanousd for line in found) == record.provider_cost_nanousd
