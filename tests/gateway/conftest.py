"""The catalog and the price book as a gateway loads them, made once; and fixtures for tests that serve calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.catalog import loader
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook


@pytest.fixture(params=[False, True], ids=["asgi", "lane"])
def has_lane(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="session")
def price_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prices")


@pytest.fixture(scope="session")
def loaded(price_directory: Path) -> tuple[Catalog, PriceBook]:
    return loader.load(price_directory)


@pytest.fixture(scope="session")
def catalog(loaded: tuple[Catalog, PriceBook]) -> Catalog:
    return loaded[0]


@pytest.fixture(scope="session")
def book(loaded: tuple[Catalog, PriceBook]) -> PriceBook:
    return loaded[1]
