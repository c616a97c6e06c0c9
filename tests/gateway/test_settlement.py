"""A call costs the exact sum of its tokens, rounded once, and every part of it adds up."""

from __future__ import annotations

import timeit
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.request_log import BYOK, MANAGED, PRICED, SIMULATED, UNPRICED, UNUSED
from gateway import settlement
from gateway.catalog import prices
from gateway.catalog.prices import PriceRow
from gateway.providers.protocol import Usage

_HAIKU = {
    "input": 1_000_000_000,
    "cached_read": 100_000_000,
    "cached_audio_read": 100_000_000,
    "cache_write": 1_250_000_000,
    "cache_write_1h": 2_000_000_000,
    "audio_input": 1_000_000_000,
    "output": 5_000_000_000,
    "reasoning": 5_000_000_000,
    "audio_output": 5_000_000_000,
}


def make_row(*, rates: dict[str, int] | None = None, **changes: Any) -> PriceRow:
    return prices.from_document(
        {
            "model": "lab/m",
            "priced_as": "lab/m",
            "source": "genai-prices 0",
            "service_tier": "",
            "valid_from": None,
            "valid_to": None,
            "windows": [],
            "rates": {**_HAIKU, **(rates or {})},
            "tiers": [],
            "per_million_requests": 0,
            "has_output_price": True,
            **changes,
        }
    )


def parts(settled: settlement.Settlement) -> dict[str, int]:
    return {
        "input": settled.input_cost_nanousd,
        "cached_read": settled.cached_read_cost_nanousd,
        "cache_write": settled.cache_write_cost_nanousd,
        "output": settled.output_cost_nanousd,
    }


def test_a_common_call_has_two_parts() -> None:
    settled = settlement.settle(Usage(input_tokens=1_247, output_tokens=183), make_row())
    assert settled == settlement.Settlement(
        PRICED, make_row().price_version, 1_247_000, 0, 0, 915_000, 2_162_000, 2_162_000
    )


def test_cached_and_written_tokens_are_part_of_the_input_and_priced_apart() -> None:
    usage = Usage(
        input_tokens=10_000,
        cached_read_tokens=6_000,
        cache_write_tokens=3_000,
        cache_write_1h_tokens=1_000,
        output_tokens=100,
    )
    settled = settlement.settle(usage, make_row())
    assert parts(settled) == {"input": 1_000_000, "cached_read": 600_000, "cache_write": 4_500_000, "output": 500_000}
    assert settled.provider_cost_nanousd == 6_600_000


def test_audio_and_reasoning_have_prices_of_their_own_where_the_row_says_so() -> None:
    row = make_row(rates={"audio_input": 3_000_000_000, "reasoning": 1_000_000_000, "audio_output": 9_000_000_000})
    usage = Usage(
        input_tokens=1_000,
        audio_input_tokens=400,
        output_tokens=1_000,
        reasoning_tokens=300,
        audio_output_tokens=200,
    )
    settled = settlement.settle(usage, row)
    assert settled.input_cost_nanousd == 600_000 + 1_200_000
    assert settled.output_cost_nanousd == 500 * 5_000 + 300 * 1_000 + 200 * 9_000


def test_cached_and_audio_tokens_beyond_the_input_are_cached_audio() -> None:
    row = make_row(rates={"audio_input": 3_000_000_000, "cached_audio_read": 300_000_000})
    usage = Usage(input_tokens=1_000, cached_read_tokens=800, audio_input_tokens=700)
    settled = settlement.settle(usage, row)
    assert settled.cached_read_cost_nanousd == 300 * 100 + 500 * 300
    assert settled.input_cost_nanousd == 200 * 3_000


def test_a_long_prompt_moves_every_token_to_its_tier() -> None:
    row = make_row(tiers=[[200_000, {name: 2 * rate for name, rate in _HAIKU.items()}]])
    below = settlement.settle(Usage(input_tokens=200_000, output_tokens=10), row).provider_cost_nanousd
    above = settlement.settle(Usage(input_tokens=200_001, output_tokens=10), row).provider_cost_nanousd
    assert below == 200_050_000
    assert above == 2 * (200_001_000 + 50_000)


def test_a_fee_per_request_counts_once() -> None:
    row = make_row(per_million_requests=5_000_000_000_000)  # $5 a thousand
    settled = settlement.settle(Usage(input_tokens=1_000, output_tokens=1), row)
    assert settled.provider_cost_nanousd == 5_000_000 + 1_000_000 + 5_000
    assert ("request", 1) in [(line.unit, line.units) for line in settlement.arithmetic(Usage(input_tokens=1), row)]


