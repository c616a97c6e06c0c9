"""Provider keys: what is kept of them, what clears them, and what they never become."""

from __future__ import annotations

import base64
import datetime as dt
import socket
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import audit, encryption, provider_credentials
from accounts.models import AuditEvent, Organization, ProviderCredential
from accounts.provider_credentials import InvalidCredential
from tests.factories.accounts import Cast, make_api_key, make_organization, make_provider_credential, make_workspace

SECRET = "sk-proj-canary-4711-abcdefgh"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names that these tests look up."""
    known = {"llm.example.com": "93.184.216.34", "other.example.com": "93.184.216.35", "inside.example.com": "10.0.0.5"}

    def look_up(host: str, port: int, **kwargs: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def change(credential: ProviderCredential, **values: Any) -> ProviderCredential:
    kept = {
        "label": credential.label,
        "base_url": credential.base_url,
        "model_names": credential.model_names,
        "order": credential.order,
        "weight": credential.weight,
        "allows_managed_fallback": credential.allows_managed_fallback,
    }
    return provider_credentials.change(
        credential=credential, **{**kept, **values}, actor=audit.SYSTEM, now=timezone.now()
    )


def test_a_secret_comes_back_for_the_data_plane_and_only_its_hint_for_people() -> None:
    credential = make_provider_credential(secret=f" {SECRET}\n")

    assert provider_credentials.open_secret(credential) == SECRET
    assert credential.hint == "…efgh"
    assert SECRET not in f"{credential!r} {credential} {bytes(credential.envelope)!r}"


@pytest.mark.parametrize(("secret", "hint"), [("short-key", "…"), ("x" * 16, "…xxxx")])
def test_a_hint_is_never_much_of_the_secret(secret: str, hint: str) -> None:
    assert make_provider_credential(secret=secret).hint == hint


def test_an_envelope_opens_in_its_own_row_only() -> None:
    organization = make_organization()
    one = make_provider_credential(organization, label="one", secret=SECRET)
    two = make_provider_credential(organization, label="two", secret="sk-something-else-4711")

    two.envelope = one.envelope

    with pytest.raises(encryption.DamagedEnvelope):
        provider_credentials.open_secret(two)


@pytest.mark.parametrize(("column", "value"), [("base_url", "https://evil.example"), ("provider", "groq")])
def test_a_row_whose_address_was_changed_behind_our_back_does_not_open(column: str, value: str) -> None:
    credential = make_provider_credential(secret=SECRET)
    ProviderCredential.objects.filter(pk=credential.pk).update(**{column: value})

    with pytest.raises(encryption.DamagedEnvelope):
        provider_credentials.open_secret(ProviderCredential.objects.get(pk=credential.pk))


def test_a_changed_address_clears_the_secret_and_what_was_tested() -> None:
    credential = make_provider_credential(secret=SECRET, base_url="https://llm.example.com/v1")
    provider_credentials.note_test(
        credential=credential, result="passed", message="ok", actor=audit.SYSTEM, now=timezone.now()
    )

    changed = change(credential, base_url="https://other.example.com/v1")

    assert (changed.has_secret, changed.hint, changed.last_test_result) == (False, "", "")
    assert ProviderCredential.objects.get(pk=credential.pk).envelope == b""
    with pytest.raises(InvalidCredential, match="Replace it"):
        provider_credentials.open_secret(changed)


def test_other_changes_leave_the_secret(cast: Cast) -> None:
    credential = make_provider_credential(secret=SECRET, base_url="https://llm.example.com/v1")

    changed = change(credential, label="New", base_url="https://llm.example.com/v1/", order=3, weight=5)

    assert provider_credentials.open_secret(changed) == SECRET


def test_replacing_the_secret_leaves_nothing_of_the_old_one() -> None:
    credential = make_provider_credential(secret=SECRET)

    provider_credentials.replace_secret(
        credential=credential, secret="sk-new-secret-0815-xyzw", actor=audit.SYSTEM, now=timezone.now()
    )

    current = ProviderCredential.objects.get(pk=credential.pk)
    assert provider_credentials.open_secret(current) == "sk-new-secret-0815-xyzw"
    assert current.hint == "…xyzw"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"secret": ""}, "secret"),
        ({"secret": "two words"}, "secret"),
        ({"secret": "a\r\nx-evil: 1"}, "secret"),
        ({"secret": "schlüssel"}, "secret"),
        ({"secret": "x" * 501}, "secret"),
        ({"label": " "}, "label"),
        ({"label": f"my {SECRET}"}, "label"),
        ({"provider": "Open AI"}, "provider"),
        ({"provider": "../x"}, "provider"),
        ({"base_url": "http://llm.example.com/v1"}, "base_url"),
        ({"base_url": "https://inside.example.com/v1"}, "base_url"),
        ({"base_url": "https://169.254.169.254/v1"}, "base_url"),
        ({"base_url": "https://llm.example.com/v1?api-version=1"}, "base_url"),
        ({"base_url": "https://user:pass@llm.example.com"}, "base_url"),
        ({"base_url": "https://nobody.example.com"}, "base_url"),
        ({"order": -1}, "order"),
        ({"weight": 0}, "weight"),
        ({"weight": 101}, "weight"),
        ({"model_names": [f"m{number}" for number in range(101)]}, "model_names"),
    ],
)
def test_it_refuses_what_cannot_be_used_without_repeating_the_secret(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidCredential) as caught:
        make_provider_credential(**{"secret": SECRET, **values})

    assert caught.value.field == field
    assert SECRET not in str(caught.value)
    assert not ProviderCredential.objects.exists()


def test_a_key_of_ours_is_no_provider_key() -> None:
    ours = make_api_key()

    with pytest.raises(InvalidCredential, match="key of this gateway"):
        make_provider_credential(secret=ours.key)


def test_a_server_of_ones_own_may_need_no_key() -> None:
    credential = make_provider_credential(provider="my-vllm", secret="", base_url="https://llm.example.com/v1")

    assert (credential.has_secret, credential.hint) == (True, "no key")
    assert provider_credentials.open_secret(credential) == ""


def test_a_label_is_given_once_in_an_organization_and_a_foreign_workspace_never() -> None:
    organization = make_organization()
    make_provider_credential(organization, label="Production")

    with pytest.raises(InvalidCredential, match="label"):
        make_provider_credential(organization, label="Production")
    with pytest.raises(InvalidCredential, match="workspace"):
        make_provider_credential(organization, label="Else", workspace=make_workspace(make_organization()))
    make_provider_credential(make_organization(), label="Production")


def test_every_change_is_audited_without_the_secret() -> None:
    credential = make_provider_credential(secret=SECRET)
    now = timezone.now()
    provider_credentials.replace_secret(credential=credential, secret=SECRET + "2", actor=audit.SYSTEM, now=now)
    change(credential, weight=7)
    provider_credentials.switch(credential=credential, is_enabled=False, actor=audit.SYSTEM, now=now)
    provider_credentials.switch(credential=credential, is_enabled=False, actor=audit.SYSTEM, now=now)
    provider_credentials.switch(credential=credential, is_enabled=True, actor=audit.SYSTEM, now=now)
    provider_credentials.note_test(credential=credential, result="refused", message="no", actor=audit.SYSTEM, now=now)
    provider_credentials.delete(credential=credential, actor=audit.SYSTEM, now=now)

    events = AuditEvent.objects.filter(action__startswith="provider_credential.")
    actions = [event.action.partition(".")[2] for event in events.order_by("at", "pk")]
    assert sorted(actions) == ["change", "create", "delete", "disable", "enable", "replace", "test"]
    assert SECRET not in str(list(events.values()))


def test_deleting_tells_the_data_plane_through_the_organization() -> None:
    organization = make_organization()
    credential = make_provider_credential(organization)
    before = Organization.objects.get(pk=organization.pk).changed_at

    provider_credentials.delete(credential=credential, actor=audit.SYSTEM, now=timezone.now())

    assert Organization.objects.get(pk=organization.pk).changed_at > before
    assert not ProviderCredential.objects.exists()


def test_a_use_is_noted_to_the_minute_and_is_no_change() -> None:
    credential = make_provider_credential()
    changed_at = credential.changed_at
    late = dt.datetime(2026, 11, 22, 12, 30, 40, tzinfo=dt.UTC)

    provider_credentials.touch_last_used({credential.pk: late, "cred_gone": late})
    provider_credentials.touch_last_used({credential.pk: late - dt.timedelta(hours=1)})

    credential.refresh_from_db()
    assert credential.last_used_at == late.replace(second=0)
    assert credential.changed_at == changed_at


def test_the_first_fallback_to_the_operators_key_is_an_event_and_the_switch_arms_it_again() -> None:
    credential = make_provider_credential(allows_managed_fallback=True)
    now = timezone.now()

    assert provider_credentials.note_managed_fallbacks({credential.pk: now}) == [credential]
    assert provider_credentials.note_managed_fallbacks({credential.pk: now}) == []
    assert AuditEvent.objects.filter(action="provider_credential.fall_back").count() == 1

    change(credential, allows_managed_fallback=False)
    change(credential, allows_managed_fallback=True)
    assert provider_credentials.note_managed_fallbacks({credential.pk: now}) == [credential]


def _master_keys(*names: str) -> str:
    return ",".join(f"{name}:{base64.b64encode(name.encode() * 32).decode()}" for name in names)


def test_secrets_move_to_a_new_master_key_and_the_old_one_can_go(settings: Any) -> None:
    settings.MASTER_KEYS = _master_keys("a")
    credential = make_provider_credential(secret=SECRET)
    settings.MASTER_KEYS = _master_keys("b", "a")
    out = StringIO()

    call_command("rewrap_secrets", stdout=out)
    call_command("rewrap_secrets", stdout=out)

    assert out.getvalue().splitlines() == ["Encrypted 1 secrets anew.", "Encrypted 0 secrets anew."]
    settings.MASTER_KEYS = _master_keys("b")
    assert provider_credentials.open_secret(ProviderCredential.objects.get(pk=credential.pk)) == SECRET


def test_a_secret_under_a_lost_master_key_is_reported(settings: Any) -> None:
    settings.MASTER_KEYS = _master_keys("a")
    make_provider_credential(secret=SECRET)
    settings.MASTER_KEYS = _master_keys("b")

    with pytest.raises(CommandError, match="1 secrets cannot be read"):
        call_command("rewrap_secrets", stdout=StringIO())
