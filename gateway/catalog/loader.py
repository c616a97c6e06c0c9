"""Read the catalog and the price book from disk; make the price file once per version of `genai-prices`.

The only module of the catalog that does I/O. The price file is made by a short-lived process, so that the serving
process never imports genai_prices.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.catalog import models, prices

# Resellers whose models are addressed by the reseller's own names: all of their prices are loaded.
WHOLE_PROVIDERS: Final = {"openrouter": "openrouter"}
CATALOG_PATH: Final = Path(__file__).parent / "data" / "models.json"
_ROOT: Final = Path(__file__).resolve().parents[2]
# Part of the file's name: raised when the meaning of a row changes.
_FORMAT: Final = 1
_ACCEPTED: Final = ".accepted.json"
_FLATTEN_TIMEOUT_SECONDS: Final = 60


class PricesUnavailable(Exception):
    """The price rows could not be made; the message says why."""


def load_catalog(path: Path = CATALOG_PATH) -> models.Catalog:
    """Return the catalog of a file that `manage.py build_catalog` wrote."""
    return models.from_document(json.loads(path.read_text(encoding="utf-8")))


def load_book(
    directory: Path,
    *,
    catalog: models.Catalog,
    extra: Iterable[tuple[str, str]] = (),
    whole_providers: Mapping[str, str] | None = None,
) -> prices.PriceBook:
    """Return the price book of the catalog, from the price file in `directory` or, if it is not there, made now.

    `extra` are models outside the catalog as (provider in genai-prices, name at the provider); their rows are found
    under `provider:name`. `whole_providers` maps our name of a provider to its name in genai-prices: the rows of all
    its models are found under `<our name>/<model>`, as a call through OpenRouter names them. What was accepted
    (`accept`) since this version of the library came goes before what the library brings. Rows of other price files in
    the directory are known by version, for records of the past.

    Raises:
        PricesUnavailable: the rows could not be made.
    """
    references = _references(catalog, extra, whole_providers)
    accepted, path = _paths(directory, references)
    rows = _read(path)
    if accepted.exists():
        path, rows = accepted, _read(accepted)
        if rows is None:
            raise PricesUnavailable(f"{accepted} cannot be read as price rows. Remove it, or accept the prices anew.")
    if rows is None:
        content = _flatten(references)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _replace(path, content)
        except OSError as error:
            raise PricesUnavailable(f"Cannot write {path}: {error.strerror}. Make the directory writable.") from error
        rows = _read(path)
    if rows is None:
        raise PricesUnavailable(f"{path} was written but cannot be read as price rows.")
    archived = [row for other in sorted(directory.glob("prices-*.json")) if other != path for row in _read(other) or ()]
    return prices.PriceBook(rows, archived=archived)


def flatten(
    catalog: models.Catalog,
    *,
    whole_providers: Mapping[str, str] | None = None,
    data: Path,
    source: str,
) -> list[prices.PriceRow]:
    """Return the price rows of the catalog by another file of price data; `source` is what the rows say of it.

    Raises:
        PricesUnavailable: it is not one.
    """
    document = json.loads(_flatten(_references(catalog, (), whole_providers), data))
    return [prices.from_document({**row, "source": source}) for row in document["rows"]]


def accept(
    directory: Path,
    rows: Iterable[prices.PriceRow],
    catalog: models.Catalog,
    whole_providers: Mapping[str, str] | None = None,
    *,
    source: str,
) -> Path:
    """Put rows in force from the next start on, until the library is updated; return their file.

    What was accepted before stays beside it, for records of the past.
    """
    path, _ = _paths(directory, _references(catalog, (), whole_providers))
    if path.exists():
        path.replace(path.with_name(path.name.replace(_ACCEPTED, f".until-{time.time_ns()}.json")))
    document = {"source": source, "rows": [row.document() for row in rows]}
    _replace(path, json.dumps(document, separators=(",", ":")).encode())
    return path


def load(
    directory: Path,
    *,
    extra: Iterable[tuple[str, str]] = (),
    whole_providers: Mapping[str, str] | None = None,
) -> tuple[models.Catalog, prices.PriceBook]:
    """Return the catalog, the endpoints of each model ordered by today's prices, and its price book (`load_book`)."""
    catalog = load_catalog()
    book = load_book(directory, catalog=catalog, extra=extra, whole_providers=whole_providers)
    return catalog.ranked(book.cost_ranks(time.time())), book


def _references(
    catalog: models.Catalog, extra: Iterable[tuple[str, str]], whole_providers: Mapping[str, str] | None
) -> list[dict[str, Any]]:
    references = [{"model": m.id, "provider": m.priced_as, "upstream": m.upstream} for m in catalog]
    references += [{"model": f"{p}:{name}", "provider": p, "upstream": name} for p, name in sorted(set(extra))]
    references += [
        {"model": f"{ours}/", "provider": theirs, "upstream": "*"}
        for ours, theirs in sorted((whole_providers or {}).items())
    ]
    return references


def _paths(directory: Path, references: Sequence[dict[str, Any]]) -> tuple[Path, Path]:
    """Return the files of what was accepted and of what the library brings; a new library makes new names."""
    version = importlib.metadata.version("genai-prices")
    digest = hashlib.sha256(json.dumps([_FORMAT, references]).encode()).hexdigest()[:12]
    return directory / f"prices-{version}-{digest}{_ACCEPTED}", directory / f"prices-{version}-{digest}.json"


def _read(path: Path) -> list[prices.PriceRow] | None:
    """Return the rows of a price file, None when it is absent or damaged (it is then made again)."""
    try:
        document = json.loads(path.read_bytes())
        return [prices.from_document(row) for row in document["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _flatten(references: Sequence[dict[str, Any]], data: Path | None = None) -> bytes:
    command = [sys.executable, "-m", "gateway.catalog.flatten", *([] if data is None else [str(data)])]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(references).encode(),
            capture_output=True,
            cwd=_ROOT,
            timeout=_FLATTEN_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PricesUnavailable(f"Flattening genai-prices did not finish: {type(error).__name__}.") from error
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise PricesUnavailable(f"Flattening genai-prices failed with status {done.returncode}: {last}")
    return done.stdout


def _replace(path: Path, content: bytes) -> None:
    # Several gateway processes may start at once: each writes a file of its own and the last rename wins.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
