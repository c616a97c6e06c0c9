"""What the data plane knows of keys, and how soon it hears that one has ended."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import threading
import time
from typing import Any

import pytest
from django.db import InterfaceError
from django.utils import timezone

from accounts import api_keys, audit, provider_credentials
from accounts.api_keys import NewKey
from accounts.models import ApiKey, ProviderCredential, Workspace
from gateway import authentication, contract_prices, errors
from gateway.snapshot import Snapshot, read
from tests.factories.accounts import make_api_key, make_organization, make_provider_credential, make_workspace

pytestmark = pytest.mark.django_db


def digest_of(new: NewKey) -> bytes:
    return hashlib.sha256(new.key.encode()).digest()


def knowing(*keys: NewKey) -> Snapshot:
    """Return a snapshot that has seen the keys."""
    snapshot = Snapshot()
    snapshot.keys.update(read(ApiKey.objects.filter(pk__in=[new.api_key.pk for new in keys])))
    assert len(snapshot.keys) == len(keys)
    return snapshot


def test_a_revoked_key_is_refused_after_the_next_look() -> None:
    new = make_api_key(make_organization())
    snapshot = knowing(new)
    api_keys.revoke(api_key=new.api_key, actor=audit.SYSTEM, now=timezone.now())
    snapshot.refresh()
    with pytest.raises(errors.AuthenticationFailed):
        authentication.require_usable(snapshot.keys[digest_of(new)], scope="chat", now=time.time())


def test_a_clock_that_is_wrong_does_not_keep_a_revoked_key_alive() -> None:
    new = make_api_key(make_organization())
    other = make_api_key(make_organization())
    snapshot = knowing(new, other)
    wrong = timezone.now() - dt.timedelta(minutes=5)  # the pages' machine is late: its change looks like an old one
    ApiKey.objects.filter(pk=new.api_key.pk).update(revoked_at=wrong, changed_at=wrong)
    snapshot._next_full_check = 0.0
    snapshot.refresh()
    assert snapshot.keys[digest_of(new)].revoked_at == wrong.timestamp()
    assert snapshot.keys[digest_of(other)].revoked_at is None


def test_a_deleted_key_is_forgotten() -> None:
    new = make_api_key(make_organization())
    snapshot = knowing(new)
    ApiKey.objects.filter(pk=new.api_key.pk).delete()
    snapshot._next_full_check = 0.0
    snapshot.refresh()
    assert snapshot.keys == {}


async def test_a_broken_connection_is_no_verdict_on_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Snapshot()

    def broken(digest: bytes) -> None:
        raise InterfaceError("connection already closed")

    monkeypatch.setattr(snapshot, "_load_one", broken)
    with pytest.raises(errors.Unavailable):
        await snapshot.look_up(b"x" * 32)


async def test_one_look_up_serves_all_who_ask_for_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def load(self: Snapshot, digest: bytes) -> None:
        asked.append(digest)
        time.sleep(0.05)

    monkeypatch.setattr(Snapshot, "_load_one", load)
    snapshot = Snapshot()
    assert await asyncio.gather(*(snapshot.look_up(b"d") for _ in range(50))) == [None] * 50
    assert await snapshot.look_up(b"d") is None  # remembered as unknown
    assert asked == [b"d"]
    snapshot.stop()


async def test_a_flood_of_strange_keys_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(Snapshot, "_load_one", lambda self, digest: release.wait(5) and None)
    snapshot = Snapshot()
    asking = [asyncio.ensure_future(snapshot.look_up(b"%d" % number)) for number in range(600)]
    await asyncio.sleep(0)
    release.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    snapshot.stop()
    turned_away = [answer for answer in answers if isinstance(answer, errors.Unavailable)]
    assert len(turned_away) == 600 - 512


def credentials_of(snapshot: Snapshot, new: NewKey) -> list[tuple[str, str, bool]]:
    found = snapshot.keys[digest_of(new)].credentials
    held = [] if found is None else [one for held in found.by_provider.values() for one in held]
    return [(one.label, one.api_key, one.is_usable) for one in held]


def test_a_key_carries_the_provider_keys_of_its_workspace_and_organization_and_no_others() -> None:
    organization = make_organization()
    new = make_api_key(organization)
    own = Workspace.objects.get(pk=new.api_key.workspace_id)
    make_provider_credential(organization, label="everywhere", secret="sk-everywhere")
    make_provider_credential(organization, label="here", secret="sk-here", workspace=own)
    make_provider_credential(organization, label="elsewhere", workspace=make_workspace(organization))
    make_provider_credential(make_organization(), label="foreign")

    assert credentials_of(knowing(new), new) == [("here", "sk-here", True), ("everywhere", "sk-everywhere", True)]


def test_provider_keys_come_change_and_go_with_the_next_look() -> None:
    organization = make_organization()
    new = make_api_key(organization)
    snapshot = knowing(new)

    credential = make_provider_credential(organization, label="own", secret="sk-one")
    snapshot.refresh()
    assert credentials_of(snapshot, new) == [("own", "sk-one", True)]

    provider_credentials.replace_secret(credential=credential, secret="sk-two", actor=audit.SYSTEM, now=timezone.now())
    snapshot.refresh()
    assert credentials_of(snapshot, new) == [("own", "sk-two", True)]

    provider_credentials.switch(credential=credential, is_enabled=False, actor=audit.SYSTEM, now=timezone.now())
    snapshot.refresh()
    assert credentials_of(snapshot, new) == []

    provider_credentials.switch(credential=credential, is_enabled=True, actor=audit.SYSTEM, now=timezone.now())
    snapshot.refresh()
    provider_credentials.delete(credential=credential, actor=audit.SYSTEM, now=timezone.now())
    snapshot.refresh()
    assert credentials_of(snapshot, new) == []


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_clock_that_is_wrong_does_not_keep_a_provider_key_in_use(is_deleted: bool) -> None:
    organization = make_organization()
    new, foreign = make_api_key(organization), make_api_key(make_organization())
    credential = make_provider_credential(organization, label="own", secret="sk-one")
    snapshot = knowing(new, foreign)
    snapshot._next_full_check = 0.0
    snapshot.refresh()
    wrong = timezone.now() - dt.timedelta(minutes=5)
    row = ProviderCredential.objects.filter(pk=credential.pk)
    if is_deleted:
        row.delete()
    else:
        row.update(is_enabled=False, changed_at=wrong)

    snapshot._next_full_check = 0.0
    snapshot.refresh()

    assert credentials_of(snapshot, new) == []


def test_a_secret_under_a_lost_master_key_keeps_its_place_and_is_not_usable(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    organization = make_organization()
    new = make_api_key(organization)
    make_provider_credential(organization, label="own", secret="sk-one")
    settings.SECRET_KEY = "another"

    assert credentials_of(knowing(new), new) == [("own", "", False)]
    assert "cannot be decrypted" in caplog.text


def test_a_contract_price_prices_calls_from_the_next_look_on() -> None:
    organization = make_organization()
    new = make_api_key(organization)
    snapshot = knowing(new)
    assert snapshot.keys[digest_of(new)].contracts is None
    now = timezone.now()
    price = contract_prices.add(
        organization=organization,
        content=contract_prices.Content(pattern="openai/*", discount_basis_points=1_000, valid_from=now),
        by=None,
        actor=audit.SYSTEM,
        now=now,
    )
    snapshot.refresh()
    agreed = snapshot.keys[digest_of(new)].contracts
    assert agreed is not None
    assert [term.term_id for term in agreed.terms] == [price.pk]
    assert agreed.terms[0].matches("openai/gpt-5.4", now.timestamp() + 1)
    contract_prices.end(price=price, actor=audit.SYSTEM, now=now + dt.timedelta(seconds=9))
    snapshot.refresh()
    ended = snapshot.keys[digest_of(new)].contracts
    assert ended is not None
    assert not ended.terms[0].matches("openai/gpt-5.4", now.timestamp() + 10)
