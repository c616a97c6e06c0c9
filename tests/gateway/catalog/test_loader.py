"""The price file: made once by another process, read by this one, replaced when it is damaged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.catalog import flatten, loader
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook

_ROOT = Path(loader.__file__).parents[2]


def test_the_file_is_named_by_library_version_and_catalog(price_directory: Path, book: PriceBook) -> None:
    (path,) = price_directory.glob("*.json")
    assert re.fullmatch(r"prices-\d+\.\d+\.\d+-[0-9a-f]{12}\.json", path.name)
    assert json.loads(path.read_bytes())["source"] == book.rows[0].source


def test_the_file_is_read_and_not_made_again(
    price_directory: Path, catalog: Catalog, book: PriceBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the price file is there")

    monkeypatch.setattr(subprocess, "run", refuse)
    again = loader.load_book(price_directory, catalog=catalog)
    assert again.rows == book.rows


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"rows": [{"model": "x"}]}', b'{"rows": 3}'])
def test_a_damaged_file_holds_no_rows(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "prices-0-0.json"
    path.write_bytes(damage)
    assert loader._read(path) is None
    assert loader._read(tmp_path / "absent.json") is None


def test_a_damaged_file_is_made_again(tmp_path: Path, price_directory: Path, catalog: Catalog, book: PriceBook) -> None:
    (made,) = price_directory.glob("*.json")
    path = tmp_path / made.name
    path.write_bytes(made.read_bytes()[:-100])
    assert loader.load_book(tmp_path, catalog=catalog).rows == book.rows
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == made.read_bytes()


def test_models_outside_the_catalog_are_priced_on_request(tmp_path: Path, catalog: Catalog) -> None:
    one = Catalog(providers=catalog.providers.values(), models=[catalog.models["openai/gpt-5.4"]])
    book = loader.load_book(tmp_path, catalog=one, extra=[("openai", "gpt-4o"), ("openai", "no-such-model")])
    row = book.row("openai:gpt-4o", 1_795_000_000)
    assert row is not None
    assert row.priced_as == "openai/gpt-4o"
    assert book.row("openai:no-such-model", 1_795_000_000) is None


def test_all_models_of_a_reseller_are_priced_under_our_name_for_it(tmp_path: Path, catalog: Catalog) -> None:
    one = Catalog(providers=catalog.providers.values(), models=[catalog.models["openai/gpt-5.4"]])
    book = loader.load_book(tmp_path, catalog=one, whole_providers={"openrouter": "openrouter", "nobody": "nobody"})
    row = book.row("openrouter/openai/gpt-5.4", 1_795_000_000)
    assert row is not None
    assert row.priced_as == "openrouter/openai/gpt-5.4"
    assert len({row.model for row in book.rows}) > 500


def test_rows_of_earlier_price_files_are_still_known_by_version(
    tmp_path: Path, price_directory: Path, catalog: Catalog, book: PriceBook
) -> None:
    (made,) = price_directory.glob("*.json")
    (tmp_path / made.name).write_bytes(made.read_bytes())
    old = {**book.rows[0].document(), "source": "genai-prices 0.1.0"}
    (tmp_path / "prices-0.1.0-aaaaaaaaaaaa.json").write_text(json.dumps({"source": "", "rows": [old]}))
    again = loader.load_book(tmp_path, catalog=catalog)
    versions = {row.price_version for row in again.rows}
    (archived,) = set(again._versions) - versions
    found = again.by_version(archived)
    assert found is not None
    assert found.source == "genai-prices 0.1.0"


def test_a_failure_to_flatten_says_why(tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(loader.PricesUnavailable, match="failed with status 1"):
        loader.load_book(tmp_path, catalog=catalog)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(loader.PricesUnavailable, match="did not finish: FileNotFoundError"):
        loader.load_book(tmp_path, catalog=catalog)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_named(
    tmp_path: Path, price_directory: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = price_directory.glob("*.json")
    monkeypatch.setattr(loader, "_flatten", lambda _references: made.read_bytes())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(loader.PricesUnavailable, match="Make the directory writable"):
        loader.load_book(tmp_path / "file" / "prices", catalog=catalog)


def test_the_serving_process_never_imports_genai_prices(tmp_path: Path) -> None:
    """60 MB and a second: only the flattening process may pay for it."""
    program = (
        "import sys, pathlib\n"
        "from gateway import settlement, signals\n"
        "from gateway.catalog import curation, listing, loader, models, names, prices\n"
        "catalog, book = loader.load(pathlib.Path(sys.argv[1]))\n"
        "assert book.row('openai/gpt-5.4', 1795000000) is not None\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('genai_prices', 'pydantic', 'httpx2')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_only_two_modules_of_the_source_import_genai_prices() -> None:
    sources = [
        path
        for room in ("config", "gateway", "billing", "analytics", "accounts")
        for path in (_ROOT / room).rglob("*.py")
    ]
    importing = {
        path.relative_to(_ROOT).as_posix()
        for path in sources
        if re.search(r"^\s*(?:import genai_prices|from genai_prices)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert importing == {"gateway/catalog/flatten.py", "gateway/management/commands/check_prices.py"}


def test_models_that_are_not_priced_by_tokens_have_no_rows() -> None:
    """Transcription by the hour, pages, characters: a token count says nothing about their price."""
    references = [
        {"model": "a", "provider": "groq", "upstream": "whisper-large-v3"},
        {"model": "b", "provider": "openai", "upstream": "gpt-5.4"},
        {"model": "c", "provider": "nobody", "upstream": "gpt-5.4"},
    ]
    assert {row["model"] for row in flatten.flatten(references)["rows"]} == {"b"}


def test_a_price_per_request_and_of_reasoning_is_kept() -> None:
    references = [{"model": "s", "provider": "perplexity", "upstream": "sonar-deep-research"}]
    rows = flatten.flatten(references)["rows"]
    assert rows
    assert rows[-1]["rates"]["reasoning"] != rows[-1]["rates"]["output"]
