"""Newer prices are shown before they count, and what is hard to believe needs a second word."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gateway.catalog import loader, prices, refresh
from gateway.catalog.prices import PriceBook, PriceRow

NOON = 1_795_348_800
DAY = 86_400
DOLLAR = 1_000_000_000


def row(model: str = "lab/m", *, price: int = DOLLAR, output: int | None = DOLLAR, **fields: Any) -> PriceRow:
    rates = dict.fromkeys(prices.Rates.__struct_fields__, price)
    rates |= dict.fromkeys(("output", "reasoning", "audio_output"), output or 0)
    return prices.from_document(
        {
            "model": model, "priced_as": model, "source": "t", "service_tier": "", "valid_from": None,
            "valid_to": None, "windows": [], "tiers": [], "per_million_requests": 0, "rates": rates,
            "has_output_price": output is not None, **fields,
        }
    )  # fmt: skip


def units(old: list[PriceRow], new: list[PriceRow]) -> dict[str, tuple[int | None, int | None, int | None]]:
    found = refresh.changes(PriceBook(old), PriceBook(new), now=NOON)
    return {change.unit: (change.old, change.new, change.at) for change in found}


def test_the_same_prices_from_elsewhere_are_no_difference() -> None:
    assert units([row()], [row(source="elsewhere")]) == {}
    (kept,) = refresh.merged(PriceBook([row()]), PriceBook([row(source="elsewhere")]))
    assert kept.price_version == row().price_version


def test_a_changed_price_is_named_by_its_unit() -> None:
    assert units([row()], [row(output=2 * DOLLAR)])["output"] == (DOLLAR, 2 * DOLLAR, None)
    tiered = row(tiers=[[1000, {**dict.fromkeys(prices.Rates.__struct_fields__, 3 * DOLLAR)}]])
    assert units([row()], [tiered])["input above 1000 tokens"] == (None, 3 * DOLLAR, None)


def test_a_change_that_is_announced_says_from_when() -> None:
    later = NOON + 10 * DAY
    new = [row(valid_to=later), row(price=2 * DOLLAR, output=DOLLAR, valid_from=later)]
    assert units([row()], new)["input"] == (DOLLAR, 2 * DOLLAR, later)
    assert "output" not in units([row()], new)


def test_prices_by_the_hour_are_compared_at_their_hours() -> None:
    new = [row(windows=[[0, 3600]], price=2 * DOLLAR), row(windows=[[3600, DAY]])]
    assert units([row()], new)["input"][:2] == (DOLLAR, 2 * DOLLAR)


@pytest.mark.parametrize(
    ("old", "new", "is_suspicious"),
    [(10, 20, False), (10, 100, True), (100, 10, True), (10, 0, True), (0, 10, True), (0, 0, False), (10, 11, False)],
)
def test_ten_times_or_zero_is_hard_to_believe(old: int, new: int, *, is_suspicious: bool) -> None:
    assert refresh.Change("m", "", "input", old, new, None).is_suspicious is is_suspicious


def test_a_model_that_the_data_lacks_keeps_its_price() -> None:
    old, new = PriceBook([row("lab/a"), row("lab/b")]), PriceBook([row("lab/a", price=2)])
    assert refresh.missing(old, new) == ["lab/b"]
    assert {found.model: found.rates.input for found in refresh.merged(old, new)} == {"lab/a": 2, "lab/b": DOLLAR}


@pytest.fixture
def home(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def data(path: Path, *, input_mtok: float, output_mtok: float = 0.75) -> str:
    model = {
        "id": "gpt-oss-120b",
        "match": {"equals": "gpt-oss-120b"},
        "prices": {"input_mtok": input_mtok, "output_mtok": output_mtok},
    }
    provider = {"id": "cerebras", "name": "Cerebras", "api_pattern": "https://api\\.cerebras\\.ai", "models": [model]}
    path.write_text(json.dumps([provider]))
    return str(path)


def price_of_now(home: Path) -> PriceRow:
    _, book = loader.load(home / "prices", whole_providers=loader.WHOLE_PROVIDERS)
    found = book.row("cerebras/gpt-oss-120b", datetime.now(UTC))
    assert found is not None
    return found


def test_the_command_shows_first_and_writes_when_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = price_of_now(home)
    assert before.rates.input == 350_000_000
    source = data(home / "data.json", input_mtok=0.5)
    call_command("refresh_prices", source=source)
    shown = capsys.readouterr().out
    assert "cerebras/gpt-oss-120b" in shown
    assert "0.35" in shown
    assert "Nothing is written" in shown
    assert price_of_now(home) == before
    call_command("refresh_prices", source=source, accept=True)
    after = price_of_now(home)
    assert after.rates.input == 500_000_000
    assert after.price_version != before.price_version
    _, book = loader.load(home / "prices", whole_providers=loader.WHOLE_PROVIDERS)
    assert book.by_version(before.price_version) == before
    assert book.row("openai/gpt-5.4", NOON) is not None
    call_command("refresh_prices", source=source)
    assert "no difference" in capsys.readouterr().out
    wild = data(home / "wild.json", input_mtok=5.0)
    with pytest.raises(CommandError, match="nothing is written"):
        call_command("refresh_prices", source=wild, accept=True)
    assert price_of_now(home) == after
    call_command("refresh_prices", source=wild, accept=True, force=True)
    assert price_of_now(home).rates.input == 5_000_000_000


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "is no data of genai-prices"), ("{}", "no list of providers"), ('[{"id": 1}]', "no data")],
)
def test_what_is_no_price_data_is_refused(home: Path, content: str, says: str) -> None:
    (home / "data.json").write_text(content)
    with pytest.raises(CommandError, match=says):
        call_command("refresh_prices", source=str(home / "data.json"))


def test_nothing_is_read_unless_somebody_names_it(home: Path, settings: Any) -> None:
    with pytest.raises(CommandError, match="KAIROS_PRICES_SOURCE"):
        call_command("refresh_prices")
    with pytest.raises(CommandError, match="over https"):
        call_command("refresh_prices", source="http://127.0.0.1/data.json")
    with pytest.raises(CommandError, match="Cannot read"):
        call_command("refresh_prices", source="/nowhere/data.json")


def test_a_damaged_file_of_accepted_prices_stops_the_start(home: Path) -> None:
    call_command("refresh_prices", source=data(home / "data.json", input_mtok=0.5), accept=True)
    (accepted,) = (home / "prices").glob("*.accepted.json")
    accepted.write_text("{")
    with pytest.raises(loader.PricesUnavailable, match="Remove it"):
        price_of_now(home)
