"""The right row at the right moment, named by a version that never changes its meaning."""

from __future__ import annotations

import dataclasses
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from gateway.catalog import prices
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook, PriceRow

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def make_row(**changes: Any) -> PriceRow:
    rates = dict.fromkeys(prices.Rates.__struct_fields__, 1_000_000_000)
    document: dict[str, Any] = {
        "model": "lab/m",
        "priced_as": "lab/m",
        "source": "genai-prices 0",
        "service_tier": "",
        "valid_from": None,
        "valid_to": None,
        "windows": [],
        "rates": {**rates, **changes.pop("rates", {})},
        "tiers": [],
        "per_million_requests": 0,
        "has_output_price": True,
    }
    return prices.from_document({**document, **changes})


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_one_row_holds_at_any_time_and_in_any_unpriced_tier() -> None:
    row = make_row()
    book = PriceBook([row])
    for tier in ("", "default", "standard", "auto", "scale"):
        assert book.row("lab/m", 0, tier) is row
        assert book.row("lab/m", NOON, tier) is row


def test_no_row_is_no_price_not_a_price_of_zero() -> None:
    assert PriceBook([make_row()]).row("lab/other", NOON) is None


def test_a_tier_of_its_own_has_rows_of_its_own() -> None:
    standard, flex = make_row(), make_row(service_tier="flex", rates={"input": 5})
    book = PriceBook([standard, flex])
    assert book.row("lab/m", NOON, "flex") is flex
    assert book.row("lab/m", NOON) is standard
    assert book.service_tiers("lab/m") == {"flex"}


def test_dates_begin_at_midnight_utc() -> None:
    change = int(epoch("2026-12-01T00:00:00"))
    before, after = make_row(valid_to=change), make_row(valid_from=change, rates={"input": 5})
    book = PriceBook([after, before])
    assert book.row("lab/m", change - 0.001) is before
    assert book.row("lab/m", change) is after
    assert book.row("lab/m", datetime.fromisoformat("2026-12-01T00:30:00+01:00")) is before


def test_windows_hold_from_their_start_until_before_their_end_every_day() -> None:
    peak = make_row(windows=[[3600, 14400], [21600, 36000]], rates={"input": 2})
    calm = make_row(windows=[[0, 3600], [14400, 21600], [36000, 86400]])
    book = PriceBook([peak, calm])
    for day in ("2025-01-01", "2026-11-22"):
        found = {
            clock: book.row("lab/m", epoch(f"{day}T{clock}"))
            for clock in (
                "00:59:59",
                "01:00:00",
                "03:59:59",
                "04:00:00",
                "06:00:00",
                "09:59:59",
                "10:00:00",
                "23:59:59",
            )
        }
        assert [row is peak for row in found.values()] == [False, True, True, False, True, True, False, False]


def test_the_highest_tier_that_the_prompt_exceeds_applies() -> None:
    tiers = [[above, dict.fromkeys(prices.Rates.__struct_fields__, above)] for above in (100, 1000)]
    row = make_row(tiers=tiers)
    assert [row.rates_for(tokens).input for tokens in (0, 100, 101, 1000, 1001, 10**9)] == [
        1_000_000_000,
        1_000_000_000,
        100,
        100,
        1000,
        1000,
    ]


def test_the_version_is_the_same_in_every_process_and_other_for_any_other_number() -> None:
    row = make_row()
    assert row.price_version == make_row().price_version
    assert row.price_version == "pv_34c80e664321b048"  # golden: a change here renames every row on record
    variants = [
        make_row(rates={"cached_read": 999_999_999}),
        make_row(valid_from=0),
        make_row(valid_to=1),
        make_row(windows=[[0, 10]]),
        make_row(service_tier="flex"),
        make_row(source="genai-prices 1"),
        make_row(model="lab/n"),
        make_row(per_million_requests=1),
        make_row(has_output_price=False),
        make_row(tiers=[[5, dict.fromkeys(prices.Rates.__struct_fields__, 1)]]),
    ]
    assert len({row.price_version, *(variant.price_version for variant in variants)}) == len(variants) + 1


