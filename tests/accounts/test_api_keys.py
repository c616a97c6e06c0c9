"""Keys: made once, limited, replaced with an overlap, ended at once."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from accounts import api_keys, audit, tokens
from accounts.models import ApiKey, AuditEvent
from tests.factories.accounts import make_api_key, make_organization, make_user, make_workspace

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def test_a_key_is_stored_by_its_hash_only() -> None:
    new = make_api_key(mode="live")
    stored = ApiKey.objects.get()
    assert stored.sha256 == tokens.parse(new.key).sha256
    assert stored.hint == tokens.hint(new.key)
    assert new.key not in {str(value) for value in ApiKey.objects.values_list()[0]}


def test_the_key_does_not_show_in_a_representation() -> None:
    new = make_api_key()
    assert new.key not in repr(new)


def test_the_scopes_of_a_key_are_checked() -> None:
    assert make_api_key(scopes=("receipts", "chat")).api_key.scopes == ["chat", "receipts"]
    with pytest.raises(api_keys.InvalidKey, match="There is no scope 'root'"):
        make_api_key(scopes=("root",))


def test_a_key_needs_a_name() -> None:
    with pytest.raises(api_keys.InvalidKey, match="name of 1 to 200 characters"):
        make_api_key(name="  ")


def test_a_key_needs_a_known_mode() -> None:
    with pytest.raises(api_keys.InvalidKey, match="live or test"):
        make_api_key(mode="staging")  # type: ignore[arg-type]


@pytest.mark.parametrize("late", [dt.timedelta(0), DAY])
def test_a_key_cannot_expire_before_it_is_made(late: dt.timedelta) -> None:
    with pytest.raises(api_keys.InvalidKey, match="would have expired already"):
        make_api_key(expires_at=NOW - late, now=NOW)


def test_for_organization_shows_only_its_own_keys() -> None:
    mine = make_api_key().api_key
    make_api_key()
    assert list(ApiKey.objects.for_organization(mine.workspace.organization_id)) == [mine]


def test_rotation_without_overlap_ends_the_old_key_at_once() -> None:
    old = make_api_key(scopes=("chat",), mode="test").api_key
    new = api_keys.rotate(api_key=old, actor=audit.SYSTEM, now=NOW)
    old.refresh_from_db()
    assert old.revoked_at == NOW
    assert old.replaced_by == new.api_key
    assert (new.api_key.name, new.api_key.mode, new.api_key.scopes) == (old.name, old.mode, ["chat"])
    assert new.api_key.workspace == old.workspace
    assert list(ApiKey.objects.usable(NOW)) == [new.api_key]


def test_during_the_overlap_both_keys_work() -> None:
    old = make_api_key().api_key
    new = api_keys.rotate(api_key=old, overlap=DAY, actor=audit.SYSTEM, now=NOW)
    old.refresh_from_db()
    assert old.state(NOW) == "replaced"
    assert set(ApiKey.objects.usable(NOW + DAY / 2)) == {old, new.api_key}
    assert list(ApiKey.objects.usable(NOW + DAY)) == [new.api_key]
    assert old.state(NOW + DAY) == "expired"


def test_an_overlap_never_prolongs_a_key() -> None:
    old = make_api_key(expires_at=NOW + DAY / 2, now=NOW).api_key
    new = api_keys.rotate(api_key=old, overlap=DAY, actor=audit.SYSTEM, now=NOW)
    old.refresh_from_db()
    assert old.expires_at == new.api_key.expires_at == NOW + DAY / 2


@pytest.mark.parametrize("overlap", [-DAY, 31 * DAY])
def test_an_overlap_has_bounds(overlap: dt.timedelta) -> None:
    with pytest.raises(api_keys.InvalidKey, match="0 to 30 days"):
        api_keys.rotate(api_key=make_api_key().api_key, overlap=overlap, actor=audit.SYSTEM, now=NOW)


def test_only_an_active_key_is_rotated() -> None:
    key = make_api_key(expires_at=NOW + DAY, now=NOW).api_key
    with pytest.raises(api_keys.InvalidKey, match="Only an active key"):
        api_keys.rotate(api_key=key, actor=audit.SYSTEM, now=NOW + DAY)
    api_keys.rotate(api_key=key, overlap=DAY / 2, actor=audit.SYSTEM, now=NOW)
    with pytest.raises(api_keys.InvalidKey, match="Only an active key"):
        api_keys.rotate(api_key=key, actor=audit.SYSTEM, now=NOW)
    assert ApiKey.objects.count() == 2


def test_a_revoked_key_keeps_its_time() -> None:
    key = make_api_key().api_key
    api_keys.revoke(api_key=key, actor=audit.SYSTEM, now=NOW)
    api_keys.revoke(api_key=key, actor=audit.SYSTEM, now=NOW + DAY)
    key.refresh_from_db()
    assert key.revoked_at == NOW
    assert AuditEvent.objects.filter(action="api_key.revoke").count() == 1


def test_changes_move_changed_at_so_that_the_data_plane_notices() -> None:
    rotated, revoked = make_api_key().api_key, make_api_key().api_key
    before = {key.pk: key.changed_at for key in (rotated, revoked)}
    api_keys.rotate(api_key=rotated, overlap=DAY, actor=audit.SYSTEM, now=NOW)
    api_keys.revoke(api_key=revoked, actor=audit.SYSTEM, now=NOW)
    for key in (rotated, revoked):
        key.refresh_from_db()
        assert key.changed_at > before[key.pk]


def test_last_use_is_noted_for_many_keys_without_moving_changed_at() -> None:
    keys = [make_api_key(make_workspace(make_organization())).api_key for _ in range(3)]
    at = dt.datetime(2026, 11, 22, 12, 0, 7, 999, tzinfo=dt.UTC)
    api_keys.touch_last_used({keys[0].pk: at, keys[1].pk: at, "key_unknown": at})
    for key in keys:
        before = key.changed_at
        key.refresh_from_db()
        assert key.changed_at == before
    assert [key.last_used_at for key in keys] == [at.replace(second=0, microsecond=0)] * 2 + [None]


def test_a_key_in_constant_use_is_written_once_a_minute() -> None:
    keys = [make_api_key().api_key.pk for _ in range(3)]
    api_keys.touch_last_used(dict.fromkeys(keys, NOW))
    with CaptureQueriesContext(connection) as queries:
        api_keys.touch_last_used(dict.fromkeys(keys, NOW + dt.timedelta(seconds=59)))
    assert not [query for query in queries if query["sql"].startswith("UPDATE")]
    api_keys.touch_last_used(dict.fromkeys(keys, NOW + dt.timedelta(seconds=60)))
    assert set(ApiKey.objects.values_list("last_used_at", flat=True)) == {NOW + dt.timedelta(seconds=60)}


def test_late_news_does_not_turn_the_last_use_back() -> None:
    key = make_api_key().api_key
    api_keys.touch_last_used({key.pk: NOW})
    api_keys.touch_last_used({key.pk: NOW - DAY})
    key.refresh_from_db()
    assert key.last_used_at == NOW


def test_no_uses_touch_nothing(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        api_keys.touch_last_used({})


def test_the_trail_tells_what_happened_to_a_key_and_not_the_key() -> None:
    alice = make_user("alice@acme.example")
    new = make_api_key(name="bot")
    actor = audit.user(alice, ip="192.0.2.7")
    newer = api_keys.rotate(api_key=new.api_key, actor=actor, now=NOW)
    api_keys.revoke(api_key=newer.api_key, actor=actor, now=NOW)
    events = list(AuditEvent.objects.filter(action__startswith="api_key.").order_by("at", "action"))
    assert {event.action for event in events} == {"api_key.create", "api_key.rotate", "api_key.revoke"}
    rotation = next(event for event in events if event.action == "api_key.rotate")
    assert (rotation.actor_label, rotation.ip, rotation.at) == ("alice@acme.example", "192.0.2.7", NOW)
    assert rotation.before["id"] == new.api_key.pk
    assert rotation.after["id"] == newer.api_key.pk
    told = str([(event.before, event.after, event.object_label) for event in events])
    assert new.key not in told
    assert newer.key not in told
    assert new.api_key.sha256 not in told


@pytest.mark.django_db(transaction=True)
def test_workers_that_note_the_same_keys_do_not_block_each_other() -> None:
    keys = [make_api_key().api_key.pk for _ in range(20)]
    failures: list[BaseException] = []

    def work(order: list[str]) -> None:
        try:
            for minute in range(10):
                api_keys.touch_last_used(dict.fromkeys(order, NOW + dt.timedelta(minutes=minute)))
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(order,)) for order in (keys, keys[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert set(ApiKey.objects.values_list("last_used_at", flat=True)) == {NOW + dt.timedelta(minutes=9)}
