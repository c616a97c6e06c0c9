"""Numbers in the documentation are what the price book gives, so that no published example fails to add up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from gateway import settlement
from gateway.catalog import loader
from gateway.catalog.prices import PriceBook
from gateway.providers.protocol import Usage

_PAGE = Path(loader.__file__).parents[2] / "docs" / "explanation" / "cost-of-a-call.md"


def test_the_example_of_the_page_is_what_the_call_costs(book: PriceBook) -> None:
    page = _PAGE.read_text(encoding="utf-8")
    row = book.row("anthropic/claude-haiku-4-5", datetime(2026, 11, 22, tzinfo=UTC))
    usage = Usage(input_tokens=1_247, cached_read_tokens=920, output_tokens=183)
    for line in settlement.arithmetic(usage, row):
        assert f"| {line.unit} | {line.units:,} | {line.per_million_nanousd:,} | {line.cost_nanousd:,} |" in page
    total = settlement.settle(usage, row).provider_cost_nanousd
    assert f"**{total:,}**" in page
    assert f"${total / 1e9:.6f}" in page
