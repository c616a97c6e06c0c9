"""One-time sign-in links: signed, once, for a day."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from django.db import connection

from accounts import sign_in_links
from accounts.models import SignInLink
from tests.factories.accounts import make_user

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


@pytest.mark.django_db
def test_a_link_signs_its_user_in_once() -> None:
    alice = make_user()
    token = sign_in_links.create(user=alice, now=NOW)
    assert sign_in_links.redeem(token=token, now=NOW) == alice
    with pytest.raises(sign_in_links.LinkRefused):
        sign_in_links.redeem(token=token, now=NOW)


@pytest.mark.django_db
def test_a_link_ends_after_a_day() -> None:
    token = sign_in_links.create(user=make_user(), now=NOW)
    with pytest.raises(sign_in_links.LinkRefused):
        sign_in_links.redeem(token=token, now=NOW + dt.timedelta(hours=24))


@pytest.mark.django_db
def test_a_forged_link_does_not_reach_the_database(django_assert_num_queries: object) -> None:
    token = sign_in_links.create(user=make_user(), now=NOW)
    with django_assert_num_queries(0):  # type: ignore[operator]
        for forged in (token[:-1] + ("A" if token[-1] != "A" else "B"), token.partition(".")[0], "", "a.b", "\x00"):
            with pytest.raises(sign_in_links.LinkRefused):
                sign_in_links.redeem(token=forged, now=NOW)


@pytest.mark.django_db
def test_a_closed_account_is_not_entered() -> None:
    alice = make_user()
    token = sign_in_links.create(user=alice, now=NOW)
    alice.is_active = False
    alice.save()
    with pytest.raises(sign_in_links.LinkRefused):
        sign_in_links.redeem(token=token, now=NOW)


@pytest.mark.django_db
def test_the_token_is_stored_by_its_hash_only() -> None:
    token = sign_in_links.create(user=make_user(), now=NOW)
    stored = str(list(SignInLink.objects.values()))
    assert token not in stored
    assert token.partition(".")[0] not in stored


@pytest.mark.django_db(transaction=True)
def test_of_two_who_open_a_link_at_once_one_enters() -> None:
    token = sign_in_links.create(user=make_user(), now=NOW)
    outcomes: list[str] = []
    start = threading.Barrier(2)

    def redeem() -> None:
        start.wait(timeout=10)
        try:
            sign_in_links.redeem(token=token, now=NOW)
            outcomes.append("in")
        except sign_in_links.LinkRefused:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=redeem) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in", "refused"]
