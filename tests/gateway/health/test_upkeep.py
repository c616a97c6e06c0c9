"""What the provider health page is told: changes of state as rows, and the picture of the moment."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.core.cache import cache

from accounts import webhooks
from accounts.models import WebhookEndpoint, WebhookEvent
from gateway import dispatch, errors
from gateway.context import ChatCall
from gateway.draft import Draft
from gateway.health import journal, upkeep
from gateway.health.board import Board, KeyFallback, Row
from gateway.health.journal import Change
from gateway.models import ProviderEvent
from gateway.providers.protocol import Endpoint
from gateway.routing.decision import Decision
from gateway.transports import Providers
from gateway.upstream import Timeouts
from tests.factories.accounts import Cast
from tests.factories.calls import make_key
from tests.gateway.rig import in_thread

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
OURS = Endpoint("openai/m", "openai", "m", "openai_chat", "http://ours")
THEIRS = Endpoint("azure/x", "azure", "x", "openai_chat", "http://secret.customer.example")


def is_public(row: Row) -> bool:
    return row.base_url == "http://ours"


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def change(*, is_open: bool, seconds: int = 0) -> Change:
    return Change("openai", "openai/m", is_open, "why", NOW + dt.timedelta(seconds=seconds))


def test_a_customers_own_endpoint_is_in_no_picture() -> None:
    board = Board()
    for endpoint in (OURS, THEIRS):
        for _ in range(4):
            board.succeed(endpoint, 1.0, 200_000)
    assert [one.model for one in upkeep.picture(board, 1.0, is_public=is_public)] == ["openai/m"]


def test_under_three_samples_an_endpoint_is_neutral_and_has_no_figures() -> None:
    board = Board()
    board.succeed(OURS, 1.0, 200_000)
    board.succeed(OURS, 1.0, 200_000)
    (one,) = upkeep.picture(board, 1.0, is_public=is_public)
    assert (one.state, one.samples, one.error_ratio, one.first_token_p50_ms) == ("neutral", 2, None, None)
    board.succeed(OURS, 1.0, 200_000)
    (one,) = upkeep.picture(board, 1.0, is_public=is_public)
    assert (one.state, one.error_ratio) == ("healthy", 0.0)


def test_every_state_has_a_word() -> None:
    board = Board()
    for _ in range(4):
        board.fail(OURS, 1.0, errors.UpstreamOverloaded("x"))
    assert upkeep.picture(board, 1.0, is_public=is_public)[0].state == "open"
    assert upkeep.picture(board, 7.0, is_public=is_public)[0].state == "half-open"
    board.succeed(OURS, 7.0, None)
    assert upkeep.picture(board, 7.0, is_public=is_public)[0].state == "healthy"
    board.fail(OURS, 8.0, errors.UpstreamRateLimited("x", retry_after_s=9.0))
    assert upkeep.picture(board, 8.0, is_public=is_public)[0].state == "limited"


@pytest.mark.django_db
def test_what_several_processes_notice_is_one_row() -> None:
    journal.write([change(is_open=True), change(is_open=True, seconds=3)], [], now=NOW)
    journal.write([change(is_open=False, seconds=10), change(is_open=True, seconds=15)], [], now=NOW)
    assert [event.is_open for event in ProviderEvent.objects.all()] == [True, False, True]


@pytest.mark.django_db
def test_rows_of_last_month_are_cleared() -> None:
    journal.write([change(is_open=True)], [], now=NOW)
    journal.write([change(is_open=False, seconds=60)], [], now=NOW + dt.timedelta(days=30, seconds=30))
    assert ProviderEvent.objects.count() == 1


@pytest.mark.django_db
def test_the_picture_is_found_where_it_was_put() -> None:
    assert journal.picture() == (None, [])
    board = Board()
    for _ in range(3):
        board.succeed(OURS, 1.0, 200_000)
    found = upkeep.picture(board, 1.0, is_public=is_public)
    journal.write([], found, now=NOW)
    assert journal.picture() == (NOW, found)


@pytest.mark.django_db(transaction=True)
async def test_a_turn_of_the_upkeep_writes_what_concerns_all() -> None:
    board = Board()
    keeper = upkeep.Upkeep(board, redis_url="", is_public=is_public)
    for endpoint in (OURS, THEIRS):
        for _ in range(3):
            board.fail(endpoint, 1.0, errors.UpstreamTimeout("x"))
    await keeper.tick(writes=False)
    assert await in_thread(lambda: [event.model for event in ProviderEvent.objects.all()]) == ["openai/m"]
    await keeper.close()


def test_a_call_that_goes_on_from_a_customers_key_to_the_operators_is_noted() -> None:
    own = replace(OURS, key_source="byok", credential_id="pc_1")
    providers = Providers({}, None, None, Timeouts())  # type: ignore[arg-type]
    draft = Draft(body="0" * 26, key=make_key(), started_us=1)
    draft.call = ChatCall(raw=b"{}", requested_model="m")
    draft.decision = Decision((own, OURS), "pinned", True)
    dispatch.chart(providers, draft)
    assert dispatch.fail(providers, draft, own, 0.0, errors.UpstreamOverloaded("x"))
    assert [one.credential_id for one in providers.health.key_fallbacks] == ["pc_1"]
    assert not dispatch.fail(providers, draft, OURS, 0.0, errors.UpstreamOverloaded("x"))
    assert len(providers.health.key_fallbacks) == 1


@pytest.mark.django_db
def test_the_first_such_call_of_an_hour_is_told_to_the_organization(cast: Cast) -> None:
    WebhookEndpoint.objects.create(
        organization=cast.acme, url="https://hooks.acme.test", event_types=[webhooks.FALLBACK_USED]
    )
    moved = KeyFallback(cast.acme.pk, "ws_1", "pc_1", "openai", "openai/m", "UpstreamOverloaded")
    for minutes in (1, 2, 59, 61):
        journal.write([], [], now=NOW + dt.timedelta(minutes=minutes), key_fallbacks=[moved])
    assert WebhookEvent.objects.filter(organization=cast.acme, type=webhooks.FALLBACK_USED).count() == 2
