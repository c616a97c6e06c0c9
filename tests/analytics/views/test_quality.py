from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from analytics import quality
from analytics.models import RouteChange
from analytics.queries.quality import SignalRow, Window
from analytics.statistics.moments import RatioSample
from tests.factories.accounts import Cast

Login = Callable[[User], Client]
CHANGED_AT = dt.datetime(2026, 11, 18, 12, 0, tzinfo=dt.UTC)
WINDOW = Window(CHANGED_AT - dt.timedelta(hours=6), CHANGED_AT, CHANGED_AT + dt.timedelta(hours=6))


def make_change(cast: Cast, **fields: Any) -> RouteChange:
    workspace = cast.acme.workspaces.get()
    values: dict[str, Any] = {
        "kind": RouteChange.Kind.POLICY,
        "summary": "chat: openai/gpt-5.4 → anthropic/claude-haiku-4-5",
        "changed_by": cast.bob,
        "happened_at": CHANGED_AT,
    }
    return RouteChange.objects.create(organization=cast.acme, workspace=workspace, **(values | fields))


def compared(change: RouteChange) -> RouteChange:
    """Store the findings of a regression, a symptom, an unchanged signal and one with too little data."""
    rates = {"json_validity": (0.98, 0.8), "truncation": (0.02, 0.02), "schema_validity": (0.9, 0.9)}
    rows = [
        SignalRow(
            "chat", False, is_after, signal, RatioSample.of([(1, 1)] * round(n * p) + [(0, 1)] * round(n * (1 - p)))
        )
        for signal, pair in rates.items()
        for is_after, p in zip((False, True), pair, strict=True)
        for n in [20 if signal == "schema_validity" and is_after else 2000]
    ]
    rows += [
        SignalRow("chat", False, is_after, "length", RatioSample.of([(base + x % 10 / 10, 1) for x in range(500)]))
        for is_after, base in ((False, 6.0), (True, 5.5))
    ]
    quality._store(change, quality.judge(rows), WINDOW, now=CHANGED_AT + dt.timedelta(hours=6))
    return change


def test_the_list_shows_what_moved_with_numbers_interval_and_verdict(cast: Cast, login: Login):
    compared(make_change(cast))
    page = login(cast.victor).get(reverse("quality", args=[cast.acme.slug])).content.decode()
    for words in ("Valid JSON", "Regressed", "98.0%", "80.0%", "\u221218.0 points", "Output length", "Changed"):
        assert words in page
    assert "1 unchanged" in page
    assert "1 with not enough data yet" in page
    assert "not" in page
    assert "a controlled comparison" in page
    assert 'class="interval"' in page


def test_the_detail_shows_every_comparison_and_leads_to_the_rows(cast: Cast, login: Login):
    change = compared(make_change(cast))
    page = login(cast.victor).get(reverse("quality_change", args=[cast.acme.slug, change.pk])).content.decode()
    for words in ("Truncated answers", "Unchanged", "Answers that match their schema", "about 30 more such calls"):
        assert words in page
    link = next(part for part in page.split('"') if "signal=invalid_json" in part)
    query = parse_qs(urlsplit(link.replace("&amp;", "&")).query)
    assert query["task"] == ["chat"]
    assert query["workspace"] == [change.workspace_id]
    assert query["mode"] == ["live"]


def test_the_csv_holds_the_numbers_unrounded(cast: Cast, login: Login):
    change = compared(make_change(cast))
    answer = login(cast.victor).get(reverse("quality_change_csv", args=[cast.acme.slug, change.pk]))
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    found = {row["signal"]: row for row in rows}
    assert len(rows) == change.comparisons.count()
    assert float(found["json_validity"]["value"]) == pytest.approx(-0.18)
    assert found["schema_validity"]["value"] == ""  # too little data on one side


def test_without_a_route_change_the_page_says_what_to_do(cast: Cast, login: Login):
    page = login(cast.alice).get(reverse("quality", args=[cast.acme.slug])).content.decode()
    assert "No route change yet" in page
    assert reverse("routing", args=[cast.acme.slug]) in page


def test_a_change_without_calls_waits(cast: Cast, login: Login):
    change = make_change(cast)
    client = login(cast.alice)
    assert "Waiting for calls" in client.get(reverse("quality", args=[cast.acme.slug])).content.decode()
    detail = client.get(reverse("quality_change", args=[cast.acme.slug, change.pk]))
    assert "No calls to compare yet" in detail.content.decode()


def test_a_first_policy_has_nothing_to_compare_with(cast: Cast, login: Login):
    change = make_change(cast)
    row = SignalRow("chat", False, True, "errors", RatioSample.of([(0, 1)] * 500))
    quality._store(change, quality.judge([row]), WINDOW, now=CHANGED_AT + dt.timedelta(hours=6))
    page = login(cast.alice).get(reverse("quality_change", args=[cast.acme.slug, change.pk])).content.decode()
    assert "No calls before the change" in page
    assert "more such calls" not in page


def test_older_changes_are_on_the_next_page_and_a_strange_page_number_is_forgiven(cast: Cast, login: Login):
    for hours in range(25):
        make_change(cast, summary=f"Change {hours:02}", happened_at=CHANGED_AT - dt.timedelta(hours=hours))
    client, url = login(cast.alice), reverse("quality", args=[cast.acme.slug])
    assert "Change 24" not in client.get(url).content.decode()
    assert "Change 24" in client.get(url, {"page": "2"}).content.decode()
    assert client.get(url, {"page": "many"}).status_code == 200


def test_the_pages_load_without_inline_styles_or_scripts(cast: Cast, login: Login):
    change = compared(make_change(cast))
    page = login(cast.alice).get(reverse("quality_change", args=[cast.acme.slug, change.pk])).content.decode()
    assert " style=" not in page
    assert "<script>" not in page
    assert " onclick=" not in page


def test_the_number_of_queries_does_not_grow_with_the_changes(
    cast: Cast, login: Login, django_assert_max_num_queries: Any
):
    for hours in range(15):
        compared(make_change(cast, happened_at=CHANGED_AT - dt.timedelta(hours=hours)))
    client = login(cast.alice)
    client.get(reverse("quality", args=[cast.acme.slug]))
    with django_assert_max_num_queries(12):
        client.get(reverse("quality", args=[cast.acme.slug]))


def test_visitors_strangers_and_wrong_roles_stay_out(cast: Cast, login: Login):
    change = make_change(cast)
    for url in (
        reverse("quality", args=[cast.acme.slug]),
        reverse("quality_change", args=[cast.acme.slug, change.pk]),
        reverse("quality_change_csv", args=[cast.acme.slug, change.pk]),
    ):
        assert Client().get(url).status_code == 302
        assert login(cast.charlie).get(url).status_code == 404
        assert login(cast.finn).get(url).status_code == 403
        assert login(cast.alice).post(url).status_code == 405


@pytest.mark.parametrize("change_id", ["chg_none", "x" * 500])
def test_a_change_that_is_not_there_is_not_found(cast: Cast, login: Login, change_id: str):
    assert login(cast.alice).get(reverse("quality_change", args=[cast.acme.slug, change_id])).status_code == 404


def test_another_organizations_change_is_not_found(cast: Cast, login: Login):
    change = compared(make_change(cast))
    url = reverse("quality_change", args=[cast.other.slug, change.pk])
    assert login(cast.charlie).get(url).status_code == 404
