"""The public pages of the catalog answer everybody, and say the same as the API."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from gateway.views import models
from tests.factories.accounts import Cast

Login = Callable[[User], Client]


@pytest.fixture(autouse=True)
def prices(price_directory: Path, settings: Any) -> Iterator[None]:
    # A directory of the pages' own, kept for all of them: they load more prices than other tests do.
    settings.DATA_DIR = price_directory.with_name("pages")
    if not settings.DATA_DIR.exists():
        shutil.copytree(price_directory, settings.DATA_DIR / "prices")
    models._load.cache_clear()
    yield
    models._load.cache_clear()


def listed(client: Client, **search: str) -> list[str]:
    answer = client.get(reverse("models_json"), search)
    assert answer.status_code == 200
    return [entry["id"] for entry in answer.json()["data"] if entry["id"] != "auto"]


@pytest.mark.django_db
def test_everybody_sees_the_models_with_prices(client: Client) -> None:
    page = client.get(reverse("models"))
    assert page.status_code == 200
    text = page.content.decode()
    assert "openai/gpt-5.4-mini" in text
    assert "$0.75" in text
    assert "Retired by their providers" not in text or "gpt" in text


def test_the_search_narrows_by_name_provider_capability_policy_kind_and_price(client: Client) -> None:
    assert len(listed(client)) == 74
    assert set(listed(client, q="oss 120b")) == {"groq/gpt-oss-120b", "together/gpt-oss-120b", "cerebras/gpt-oss-120b"}
    assert all(name.startswith("groq/") for name in listed(client, provider="groq"))
    assert "openai/gpt-4.1" not in listed(client, capability="reasoning")
    assert "anthropic/claude-fable-5-2" not in listed(client, policy="zdr")
    assert not any(name.startswith("deepseek/") for name in listed(client, policy="no_training"))
    assert len(listed(client, kind="embedding")) == 8
    assert "openai/gpt-5.5" not in listed(client, max_input="4.99")
    assert "openai/gpt-5.5" in listed(client, max_input="5")


def test_the_json_has_the_structure_of_the_api(client: Client) -> None:
    document = client.get(reverse("models_json"), {"q": "gpt-5.4-nano"}).json()
    assert document["object"] == "list"
    entry = document["data"][1]
    assert entry["expiration_date"] == "2027-04-01"
    assert entry["kairosroute"]["data_policy"]["may_train"] is False
    assert entry["pricing"]["prompt"] == "0.0000002"


def test_the_csv_has_a_row_a_model(client: Client) -> None:
    answer = client.get(reverse("models_csv"), {"q": "haiku-4-5"})
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))  # type: ignore[attr-defined]
    assert [(row["id"], row["input_usd_per_mtok"], row["may_train"]) for row in rows] == [
        ("anthropic/claude-haiku-4-5", "1", "no")
    ]


@pytest.mark.parametrize("search", [{"provider": "nobody"}, {"max_input": "cheap"}, {"kind": "poem"}])
def test_a_search_that_cannot_be_read_is_told(client: Client, search: dict[str, str]) -> None:
    assert client.get(reverse("models_json"), search).status_code == 400
    assert client.get(reverse("models_csv"), search).status_code == 400


@pytest.mark.django_db
def test_a_search_that_finds_nothing_says_so(client: Client) -> None:
    page = client.get(reverse("models"), {"q": "no such thing"})
    assert page.status_code == 200
    assert "No model is like that" in page.content.decode()
    assert client.get(reverse("models"), {"provider": "nobody"}).status_code == 400


@pytest.mark.django_db
def test_a_model_shows_all_its_endpoints_tiers_and_policies(client: Client) -> None:
    text = client.get(reverse("model", args=["openai/gpt-5.4"])).content.decode()
    assert "azure/gpt-5.4" in text
    assert "prompts above" in text
    assert "30 days" in text
    fable = client.get(reverse("model", args=["anthropic/claude-fable-5-2"])).content.decode()
    assert "no, not for this model" in fable


def test_any_name_leads_to_the_models_page_and_unknown_ones_to_404(client: Client) -> None:
    answer = client.get(reverse("model", args=["gpt-oss-120b"]))
    assert answer.status_code == 302
    assert answer["Location"] == reverse("model", args=["openai/gpt-oss-120b"])


@pytest.mark.django_db
def test_an_unknown_model_is_not_found(client: Client) -> None:
    assert client.get(reverse("model", args=["gpt-99"])).status_code == 404


def test_only_reading(client: Client) -> None:
    for name in ("models", "models_json", "models_csv"):
        assert client.post(reverse(name)).status_code == 405
    assert client.post(reverse("model", args=["gpt-5.4"])).status_code == 405


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/models", "/models/openai/gpt-5.4"])
def test_members_reach_the_models_from_the_sidebar_and_keep_it_there(cast: Cast, login: Login, path: str) -> None:
    page = login(cast.alice).get(path).content.decode()
    assert '<a class="sidebar__link" href="/models" aria-current="page">' in page
    assert reverse("limits", args=[cast.acme.slug]) in page


@pytest.mark.django_db
def test_strangers_see_the_models_without_a_sidebar(client: Client) -> None:
    assert "sidebar__link" not in client.get(reverse("models")).content.decode()