def test_a_row_survives_its_document() -> None:
    row = make_row(windows=[[1, 2]], tiers=[[5, dict.fromkeys(prices.Rates.__struct_fields__, 1)]])
    assert prices.from_document(row.document()) == row


def test_a_forged_version_is_not_believed() -> None:
    assert prices.from_document({**make_row().document(), "price_version": "pv_forged"}).price_version != "pv_forged"


def test_a_version_finds_its_row_also_among_the_archived() -> None:
    current, old = make_row(), make_row(source="genai-prices 0.1")
    book = PriceBook([current], archived=[old])
    assert book.by_version(current.price_version) is current
    assert book.by_version(old.price_version) is old
    assert book.by_version("pv_0000000000000000") is None
    assert book.row("lab/m", NOON) is current


def test_a_row_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_row().model = "x"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        make_row().rates.input = 1  # type: ignore[misc]


def test_every_model_of_the_catalog_is_priced_now_and_versions_are_unique(catalog: Catalog, book: PriceBook) -> None:
    assert all(book.row(model.id, NOON) is not None for model in catalog)
    versions = [row.price_version for row in book.rows]
    assert len(versions) == len(set(versions)) == 250
    assert all(book.by_version(row.price_version) is row for row in book.rows)


def test_the_rows_of_a_model_cover_all_time_without_overlap(catalog: Catalog, book: PriceBook) -> None:
    for model in catalog:
        for tier in ("", *book.service_tiers(model.id)):
            rows = [row for row in book.rows if row.model == model.id and row.service_tier == tier]
            edges = sorted({edge for row in rows for edge in (row.valid_from, row.valid_to) if edge is not None})
            seconds = sorted({second for row in rows for window in row.windows for second in window} | {0}) or [0]
            for start in [edges[0] - 86_400 if edges else 0, *edges]:
                for second in seconds:
                    at = start - start % 86_400 + second % 86_400
                    valid = [row for row in rows if _holds(row, at)]
                    assert len(valid) == 1, (model.id, tier, at)
                    assert book.row(model.id, at, tier) is valid[0]


def _holds(row: PriceRow, at: int) -> bool:
    if row.valid_from is not None and at < row.valid_from:
        return False
    if row.valid_to is not None and at >= row.valid_to:
        return False
    return not row.windows or any(start <= at % 86_400 < end for start, end in row.windows)


def test_rows_hold_integers_only(book: PriceBook) -> None:
    for row in book.rows:
        for rates in (row.rates, *(rates for _, rates in row.tiers)):
            assert all(type(value) is int and value >= 0 for value in msgspec.structs.astuple(rates))
        assert row.first_tier == (row.tiers[0][0] if row.tiers else sys.maxsize)


def test_cost_ranks_weigh_three_of_input_to_one_of_output() -> None:
    row = make_row(rates={"input": 1_000_000_000, "output": 5_000_000_000})
    assert PriceBook([row]).cost_ranks(0) == {"lab/m": 2_000_000_000}


def test_announced_changes_are_in_the_book(book: PriceBook) -> None:
    before = book.row("google/gemini-4-argon", epoch("2026-11-30T23:59:59"))
    after = book.row("google/gemini-4-argon", epoch("2026-12-01T00:00:00"))
    assert before is not None
    assert after is not None
    assert (before.rates.input, before.rates.output) == (2_000_000_000, 10_000_000_000)
    assert (after.rates.input, after.rates.output) == (4_000_000_000, 20_000_000_000)
    assert before.valid_to == after.valid_from == 1_796_083_200
    batch = book.row("google/gemini-4-argon", epoch("2026-12-01T00:00:00"), "batch")
    assert batch is not None
    assert batch.rates.input == 2_000_000_000


def test_a_provider_that_resells_has_no_tiers_of_its_own(book: PriceBook) -> None:
    """genai-prices finds Azure's models at OpenAI and then ignores the service tier; so do we."""
    assert book.service_tiers("azure/gpt-5.4") == frozenset()
    assert book.service_tiers("openai/gpt-5.4") == {"flex", "priority", "fast", "batch"}
    assert book.service_tiers("anthropic/claude-opus-5-5") == {"fast", "batch"}
