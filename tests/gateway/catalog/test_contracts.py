"""What an organization agreed replaces the list price to the last digit, and only that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway import settlement
from gateway.catalog import contracts, prices
from gateway.catalog.contracts import Contracts, Term
from gateway.catalog.prices import PriceBook
from gateway.providers.protocol import Usage

NOON = 1_795_348_800.0
DOLLAR = 1_000_000_000
USAGE = Usage(input_tokens=12_345, cached_read_tokens=4_000, output_tokens=678, reasoning_tokens=60)


def term(pattern: str = "openai/*", **fields: object) -> Term:
    values = {"term_id": "price_1", "valid_from": 0.0, **fields}
    return Term(pattern=pattern, **values)  # type: ignore[arg-type]


def test_a_discount_takes_its_share_off_every_price(book: PriceBook) -> None:
    listed = book.row("openai/gpt-5.4", NOON)
    agreed = Contracts([term(discount_basis_points=1_250)]).row(book, "openai/gpt-5.4", NOON)
    assert listed is not None
    assert agreed is not None
    assert agreed.rates.input == listed.rates.input * 875 // 1000
    assert [above for above, _ in agreed.tiers] == [above for above, _ in listed.tiers]
    assert agreed.tiers[0][1].output == listed.tiers[0][1].output * 875 // 1000
    assert agreed.price_version not in {listed.price_version, ""}
    ours, theirs = settlement.settle(USAGE, agreed), settlement.settle(USAGE, listed)
    assert (theirs.provider_cost_nanousd, ours.provider_cost_nanousd) == (32_032_500, 28_028_438)  # half to even
    assert ours.price_version == agreed.price_version


def test_fixed_prices_replace_what_they_name_and_hold_at_any_length(book: PriceBook) -> None:
    agreed = Contracts([term("openai/gpt-5.4", input=2 * DOLLAR, output=9 * DOLLAR)]).row(book, "openai/gpt-5.4", NOON)
    listed = book.row("openai/gpt-5.4", NOON)
    assert agreed is not None
    assert listed is not None
    assert (agreed.rates.input, agreed.rates.output, agreed.rates.reasoning) == (2 * DOLLAR, 9 * DOLLAR, 9 * DOLLAR)
    assert agreed.rates.cached_read == listed.rates.cached_read
    assert agreed.tiers == ()
    long = Usage(input_tokens=500_000, output_tokens=10)
    assert settlement.settle(long, agreed).provider_cost_nanousd == 500_000 * 2_000 + 10 * 9_000


def test_other_service_tiers_stay_at_the_list_under_fixed_prices(book: PriceBook) -> None:
    agreed = Contracts([term("openai/gpt-6.1-sol", input=DOLLAR)])
    assert agreed.row(book, "openai/gpt-6.1-sol", NOON, "flex") is book.row("openai/gpt-6.1-sol", NOON, "flex")


def test_the_most_exact_term_that_is_valid_wins(book: PriceBook) -> None:
    agreed = Contracts(
        [
            term("openai/*", term_id="a", input=1),
            term("openai/gpt-5.4", term_id="b", input=2, valid_to=NOON),
            term("openai/gpt-5*", term_id="c", input=3),
        ]
    )

    def price(model: str, at: float = NOON) -> int:
        row = agreed.row(book, model, at)
        assert row is not None
        return row.rates.input

    assert price("openai/gpt-5.4", NOON - 1) == 2
    assert price("openai/gpt-5.4") == 3
    assert price("openai/gpt-6-luna") == 1
    listed = book.row("anthropic/claude-haiku-4-5", NOON)
    assert agreed.row(book, "anthropic/claude-haiku-4-5", NOON) is listed


def test_a_model_that_nobody_lists_can_have_an_agreed_price(book: PriceBook) -> None:
    agreed = Contracts([term("local/llama", input=DOLLAR, output=2 * DOLLAR)])
    row = agreed.row(book, "local/llama", NOON)
    assert settlement.settle(Usage(input_tokens=1_000, output_tokens=100), row).provider_cost_nanousd == 1_200_000
    assert Contracts([term("local/llama", input=DOLLAR)]).row(book, "local/llama", NOON) is None


def test_a_receipts_price_version_leads_back_to_the_row(book: PriceBook) -> None:
    agreed = Contracts([term("openai/gpt-5*", discount_basis_points=500), term("local/llama", input=1, output=1)])
    for model in ("openai/gpt-5.4", "local/llama"):
        row = agreed.row(book, model, NOON)
        assert row is not None
        assert agreed.by_version(book, row.price_version) == row
    listed = book.row("openai/gpt-6-luna", NOON)
    assert listed is not None
    assert agreed.by_version(book, listed.price_version) is listed
    assert agreed.by_version(book, "pv_unknown") is None


def test_without_terms_the_list_row_itself_is_used(book: PriceBook) -> None:
    listed = book.row("openai/gpt-5.4", NOON)
    assert contracts.row_of(book, None, "openai/gpt-5.4", NOON) is listed
    assert contracts.row_of(book, Contracts([]), "openai/gpt-5.4", NOON) is listed


@given(price=st.integers(0, 10**13), discount=st.integers(1, 10_000))
def test_a_discounted_price_is_the_nearest_whole_nano_dollar(price: int, discount: int) -> None:
    row = prices.from_document(
        {
            "model": "lab/m", "priced_as": "lab/m", "source": "t", "service_tier": "", "valid_from": None,
            "valid_to": None, "windows": [], "tiers": [], "per_million_requests": 0, "has_output_price": True,
            "rates": dict.fromkeys(prices.Rates.__struct_fields__, price),
        }
    )  # fmt: skip
    agreed = Contracts([term("lab/*", discount_basis_points=discount)]).row(PriceBook([row]), "lab/m", NOON)
    assert agreed is not None
    assert abs(agreed.rates.input * 10_000 - price * (10_000 - discount)) <= 5_000
