from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from analytics.clickhouse import client
from analytics.clickhouse.errors import StoreUnavailable
from gateway.health import journal
from gateway.health.journal import Change, EndpointPicture
from tests.factories import request_logs
from tests.factories.accounts import Cast

Login = Callable[[User], Client]


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def page(cast: Cast) -> str:
    return reverse("provider_health", args=[cast.acme.slug])


@pytest.fixture
def sheet(cast: Cast) -> str:
    return reverse("provider_health_csv", args=[cast.acme.slug])


def picture(state: str, *, samples: int = 12) -> EndpointPicture:
    is_known = samples >= 3
    return EndpointPicture(
        provider="groq",
        model="groq/gpt-oss-120b",
        state=state,
        samples=samples,
        error_ratio=0.25 if is_known else None,
        first_token_p50_ms=310.0 if is_known else None,
        first_token_p75_ms=420.0 if is_known else None,
        first_token_p95_ms=900.0 if is_known else None,
        tokens_per_s_p50=88.0 if is_known else None,
        failures={"UpstreamOverloaded": 3},
        weight=0.8,
    )


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
def test_it_shows_the_moment_the_day_and_the_changes(cast: Cast, login: Login, page: str, sheet: str) -> None:
    now = timezone.now()
    journal.write(
        [Change("groq", "groq/gpt-oss-120b", True, "UpstreamOverloaded again and again.", now)],
        [picture("open")],
        now=now,
    )
    began = int((now - dt.timedelta(hours=2)).timestamp() * 1e6)
    calls: list[dict[str, Any]] = [
        {"latency_us": 900_000},
        {"latency_us": 500_000, "is_fallback": 1},
        {"error_class": "UpstreamTimeout", "http_status": 504},
        {"error_class": "UpstreamRejected", "http_status": 400},
        {"organization_id": cast.other.pk, "provider": "their-provider"},
    ]
    ours = {"organization_id": cast.acme.pk, "provider": "cerebras"}
    request_logs.load(
        [request_logs.make_request_log(started_us=began + place, **(ours | call)) for place, call in enumerate(calls)]
    )
    words = login(cast.bob).get(page).content.decode()
    for expected in (
        "out of service",
        "groq/gpt-oss-120b",
        "25.0%",
        "310 · 420 ms",
        "UpstreamOverloaded again and again.",
    ):
        assert expected in words
    assert "1 of 4 failed" in words
    assert "their-provider" not in words
    lines = b"".join(login(cast.bob).get(sheet).streaming_content).decode().splitlines()
    assert lines[0] == "provider,from,calls,faults,rescued,p95_ms"
    assert lines[1].startswith("cerebras,")
    assert lines[1].endswith(",4,1,1,900.0")
    assert len(lines) == 2


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
def test_without_calls_it_says_so(cast: Cast, login: Login, page: str) -> None:
    words = login(cast.bob).get(page).content.decode()
    assert "The data plane does not report" in words
    assert "No calls in the last 24 hours" in words
    assert "Nothing went out of service" in words


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("healthy", "healthy"),
        ("degraded", "degraded"),
        ("half-open", "being tried"),
        ("limited", "rate limited"),
        ("credential", "key refused"),
        ("neutral", "too few calls"),
    ],
)
def test_every_state_has_words(cast: Cast, login: Login, page: str, state: str, words: str) -> None:
    journal.write([], [picture(state, samples=1 if state == "neutral" else 12)], now=timezone.now())
    assert f">{words}</span>" in login(cast.bob).get(page).content.decode()


@pytest.mark.clickhouse
@pytest.mark.usefixtures("log_store")
def test_strangers_visitors_and_wrong_roles_stay_out(cast: Cast, login: Login, page: str, sheet: str) -> None:
    for url in (page, sheet):
        assert Client().get(url).status_code == 302
        assert login(cast.charlie).get(url).status_code == 404
        assert login(cast.finn).get(url).status_code == 403
        assert login(cast.bob).post(url).status_code == 405


def test_while_the_log_store_rests_the_moment_is_shown_all_the_same(
    cast: Cast, login: Login, page: str, sheet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(sql: str, parameters: object) -> None:
        raise StoreUnavailable("ClickHouse does not answer.")

    monkeypatch.setattr(client, "query", refuse)
    journal.write([], [picture("healthy")], now=timezone.now())
    browser = login(cast.bob)
    answer = browser.get(page)
    assert answer.status_code == 503
    assert "groq/gpt-oss-120b" in answer.content.decode()
    assert browser.get(sheet).status_code == 503
