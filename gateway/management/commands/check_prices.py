"""Recompute costs with `genai_prices.calc_price` and compare them with ours to the last digit of a nano-dollar.

`calc_price` gives the exact price as a decimal; we round the exact total once, half to even, to nano-dollars. So both
must agree after the decimal is rounded the same way. The generated cases cover every model of the catalog in every
service tier, at the instants around each change of its prices, with prompts around each tier; real records are read
from files of record lines or sealed spool segments.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from analytics import request_log, spool
from analytics.request_log import RequestLog
from gateway import settlement
from gateway.catalog import loader
from gateway.catalog.models import CHAT, Catalog, Model
from gateway.catalog.prices import STANDARD, PriceBook, PriceRow
from gateway.providers.protocol import Usage

_SHAPES = (
    Usage(input_tokens=1247, cached_read_tokens=920, output_tokens=183),
    Usage(input_tokens=12_000, cached_read_tokens=9_000, output_tokens=900),
    Usage(input_tokens=300_000, output_tokens=900),
    Usage(input_tokens=1, output_tokens=1),
    Usage(input_tokens=7, output_tokens=0),
    Usage(input_tokens=5_003, cached_read_tokens=1_001, cache_write_tokens=2_003, output_tokens=77),
    Usage(
        input_tokens=9_999,
        cached_read_tokens=3_333,
        cache_write_tokens=4_444,
        cache_write_1h_tokens=1_111,
        output_tokens=555,
    ),
    Usage(input_tokens=4_321, output_tokens=3_210, reasoning_tokens=2_987),
    Usage(input_tokens=6_000, cached_read_tokens=1_500, audio_input_tokens=2_500, output_tokens=301),
    Usage(input_tokens=600_001, cached_read_tokens=599_999, output_tokens=100_003, reasoning_tokens=1),
)
_INSTANTS = ("2026-11-22T12:00:00", "2025-01-01T00:00:00", "2027-06-30T23:59:59")
_HOURS = (0, 1, 2, 4, 5, 6, 7, 10, 12, 23)
_UNKNOWN_TIER = "scale"


@dataclass(frozen=True, slots=True)
class Case:
    """One call to price: by our rows and by genai-prices."""

    label: str
    model: Model
    usage: Usage
    at: float
    service_tier: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A call on which the two do not agree; None is unpriced."""

    case: Case
    ours_nanousd: int | None
    theirs_nanousd: int | None


class Command(BaseCommand):
    help = "Compare our settlement with genai_prices.calc_price to the last digit; exit 1 with the differences."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--sample", type=int, help="check this many cases, drawn at random; default: all")
        parser.add_argument("--seed", type=int, default=0, help="of the draw")
        parser.add_argument(
            "--from", dest="data", type=Path, help="the data.json that was accepted; default: what the library brings"
        )
        parser.add_argument(
            "--records", type=Path, nargs="*", default=[], help="files of record lines, or sealed spool segments"
        )

    def handle(
        self,
        *args: Any,
        sample: int | None,
        seed: int,
        records: Sequence[Path],
        data: Path | None = None,
        **options: Any,
    ) -> None:
        if data is not None:
            from gateway.catalog import flatten

            flatten.use_data(data)
        catalog, book = loader.load(settings.DATA_DIR / "prices")
        chosen = list(cases(catalog, book))
        if sample is not None and sample < len(chosen):
            chosen = random.Random(seed).sample(chosen, sample)  # noqa: S311 - a sample, not a secret
        differences = [found for case in chosen if (found := difference(case, book)) is not None]
        checked = len(chosen)
        for path in records:
            for record in _read_records(path):
                case = case_of(record, catalog, book)
                if case is None:
                    continue
                checked += 1
                found = difference(case, book, recorded=record)
                if found is not None:
                    differences.append(found)
        if differences:
            self.stdout.write(_table(differences))
            raise CommandError(f"{len(differences)} of {checked} costs differ from genai-prices.")
        self.stdout.write(f"{checked} costs of {len(catalog)} models agree with genai-prices to the last nano-dollar.")


def cases(catalog: Catalog, book: PriceBook) -> Iterator[Case]:
    """Yield the grid: model by service tier by instant by usage."""
    for model in catalog:
        rows = [row for row in book.rows if row.model == model.id]
        for tier in (STANDARD, "default", _UNKNOWN_TIER, *sorted(book.service_tiers(model.id))):
            for at in _instants(rows):
                for usage in _usages(model, rows):
                    yield Case("generated", model, usage, at, tier)


def _usages(model: Model, rows: Iterable[PriceRow]) -> Iterator[Usage]:
    usages = (*_SHAPES, *_tier_shapes(rows))
    if model.kind == CHAT:
        yield from usages
    else:  # texts in, no tokens out
        yield from (Usage(input_tokens=usage.input_tokens) for usage in usages)


