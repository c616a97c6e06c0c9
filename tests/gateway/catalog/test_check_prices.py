"""Our settlement and genai-prices agree to the last nano-dollar, and the check finds it when they do not."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import CommandError, call_command

from analytics import request_log, spool
from analytics.request_log import RequestLog
from gateway import settlement
from gateway.catalog import loader
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.management.commands import check_prices
from gateway.management.commands.check_prices import Case
from gateway.providers.protocol import Usage


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_the_whole_grid_agrees_for_all_models(catalog: Catalog, book: PriceBook) -> None:
    cases = list(check_prices.cases(catalog, book))
    assert {case.model.id for case in cases} == set(catalog.models)
    assert {case.service_tier for case in cases} == {"", "default", "scale", "flex", "priority", "fast", "batch"}
    differences = [found for case in cases if (found := check_prices.difference(case, book)) is not None]
    assert differences == []
    # The grid reaches what it is for: hours, dates, long prompts, ties.
    assert any(case.model.id == "deepseek/deepseek-flash" and case.at % 86_400 == 3600 for case in cases)
    assert any(case.model.id == "google/gemini-4-argon" and case.at == at("2026-12-01T00:00:00") for case in cases)
    assert any(case.model.id == "openai/gpt-6.1-sol" and case.usage.input_tokens == 272_001 for case in cases)


def test_random_usage_at_random_times_agrees(catalog: Catalog, book: PriceBook) -> None:
    rng = random.Random(20261122)
    for _ in range(2_000):
        model = rng.choice(catalog.of_kind("chat"))
        read = rng.choice([rng.randrange(3_000), rng.randrange(700_000)])
        cached = rng.randrange(read + 1)
        written = rng.randrange(read - cached + 1)
        output = rng.randrange(50_000)
        usage = Usage(
            input_tokens=read,
            cached_read_tokens=cached,
            cache_write_tokens=written,
            cache_write_1h_tokens=rng.randrange(written + 1),
            audio_input_tokens=rng.choice([0, rng.randrange(read - written + 1)]),
            output_tokens=output,
            reasoning_tokens=rng.randrange(output + 1),
        )
        tier = rng.choice(["", "flex", "priority", "fast", "batch"])
        case = Case("random", model, usage, rng.uniform(at("2025-01-01"), at("2028-01-01")), tier)
        assert check_prices.difference(case, book) is None, case


@pytest.mark.parametrize(
    ("model", "moment", "tier", "usage", "usd"),
    [
        # DeepSeek doubles its price at UTC 01-04 and 06-10.
        ("deepseek/deepseek-flash", "2026-11-20T02:00", "", (12_000, 9_000, 900), "0.002034"),
        ("deepseek/deepseek-flash", "2026-11-20T07:00", "", (12_000, 9_000, 900), "0.002034"),
        ("deepseek/deepseek-flash", "2026-11-20T05:00", "", (12_000, 9_000, 900), "0.001017"),
        ("deepseek/deepseek-flash", "2026-11-20T12:00", "", (12_000, 9_000, 900), "0.001017"),
        # Prompts of more than 272,000 tokens cost twice as much from the first token on.
        ("openai/gpt-6.1-sol", "2026-11-20T12:00", "", (300_000, 0, 900), "1.2135"),
        ("openai/gpt-6.1-sol", "2026-11-20T12:00", "", (272_000, 0, 900), "0.553"),
        ("openai/gpt-6.1-sol", "2026-11-20T12:00", "", (272_001, 0, 900), "1.101504"),
        # 3,000 x 2 + 9,000 x 0.1 + 900 x 10 and the half of it, dollars per million.
        ("openai/gpt-6.1-sol", "2026-11-20T12:00", "", (12_000, 9_000, 900), "0.0159"),
        ("openai/gpt-6.1-sol", "2026-11-20T12:00", "flex", (12_000, 9_000, 900), "0.00795"),
        ("openai/gpt-6.1-sol", "2026-11-20T12:00", "batch", (12_000, 9_000, 900), "0.00795"),
        ("openai/gpt-6.1-sol", "2026-11-20T12:00", "priority", (12_000, 9_000, 900), "0.0318"),
        # Flex was not priced apart before 2026-10-12 in the source.
        ("openai/gpt-6.1-sol", "2026-10-11T12:00", "flex", (12_000, 9_000, 900), "0.0159"),
        # Argon doubles on 2026-12-01.
        ("google/gemini-4-argon", "2026-11-30T23:59", "", (10_000, 5_000, 1_000), "0.0205"),
        ("google/gemini-4-argon", "2026-12-01T00:00", "", (10_000, 5_000, 1_000), "0.041"),
        # A telemetry row published elsewhere says $0.00042 for this call: its own list prices give three times as much.
        ("anthropic/claude-haiku-4-5", "2026-11-20T12:00", "", (1_247, 920, 183), "0.001334"),
    ],
)
def test_golden_costs(
    catalog: Catalog, book: PriceBook, model: str, moment: str, tier: str, usage: tuple[int, int, int], usd: str
) -> None:
    read, cached, output = usage
    tokens = Usage(input_tokens=read, cached_read_tokens=cached, output_tokens=output)
    cost = settlement.settle(tokens, book.row(model, at(moment), tier)).provider_cost_nanousd
    assert cost == round(float(usd) * 1_000_000_000)
    assert check_prices.library_cost(Case("golden", catalog.models[model], tokens, at(moment), tier)) == cost


def test_list_price_ratios_do_not_bear_out_published_savings(book: PriceBook) -> None:
    """A published "30 times cheaper" of Haiku against Sonnet is a factor of 3 per token at list price."""
    usage = Usage(input_tokens=1_000, output_tokens=500)
    haiku = settlement.estimate(usage, book.row("anthropic/claude-haiku-4-5", at("2026-11-20")))
    sonnet = settlement.estimate(usage, book.row("anthropic/claude-sonnet-4-6", at("2026-11-20")))
    assert haiku == 3_500_000
    assert sonnet == 10_500_000


def _wrong_book(book: PriceBook, model: str) -> PriceBook:
    """Return the book with one price off by a thousandth of a nano-dollar a token."""
    rows = []
    for row in book.rows:
        if row.model == model and row.service_tier == "":
            rates = msgspec.structs.replace(row.rates, input=row.rates.input + 1_000)
            row = dataclasses.replace(row, rates=rates)
        rows.append(row)
    return PriceBook(rows)


def _two_models(catalog: Catalog) -> Catalog:
    models = [catalog.models["openai/gpt-4.1"], catalog.models["openai/gpt-4.1-mini"]]
    return Catalog(providers=catalog.providers.values(), models=models)


def test_the_check_finds_a_price_that_is_off_by_a_trifle(catalog: Catalog, book: PriceBook) -> None:
    wrong = _wrong_book(book, "openai/gpt-4.1")
    differences = [
        found
        for case in check_prices.cases(_two_models(catalog), book)
        if (found := check_prices.difference(case, wrong)) is not None
    ]
    assert differences
    assert {found.case.model.id for found in differences} == {"openai/gpt-4.1"}


def test_the_command_agrees_on_a_sample(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("check_prices", sample=50)
    assert "50 costs of 74 models agree" in capsys.readouterr().out


def test_the_command_fails_with_a_table(
    book: PriceBook, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = _wrong_book(book, "openai/gpt-4.1")
    monkeypatch.setattr(loader, "load", lambda _directory: (_two_models(catalog), wrong))
    with pytest.raises(CommandError, match=r"\d+ of \d+ costs differ"):
        call_command("check_prices")
    table = capsys.readouterr().out
    assert "openai/gpt-4.1" in table
    assert "openai/gpt-4.1-mini" not in table


def make_record(book: PriceBook, usage: Usage, **changes: Any) -> RequestLog:
    started = at("2026-11-20T12:00")
    settled = settlement.settle(usage, book.row("anthropic/claude-haiku-4-5", started))
    fields: dict[str, Any] = {
        "request_id": "req_1",
        "organization_id": "org_1",
        "workspace_id": "ws_1",
        "api_key_id": "key_1",
        "started_us": round(started * 1_000_000),
        "model": "anthropic/claude-haiku-4-5",
        **msgspec.structs.asdict(settled),
        **{
            name: count for name, count in msgspec.structs.asdict(usage).items() if name in RequestLog.__struct_fields__
        },
    }
    return RequestLog(**{**fields, **changes})


_WRITES = Usage(
    input_tokens=9_999,
    cached_read_tokens=3_333,
    cache_write_tokens=4_444,
    cache_write_1h_tokens=1_111,
    output_tokens=555,
)


def test_the_lifetime_of_cache_writes_follows_from_their_cost(book: PriceBook) -> None:
    record = make_record(book, _WRITES)
    row = book.by_version(record.price_version)
    assert row is not None
    assert settlement.usage_of(record, row) == _WRITES


def test_the_command_reads_records_from_files(
    book: PriceBook, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = make_record(book, _WRITES)
    unpriced = make_record(book, _WRITES, price_state=request_log.UNPRICED)
    path = tmp_path / "records.jsonl"
    path.write_bytes(request_log.encode(good) + b"\n" + request_log.encode(unpriced) + b"\n")
    call_command("check_prices", sample=1, records=[path])
    assert "2 costs of 74 models agree" in capsys.readouterr().out


def test_the_command_reads_sealed_segments(book: PriceBook, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_segment = spool.Writer(
        tmp_path, segment_bytes=1_000_000, segment_seconds=60, columns={"R": request_log.COLUMNS}
    )
    record = make_record(book, _WRITES)
    with_segment.record(record.request_id, request_log.encode(record))
    sealed = with_segment.seal()
    with_segment.close()
    assert sealed is not None
    call_command("check_prices", sample=1, records=[sealed])
    assert "2 costs of 74 models agree" in capsys.readouterr().out


@pytest.mark.parametrize("field", ["provider_cost_nanousd", "output_cost_nanousd"])
def test_a_record_that_does_not_add_up_is_a_difference(
    book: PriceBook, tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    good = make_record(book, _WRITES)
    bad = msgspec.structs.replace(good, **{field: getattr(good, field) + 1})
    path = tmp_path / "records.jsonl"
    path.write_bytes(request_log.encode(bad) + b"\n")
    with pytest.raises(CommandError, match="1 of 2 costs differ"):
        call_command("check_prices", sample=1, records=[path])
    assert "req_1" in capsys.readouterr().out


def test_a_file_that_holds_no_records_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with pytest.raises(CommandError, match="Cannot read"):
        call_command("check_prices", sample=1, records=[path])
    for content in (b"[1,2]\n", b'["req_1",2]\n', b"", b"nothing of the kind"):
        path.write_bytes(content)
        with pytest.raises(CommandError, match="neither record lines nor a spool segment"):
            call_command("check_prices", sample=1, records=[path])