@pytest.mark.parametrize("usage", [None, Usage(), Usage(is_reported=False)])
@pytest.mark.parametrize("row", [None, make_row()])
def test_no_usage_is_unused_not_free(usage: Usage | None, row: PriceRow | None) -> None:
    assert settlement.settle(usage, row) == settlement.Settlement(UNUSED)
    assert settlement.arithmetic(usage, row) == []


def test_no_price_is_unpriced_and_its_zeros_mean_unknown() -> None:
    usage = Usage(input_tokens=5, output_tokens=5)
    assert settlement.settle(usage, None) == settlement.Settlement(UNPRICED)
    assert settlement.estimate(usage, None) is None
    assert settlement.arithmetic(usage, None) == []


def test_output_without_an_output_price_is_unpriced() -> None:
    row = make_row(rates={"output": 0, "reasoning": 0, "audio_output": 0}, has_output_price=False)
    assert settlement.settle(Usage(input_tokens=5, output_tokens=1), row).price_state == UNPRICED
    assert settlement.settle(Usage(input_tokens=5), row).price_state == PRICED


def test_a_price_of_zero_is_a_price() -> None:
    row = make_row(rates=dict.fromkeys(_HAIKU, 0))
    settled = settlement.settle(Usage(input_tokens=5, output_tokens=5), row)
    assert (settled.price_state, settled.provider_cost_nanousd) == (PRICED, 0)


@pytest.mark.parametrize(("key_source", "billed"), [(MANAGED, 2_162_000), (BYOK, 0), (SIMULATED, 0)])
def test_managed_calls_are_billed_at_the_price_of_the_provider_and_own_keys_at_nothing(
    key_source: str, billed: int
) -> None:
    for usage in (
        Usage(input_tokens=1_247, output_tokens=183),
        Usage(input_tokens=1_247, output_tokens=183, cached_read_tokens=0, cache_write_1h_tokens=0, reasoning_tokens=9),
    ):
        settled = settlement.settle(usage, make_row(), key_source)
        assert settled.provider_cost_nanousd == 2_162_000
        assert settled.billed_nanousd == billed


def test_an_unknown_key_source_is_an_error_not_a_gift() -> None:
    with pytest.raises(ValueError, match="Unknown key source 'other'"):
        settlement.settle(Usage(input_tokens=1), make_row(), "other")


def test_a_call_is_rounded_once_half_to_even() -> None:
    # 37.5 nano-dollars a token: ties at odd numbers of tokens.
    row = make_row(rates={"input": 37_500_000, "output": 0})
    costs = [settlement.settle(Usage(input_tokens=tokens), row).provider_cost_nanousd for tokens in (1, 2, 3, 5, 7)]
    assert costs == [38, 75, 112, 188, 262]


def test_two_parts_that_are_almost_whole_are_both_rounded_up() -> None:
    row = make_row(rates={"input": 900_000, "output": 900_000, "reasoning": 900_000, "audio_output": 900_000})
    settled = settlement.settle(Usage(input_tokens=1, output_tokens=1), row)
    assert (settled.input_cost_nanousd, settled.output_cost_nanousd, settled.provider_cost_nanousd) == (1, 1, 2)


def test_a_published_sample_that_does_not_add_up_is_not_reproduced() -> None:
    """45 tokens in and 180 out at $0.14 and $0.28 a million were published as $0.000027; they cost twice that."""
    row = make_row(rates=dict.fromkeys(("output", "reasoning", "audio_output"), 280_000_000) | {"input": 140_000_000})
    assert settlement.settle(Usage(input_tokens=45, output_tokens=180), row).provider_cost_nanousd == 56_700


def test_an_estimate_is_the_cost_by_the_other_row() -> None:
    usage = Usage(input_tokens=1_000, cached_read_tokens=500, output_tokens=10)
    assert settlement.estimate(usage, make_row(rates={"output": 10_000_000_000})) == 500_000 + 50_000 + 100_000
    assert settlement.estimate(None, make_row()) is None