def _instants(rows: Iterable[PriceRow]) -> list[float]:
    """Return instants far from and just around every change of the rows' prices, over the hours of a day."""
    fixed = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in _INSTANTS]
    around: set[float] = set(fixed)
    for row in rows:
        for edge in (row.valid_from, row.valid_to):
            if edge is not None:
                around |= {edge - 1, edge - 0.000001, float(edge), edge + 3600 * 7.5}
        for start, end in row.windows:
            midnight = fixed[0] - fixed[0] % 86_400
            around |= {midnight + second + offset for second in (start, end) for offset in (-1, 0, 1)}
            around |= {midnight + hour * 3600 for hour in _HOURS}
    return sorted(around)


def _tier_shapes(rows: Iterable[PriceRow]) -> list[Usage]:
    thresholds = sorted({above for row in rows for above, _ in row.tiers})
    return [
        Usage(input_tokens=above + offset, cached_read_tokens=above // 3, output_tokens=1_009)
        for above in thresholds
        for offset in (-1, 0, 1)
    ]


def case_of(record: RequestLog, catalog: Catalog, book: PriceBook) -> Case | None:
    """Return the case of a priced record, None where there is nothing to compare."""
    model = catalog.get(record.model)
    row = book.by_version(record.price_version)
    if model is None or row is None or record.price_state not in request_log.HAVING_PRICE:
        return None
    return Case(
        label=record.request_id,
        model=model,
        usage=settlement.usage_of(record, row),
        at=record.started_us / 1_000_000,
        service_tier=record.service_tier,
    )


def difference(case: Case, book: PriceBook, *, recorded: RequestLog | None = None) -> Difference | None:
    """Return how our cost and the library's differ, None where they agree.

    With `recorded`, ours is what the record says, and its parts must add up.
    """
    row = book.row(case.model.id, case.at, case.service_tier)
    ours: int | None = settlement.estimate(case.usage, row)
    if recorded is not None:
        ours = recorded.provider_cost_nanousd if _adds_up(recorded) else None
    theirs = library_cost(case)
    return None if ours == theirs else Difference(case, ours, theirs)


def _adds_up(record: RequestLog) -> bool:
    parts = (
        record.input_cost_nanousd,
        record.cached_read_cost_nanousd,
        record.cache_write_cost_nanousd,
        record.output_cost_nanousd,
    )
    return sum(parts) == record.provider_cost_nanousd


def library_cost(case: Case) -> int | None:
    """Return what genai-prices charges for a case, in nano-USD; None when it knows no price."""
    # A second and 60 MB: only this command and the flattening process pay for it.
    import genai_prices

    usage = case.usage
    cached_audio = max(usage.cached_read_tokens + usage.cache_write_tokens + usage.audio_input_tokens, 0)
    cached_audio = max(cached_audio - usage.input_tokens, 0)
    tier = case.service_tier
    try:
        price = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=usage.input_tokens,
                cache_read_tokens=usage.cached_read_tokens,
                cache_audio_read_tokens=cached_audio,
                cache_write_tokens=usage.cache_write_tokens,
                cache_write_1h_tokens=usage.cache_write_1h_tokens,
                input_audio_tokens=usage.audio_input_tokens,
                output_tokens=usage.output_tokens,
                output_reasoning_tokens=usage.reasoning_tokens,
                output_audio_tokens=usage.audio_output_tokens,
            ),
            case.model.upstream,
            provider_id=case.model.priced_as,
            genai_request_timestamp=datetime.fromtimestamp(case.at, tz=UTC),
            # A tier is one of three contexts there (OpenAI's service tier, Anthropic's speed, batch processing).
            price_context=dict.fromkeys(("service_tier", "processing", "speed"), tier) if tier else None,
        )
    except LookupError:
        return None
    with localcontext() as context:
        context.prec = 60
        return int((Decimal(price.total_price) * 1_000_000_000).to_integral_value(rounding=ROUND_HALF_EVEN))


def _read_records(path: Path) -> Iterator[RequestLog]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        # A record line begins with its request id.
        lines = data.splitlines() if data.startswith(b'["') else spool.read_segment(data).lines("R")
        for line in lines:
            if line.strip():
                yield request_log.decode(line)
    except (msgspec.DecodeError, spool.DamagedSegment) as error:
        raise CommandError(f"{path} holds neither record lines nor a spool segment: {error}") from error


def _table(differences: Sequence[Difference]) -> str:
    lines = [f"{'model':<46} {'service tier':<12} {'at (UTC)':<20} {'ours':>18} {'genai-prices':>18}  usage"]
    for found in differences:
        case = found.case
        at = datetime.fromtimestamp(case.at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
        tokens = " ".join(
            f"{name.removesuffix('_tokens')}={count}"
            for name, count in msgspec.structs.asdict(case.usage).items()
            if count and name != "is_reported"
        )
        lines.append(
            f"{case.model.id:<46} {case.service_tier or 'standard':<12} {at:<20} {_shown(found.ours_nanousd):>18} "
            f"{_shown(found.theirs_nanousd):>18}  {tokens} ({case.label})"
        )
    return "\n".join(lines)


def _shown(nanousd: int | None) -> str:
    return "unpriced" if nanousd is None else f"{nanousd} n$"
