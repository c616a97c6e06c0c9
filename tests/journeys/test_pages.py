"""The pages in a real browser: no breach of the content security policy, charts draw, keyboards and readers get by."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from accounts.models import User
from analytics.models import RouteChange
from analytics.request_log import RequestLog
from tests.factories import request_logs
from tests.factories.accounts import Cast, make_api_key, make_cast
from tests.factories.request_logs import Scope, make_request_log

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.clickhouse,
    pytest.mark.usefixtures("log_store"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed"),
    pytest.mark.skipif(
        not (HERE / "node_modules").is_dir(), reason="run `make browser`, which installs playwright-core"
    ),
]

Visit = dict[str, Any]
Browse = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def people(transactional_db: None) -> Cast:
    """The cast, committed, so that the server's threads see it."""
    return make_cast()


@pytest.fixture
def week(people: Cast, log_store: None) -> list[RequestLog]:
    """A week of calls with a route change."""
    now = timezone.now()
    workspace = people.acme.workspaces.get()
    live = make_api_key(workspace, name="nightly jobs").api_key.pk
    test = make_api_key(workspace, name="laptop", mode="test").api_key.pk
    RouteChange.objects.create(
        organization=people.acme,
        workspace=workspace,
        kind="policy",
        summary="Chat moved to Haiku",
        happened_at=request_logs.route_changed_at(now=now),
    )
    return request_logs.seed_week(
        organization_id=people.acme.pk,
        scopes=[Scope(workspace.pk, live, weight=4), Scope(workspace.pk, test, is_test=True)],
        now=now,
        calls=600,
    )


@pytest.fixture
def browse(live_server: LiveServer, people: Cast) -> Browse:
    """Return a function that makes Alice (or another) visit pages and returns what was seen."""

    def visit(*visits: Visit, who: User | None = None) -> list[dict[str, Any]]:
        client = Client()
        client.force_login(who or people.alice, backend="allauth.account.auth_backends.AuthenticationBackend")
        order = {
            "chromium": CHROMIUM,
            "base": live_server.url,
            "session": client.cookies["sessionid"].value,
            "visits": visits,
        }
        run = subprocess.run(
            ["node", str(HERE / "browse.mjs")], input=json.dumps(order), capture_output=True, text=True, timeout=240
        )
        assert run.returncode == 0, run.stderr
        found: list[dict[str, Any]] = json.loads(run.stdout)
        return found

    return visit


def url(name: str, *args: str) -> str:
    return reverse(name, args=["acme", *args])


def problems_of(seen: list[dict[str, Any]]) -> list[str]:
    return [f"{one['url']} {one['theme']} {one['width']}: {problem}" for one in seen for problem in one["problems"]]


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_no_page_breaks_the_policy_the_screen_or_accessibility(
    browse: Browse, week: list[RequestLog], theme: str, width: int
) -> None:
    fallback = next(record for record in week if record.is_fallback and not record.is_simulated)
    addresses = [
        url("overview"),
        url("requests"),
        url("requests") + "?model=openai/gpt-5.4&status=ok",
        url("request_detail", fallback.request_id),
        url("costs"),
        url("costs") + "?by=key",
        url("onboarding"),
        url("requests") + "?model=nothing-like-it",
        reverse("models"),
        reverse("model", args=["openai/gpt-5.4"]),
        url("provider_health"),
        url("limits"),
        url("provider_keys"),
        url("contract_prices"),
        url("guardrails"),
        url("integrations"),
        url("webhooks"),
        url("keys"),
        url("settings"),
    ]
    seen = browse(*({"url": address, "theme": theme, "width": width, "checks": True} for address in addresses))
    assert [one["status"] for one in seen] == [200] * len(addresses)
    assert problems_of(seen) == []


