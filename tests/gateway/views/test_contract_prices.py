"""Owners and finance keep contract prices; everybody who sees costs sees them; nobody edits one."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEvent, User
from gateway.models import ContractPrice
from tests.factories.accounts import Cast

Login = Callable[[User], Client]


@pytest.fixture
def urls(cast: Cast) -> dict[str, str]:
    return {
        "page": reverse("contract_prices", args=[cast.acme.slug]),
        "add": reverse("contract_price_add", args=[cast.acme.slug]),
        "csv": reverse("contract_prices_csv", args=[cast.acme.slug]),
    }


def test_finance_adds_a_discount_and_ends_it(cast: Cast, urls: dict[str, str], login: Login) -> None:
    client = login(cast.finn)
    assert "List prices apply" in client.get(urls["page"]).content.decode()
    answer = client.post(urls["add"], {"pattern": "openai/*", "discount": "12.5", "note": "A-7"}, follow=True)
    assert answer.redirect_chain == [(urls["page"], 302)]
    price = ContractPrice.objects.get()
    assert (price.discount_basis_points, price.valid_to, price.created_by) == (1_250, None, cast.finn)
    assert "12.5%" in answer.content.decode()
    end = reverse("contract_price_end", args=[cast.acme.slug, price.pk])
    assert "ended" in client.post(end, follow=True).content.decode()
    price.refresh_from_db()
    assert price.valid_to is not None
    first = price.valid_to
    client.post(end)
    price.refresh_from_db()
    assert price.valid_to == first
    events = AuditEvent.objects.filter(action__startswith="contract_price").values_list("action", flat=True)
    assert sorted(events) == ["contract_price.add", "contract_price.end"]


def test_fixed_prices_are_exact_and_may_begin_later(cast: Cast, urls: dict[str, str], login: Login) -> None:
    day = timezone.now().date() + dt.timedelta(days=3)
    given = {"pattern": "openai/gpt-5.4", "input": "1.999999999", "output": "0", "valid_from": day.isoformat()}
    answer = login(cast.alice).post(urls["add"], given, follow=True)
    price = ContractPrice.objects.get()
    assert (price.input_nanousd_per_mtok, price.output_nanousd_per_mtok) == (1_999_999_999, 0)
    assert price.valid_from.date() == day
    assert "planned" in answer.content.decode()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"pattern": "openai/*"}, "Give either a percentage"),
        ({"pattern": "openai/*", "discount": "5", "input": "1"}, "not both"),
        ({"pattern": "gpt-5.4", "discount": "5"}, "model&#x27;s id"),
        ({"pattern": "open*ai/x", "discount": "5"}, "a star"),
        ({"pattern": "openai/*", "discount": "0"}, "more than 0"),
        ({"pattern": "openai/*", "discount": "101"}, "less than or equal to 100"),
        ({"pattern": "openai/*", "input": "-1"}, "greater than or equal to 0"),
        ({"pattern": "openai/*", "input": "20000"}, "10,000 US dollars"),
        ({"pattern": "openai/*", "discount": "5", "valid_from": "2020-01-01"}, "are settled"),
        ({"pattern": "openai/*", "discount": "5", "valid_to": "2020-01-01"}, "after it begins"),
        ({"discount": "5"}, "This field is required"),
    ],
)
def test_a_price_that_cannot_be_is_refused_at_its_field(
    cast: Cast, urls: dict[str, str], login: Login, given: dict[str, str], says: str
) -> None:
    answer = login(cast.alice).post(urls["add"], given)
    assert answer.status_code == 400
    assert says in answer.content.decode()
    assert not ContractPrice.objects.exists()


def test_the_csv_has_exact_prices(cast: Cast, urls: dict[str, str], login: Login) -> None:
    client = login(cast.finn)
    client.post(urls["add"], {"pattern": "openai/gpt-5.4", "input": "1.5"})
    answer = client.get(urls["csv"])
    (row,) = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))  # type: ignore[attr-defined]
    assert (row["models"], row["input_usd_per_mtok"], row["discount_percent"]) == ("openai/gpt-5.4", "1.500000000", "")


def test_a_viewer_reads_and_may_not_change(cast: Cast, urls: dict[str, str], login: Login) -> None:
    client = login(cast.victor)
    page = client.get(urls["page"])
    assert page.status_code == 200
    assert "<form" not in page.content.decode().partition("<main")[2]
    assert client.post(urls["add"], {"pattern": "openai/*", "discount": "5"}).status_code == 403
    assert login(cast.bob).post(urls["add"], {"pattern": "openai/*", "discount": "5"}).status_code == 403


def test_strangers_get_404_and_the_anonymous_sign_in(
    cast: Cast, urls: dict[str, str], login: Login, client: Client
) -> None:
    assert login(cast.charlie).get(urls["page"]).status_code == 404
    assert client.get(urls["page"]).status_code == 302


def test_only_its_own_methods(cast: Cast, urls: dict[str, str], login: Login) -> None:
    client = login(cast.alice)
    assert client.post(urls["page"]).status_code == 405
    assert client.get(urls["add"]).status_code == 405
    assert client.post(urls["csv"]).status_code == 405