def test_the_arithmetic_shows_units_prices_and_costs() -> None:
    usage = Usage(
        input_tokens=10,
        cached_read_tokens=2,
        cache_write_tokens=3,
        cache_write_1h_tokens=1,
        output_tokens=4,
        reasoning_tokens=1,
    )
    lines = settlement.arithmetic(usage, make_row())
    assert [(line.part, line.unit, line.units, line.per_million_nanousd, line.cost_nanousd) for line in lines] == [
        ("input", "input", 5, 1_000_000_000, 5_000),
        ("cached_read", "cached_read", 2, 100_000_000, 200),
        ("cache_write", "cache_write", 2, 1_250_000_000, 2_500),
        ("cache_write", "cache_write_1h", 1, 2_000_000_000, 2_000),
        ("output", "output", 3, 5_000_000_000, 15_000),
        ("output", "reasoning", 1, 5_000_000_000, 5_000),
    ]


tokens = st.one_of(st.just(0), st.integers(0, 50), st.integers(0, 2_000_000))
usages = st.builds(
    Usage,
    input_tokens=tokens,
    cached_read_tokens=tokens,
    cache_write_tokens=tokens,
    cache_write_1h_tokens=tokens,
    output_tokens=tokens,
    reasoning_tokens=tokens,
    audio_input_tokens=tokens,
    audio_output_tokens=tokens,
)
rates = st.fixed_dictionaries(dict.fromkeys(_HAIKU, st.integers(0, 10**11)))
rows = st.builds(
    lambda base, tier, above, fee: make_row(rates=base, tiers=[[above, tier]], per_million_requests=fee),
    rates,
    rates,
    st.integers(0, 1_000_000),
    st.sampled_from([0, 5_000_000_000_001]),
)


@settings(max_examples=300, deadline=None)
@given(usage=usages, row=rows)
def test_lines_parts_and_total_always_add_up(usage: Usage, row: PriceRow) -> None:
    """Also where a provider's numbers contradict each other: nothing is negative and nothing is lost."""
    settled = settlement.settle(usage, row)
    lines = settlement.arithmetic(usage, row)
    assert sum(parts(settled).values()) == settled.provider_cost_nanousd
    for part, cost in parts(settled).items():
        assert sum(line.cost_nanousd for line in lines if line.part == part) == cost
    exact = sum((Decimal(line.units) * line.per_million_nanousd for line in lines), Decimal(0)) / 1_000_000
    assert settled.provider_cost_nanousd == int(exact.to_integral_value(rounding=ROUND_HALF_EVEN))
    for line in lines:
        assert line.units > 0
        assert abs(line.cost_nanousd - Decimal(line.units) * line.per_million_nanousd / 1_000_000) < 2


@settings(max_examples=200, deadline=None)
@given(read=tokens, output=tokens, base=rates)
def test_the_fast_way_and_the_careful_way_agree(read: int, output: int, base: dict[str, int]) -> None:
    plain = {**base, "audio_input": base["input"], "cached_audio_read": base["cached_read"]}
    plain |= dict.fromkeys(("reasoning", "audio_output"), base["output"])
    assert make_row(rates=plain).is_plain
    usage = Usage(input_tokens=read, cached_read_tokens=read // 3, cache_write_tokens=read // 5, output_tokens=output)
    for row in (make_row(rates=plain), make_row(rates=base)):
        for used in (usage, Usage(input_tokens=read, output_tokens=output)):
            assert settlement.settle(used, row) == settlement._settle_carefully(used, row, MANAGED)


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input_tokens=-5, output_tokens=10),
        Usage(input_tokens=10, output_tokens=-5),
        Usage(input_tokens=10, cached_read_tokens=-5, output_tokens=1),
        Usage(input_tokens=10, cache_write_tokens=20, output_tokens=1),
        Usage(input_tokens=10, cached_read_tokens=20, output_tokens=1),
        Usage(input_tokens=10, output_tokens=1, reasoning_tokens=99),
        Usage(cached_read_tokens=20),
    ],
)
def test_contradictory_usage_never_costs_less_than_nothing(usage: Usage) -> None:
    settled = settlement.settle(usage, make_row())
    assert all(cost >= 0 for cost in parts(settled).values())
    assert sum(parts(settled).values()) == settled.provider_cost_nanousd > 0


def test_settling_a_common_call_is_cheap() -> None:
    usage, row = Usage(input_tokens=1_247, output_tokens=183), make_row()
    best = min(timeit.repeat(lambda: settlement.settle(usage, row), number=2_000, repeat=7)) / 2_000
    assert best < 3e-6 * 2  # measured 0.5 µs; the margin is for a busy machine