def test_charts_are_drawn_in_the_colours_of_the_theme(browse: Browse, week: list[RequestLog]) -> None:
    bars = "document.querySelectorAll('.chart__canvas .bars .point').length"
    colour = "document.querySelector('.chart__canvas .bars .point path').style.fill"
    token = "getComputedStyle(document.querySelector('.swatch')).backgroundColor"
    steps = [
        {"wait": ".chart__canvas .xaxislayer-above .xtick"},
        {"evaluate": bars, "as": "bars"},
        {"evaluate": colour, "as": "colour"},
        {"evaluate": token, "as": "token"},
        {"evaluate": "document.querySelectorAll('.chart__canvas .annotation').length", "as": "markers"},
        {"click": "[data-theme-toggle]"},
        {"evaluate": colour, "as": "other colour"},
        {"evaluate": token, "as": "other token"},
    ]
    (seen,) = browse({"url": url("overview"), "steps": steps})
    assert problems_of([seen]) == []
    values = seen["values"]
    assert values["bars"] > 50
    assert values["markers"] == 1
    assert values["colour"] == values["token"]
    assert values["other colour"] == values["other token"] != values["colour"]


def test_dragging_over_a_chart_zooms_the_page_to_that_time(browse: Browse, week: list[RequestLog]) -> None:
    steps = [
        {"wait": ".chart__canvas .xaxislayer-above .xtick"},
        {"drag": ".chart__canvas .nsewdrag"},
        {"evaluate": "location.search", "as": "address"},
        {"evaluate": "document.querySelector('h1').textContent", "as": "title"},
    ]
    (seen,) = browse({"url": url("overview") + "?mode=live", "steps": steps})
    assert seen["problems"] == []
    assert seen["values"]["address"].startswith("?mode=live&from=20")
    assert "&to=20" in seen["values"]["address"]
    assert "Overview" in seen["values"]["title"]


def test_the_chosen_theme_outlives_the_page(browse: Browse, week: list[RequestLog]) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    steps = [
        {"evaluate": background, "as": "light"},
        {"click": "[data-theme-toggle]"},
        {"evaluate": background, "as": "chosen"},
        {"reload": True},
        {"evaluate": background, "as": "after"},
        {"evaluate": "document.documentElement.dataset.theme", "as": "theme"},
    ]
    (seen,) = browse({"url": url("costs"), "theme": "light", "steps": steps})
    values = seen["values"]
    assert values["theme"] == "dark"
    assert values["after"] == values["chosen"] != values["light"]


def test_a_keyboard_is_enough(browse: Browse, week: list[RequestLog]) -> None:
    focused = "document.activeElement.textContent.trim()"
    steps = [
        {"press": "Tab"},
        {"evaluate": focused, "as": "first stop"},
        {"press": "Enter"},
        {"evaluate": "document.activeElement.id", "as": "after skipping"},
        {"evaluate": "document.querySelector('.page-header details summary').focus()", "as": "-"},
        {"press": "Enter"},
        {"evaluate": "document.querySelector('.page-header details').open", "as": "menu open"},
        {"press": "ArrowDown"},
        {"evaluate": focused, "as": "first item"},
        {"press": "Escape"},
        {"evaluate": "document.querySelector('.page-header details').open", "as": "menu closed"},
        {"evaluate": "document.activeElement.tagName", "as": "focus returns"},
        {"evaluate": "document.activeElement.blur()", "as": "-"},
        {"press": "j"},
        {"press": "j"},
        {"press": "k"},
        {
            "evaluate": "[...document.querySelectorAll('tbody tr')].indexOf(document.activeElement.closest('tr'))",
            "as": "row",
        },
        {"press": "Enter"},
        {"wait": ".decision"},
        {"evaluate": "location.pathname", "as": "opened"},
    ]
    (seen,) = browse({"url": url("requests"), "steps": steps})
    values = seen["values"]
    newest = max(week, key=lambda record: record.started_us)
    assert values["first stop"] == "Skip to the content"
    assert values["after skipping"] == "content"
    assert values["menu open"] is True
    assert values["first item"] == "Last hour"
    assert values["menu closed"] is False
    assert values["focus returns"] == "SUMMARY"
    assert values["row"] == 0
    assert values["opened"] == url("request_detail", newest.request_id)


