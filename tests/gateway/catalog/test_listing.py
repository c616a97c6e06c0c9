"""The model list reads as OpenAI's and as OpenRouter's."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from openai.types import Model as OpenAIModel

from gateway.catalog import listing
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.routing import parameters

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z


@pytest.fixture(scope="module")
def entries(catalog: Catalog, book: PriceBook) -> dict[str, Any]:
    document = json.loads(listing.openai_list(catalog, book, at=NOON, parameters_of=parameters.supported))
    assert document["object"] == "list"
    return {entry["id"]: entry for entry in document["data"]}


def test_it_lists_auto_and_every_model(entries: dict[str, Any], catalog: Catalog) -> None:
    assert list(entries) == ["auto", *catalog.models]
    assert all(catalog.resolve(name).is_known for name in entries)


def test_the_official_client_reads_every_entry(entries: dict[str, Any]) -> None:
    for entry in entries.values():
        model = OpenAIModel.model_validate(entry, strict=True)
        assert model.created >= 1_795_132_800  # the day on which the first models came into the catalog


def test_prices_are_exact_strings_in_dollars_a_token(entries: dict[str, Any]) -> None:
    pricing = entries["openai/gpt-5.4"]["pricing"]
    assert pricing["prompt"] == "0.0000025"
    assert pricing["completion"] == "0.000015"
    assert pricing["input_cache_read"] == "0.00000025"
    assert pricing["request"] == "0"
    assert pricing["tiers"] == [
        {
            "above_input_tokens": 272_000,
            "prompt": "0.000005",
            "completion": "0.0000225",
            "input_cache_read": "0.0000005",
            "input_cache_write": "0.000005",
            "internal_reasoning": "0.0000225",
        }
    ]
    assert entries["auto"]["pricing"] == {"prompt": "-1", "completion": "-1"}


@pytest.mark.parametrize("nanousd", [0, 1, 999, 37_500_000, 2_500_000_000, 10**15, 123_456_789_012_345_678])
def test_the_dollar_string_is_the_exact_number(nanousd: int) -> None:
    text = listing.usd_per_token(nanousd)
    assert Decimal(text) == Decimal(nanousd) / 10**15
    assert "e" not in text.lower()
    assert text == "0" or "." not in text or not text.endswith("0")


def test_it_says_what_a_model_takes(entries: dict[str, Any]) -> None:
    terra = entries["openai/gpt-6.1-terra"]
    assert terra["architecture"]["input_modalities"] == ["text", "image", "file"]
    assert terra["context_length"] == 922_000
    assert terra["top_provider"]["max_completion_tokens"] == 128_000
    assert {"tools", "response_format", "reasoning_effort"} <= set(terra["supported_parameters"])
    assert "temperature" not in terra["supported_parameters"]
    assert "temperature" in entries["openai/gpt-4.1"]["supported_parameters"]
    assert entries["openai/gpt-5.4-nano"]["expiration_date"] == "2027-04-01"
    assert entries["groq/gpt-oss-120b"]["owned_by"] == "openai"
    assert entries["groq/gpt-oss-120b"]["canonical_slug"] == "openai/gpt-oss-120b"


def test_only_models_of_configured_providers_are_listed(catalog: Catalog, book: PriceBook) -> None:
    document = json.loads(
        listing.openai_list(catalog, book, at=NOON, parameters_of=parameters.supported, providers={"groq"})
    )
    assert [entry["id"] for entry in document["data"]] == [
        "auto",
        "groq/gpt-oss-120b",
        "groq/qwen3.8-27b",
        "groq/gpt-oss-20b",
    ]
    assert json.loads(
        listing.openai_list(catalog, book, at=NOON, parameters_of=parameters.supported, providers=())
    ) == {
        "object": "list",
        "data": [],
        "links": {"next": None},
        "total_count": 0,
    }


def test_the_price_is_that_of_the_hour(catalog: Catalog, book: PriceBook) -> None:
    model = catalog.models["deepseek/deepseek-flash"]

    def pricing(at: float) -> dict[str, str]:
        shown = listing.openai_model(model, catalog, book, at=at, parameters_of=parameters.supported)
        prices: dict[str, str] = json.loads(shown)["pricing"]
        return prices

    calm, peak = pricing(NOON), pricing(NOON - 10 * 3600)
    assert (calm["prompt"], peak["prompt"]) == ("0.00000015", "0.0000003")
    assert calm["price_version"] != peak["price_version"]


def test_an_unpriced_model_has_no_price_rather_than_zero(catalog: Catalog) -> None:
    assert listing.entry(catalog.models["openai/gpt-5.4"], None, parameters.supported, catalog)["pricing"] is None