def test_a_changed_filter_sends_the_form_and_leaves_empty_fields_out(browse: Browse, week: list[RequestLog]) -> None:
    select = "document.querySelector('select[name=status]')"
    pick = f"{select}.value = 'error', {select}.dispatchEvent(new Event('change', {{bubbles: true}}))"
    steps = [
        {"evaluate": pick, "as": "-"},
        {"wait": ".chip"},
        {"evaluate": "location.search", "as": "address"},
    ]
    (seen,) = browse({"url": url("requests"), "steps": steps})
    assert seen["values"]["address"] == "?range=last7d&status=error"


def test_a_form_shows_the_fields_that_count_for_what_is_chosen(browse: Browse) -> None:
    def pick(name: str, value: str) -> dict[str, str]:
        select = f"document.querySelector('select[name={name}]')"
        change = f"{select}.value = '{value}', {select}.dispatchEvent(new Event('change', {{bubbles: true}}))"
        return {"evaluate": change, "as": "-"}

    names = ("tag", "value", "amount", "period", "downgrade_percent")
    shown = f"{list(names)}.filter((name) => document.querySelector(`[name=${{name}}]`).checkVisibility()).join(' ')"
    steps = [
        {"evaluate": shown, "as": "a budget of the organization"},
        pick("on_exceed", "downgrade"),
        {"evaluate": shown, "as": "with cheaper models"},
        pick("kind", "tokens"),
        {"evaluate": shown, "as": "a rate"},
        pick("whom", "tag:value"),
        {"evaluate": shown, "as": "of a tag's value"},
    ]
    (seen,) = browse({"url": url("limits"), "steps": steps})
    assert problems_of([seen]) == []
    assert {key: value for key, value in seen["values"].items() if key != "-"} == {
        "a budget of the organization": "amount period",
        "with cheaper models": "amount period downgrade_percent",
        "a rate": "amount",
        "of a tag's value": "tag value amount",
    }


def test_pages_read_without_javascript(browse: Browse, week: list[RequestLog]) -> None:
    list_page, costs_page = browse(
        {
            "url": url("requests"),
            "script": False,
            "steps": [
                {"wait": "tbody .table__row-link"},
                {"click": "summary:has-text('Last 7 days')"},
                {"wait": ".menu__item:has-text('Last hour')"},
            ],
        },
        {
            "url": url("costs"),
            "script": False,
            "steps": [{"click": "summary:has-text('The numbers of this chart')"}, {"wait": ".chart__numbers tfoot"}],
        },
    )
    assert problems_of([list_page, costs_page]) == []


def test_motion_stops_for_those_who_ask_for_it(browse: Browse) -> None:
    duration = "getComputedStyle(document.querySelector('.arrival__mark')).animationDuration"
    steps = [{"evaluate": duration, "as": "duration"}]
    moving, still = browse(
        {"url": url("onboarding"), "steps": steps}, {"url": url("onboarding"), "motion": "reduce", "steps": steps}
    )
    assert moving["values"]["duration"] == "1.1s"
    assert still["values"]["duration"] in {"0.001s", "1ms"}


def test_onboarding_turns_green_by_itself_when_the_first_call_arrives(browse: Browse, people: Cast) -> None:
    record = make_request_log(
        organization_id=people.acme.pk,
        workspace_id=people.acme.workspaces.get().pk,
        started_at=timezone.now() - dt.timedelta(seconds=1),
    )
    arrives = threading.Timer(5, request_logs.load, args=([record],))
    arrives.start()
    before = time.monotonic()
    steps = [
        {"evaluate": "document.querySelector('.arrival__title').textContent", "as": "before"},
        {"wait": ".arrival--ok"},
        {"evaluate": "document.querySelector('.arrival__title').textContent", "as": "after"},
        {"click": ".arrival__link"},
        {"wait": ".decision"},
        {"evaluate": "location.pathname", "as": "receipt"},
    ]
    (seen,) = browse({"url": url("onboarding"), "steps": steps}, who=people.bob)
    arrives.join()
    assert seen["problems"] == []
    assert seen["values"]["before"] == "Waiting for the first call"
    assert seen["values"]["after"] == "The first call is here"
    assert seen["values"]["receipt"] == url("request_detail", record.request_id)
    assert time.monotonic() - before < 60
