"""Provider keys that customers bring: add, replace, redirect, test, switch and delete them.

A secret is encrypted when it arrives and never given back to a person; `open_secret` serves the data plane and the test
of a connection. An address is checked when it is saved; whoever connects checks it again. Which providers there are,
and what each needs, the gateway knows.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts import audit, encryption, outbound, tokens, webhooks
from accounts.models import Organization, ProviderCredential, User, Workspace

MOST_PER_ORGANIZATION = 100
MOST_MODELS = 100
HIGHEST_ORDER = 99
HIGHEST_WEIGHT = 100
_PROVIDER = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_LONGEST_SECRET = 500
_SHORTEST_SHOWN = 16  # of a shorter secret, four characters would be too much of it
_TOUCHED_AT_ONCE = 500


class InvalidCredential(ValueError):
    """The provider key cannot be like that. `field` names what is wrong; the message never repeats a secret."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def create(
    *,
    organization: Organization,
    workspace: Workspace | None,
    provider: str,
    label: str,
    secret: str,
    base_url: str = "",
    model_names: Iterable[str] = (),
    order: int = 0,
    weight: int = 1,
    allows_managed_fallback: bool = False,
    actor: audit.Actor,
    now: dt.datetime,
    created_by: User | None = None,
) -> ProviderCredential:
    """Add a provider key. An address of its own may go without a secret (a server that asks for none).

    Raises:
        InvalidCredential: a value cannot be used, or the address may not be reached.
    """
    if workspace is not None and workspace.organization_id != organization.pk:
        raise InvalidCredential("Choose a workspace of this organization.", field="workspace")
    if not _PROVIDER.fullmatch(provider):
        raise InvalidCredential("A provider's name is made of small letters, digits and hyphens.", field="provider")
    credential = ProviderCredential(
        organization=organization,
        workspace=workspace,
        created_by=created_by,
        provider=provider,
        label=_clean_label(label),
        base_url=_clean_base_url(base_url),
        model_names=_clean_models(model_names),
        order=_in_range(order, 0, HIGHEST_ORDER, "order"),
        weight=_in_range(weight, 1, HIGHEST_WEIGHT, "weight"),
        allows_managed_fallback=allows_managed_fallback,
    )
    _seal(credential, secret)
    with transaction.atomic():
        # Two at once must not find the same place free.
        Organization.objects.select_for_update().get(pk=organization.pk)
        if ProviderCredential.objects.for_organization(organization.pk).count() >= MOST_PER_ORGANIZATION:
            raise InvalidCredential(f"An organization has at most {MOST_PER_ORGANIZATION} provider keys.")
        _save(credential)
        audit.change(credential, "provider_credential.create", actor=actor, now=now, after=_facts(credential))
    return credential


def replace_secret(*, credential: ProviderCredential, secret: str, actor: audit.Actor, now: dt.datetime) -> None:
    """Put a new secret in the place of the old one, which is gone.

    Raises:
        InvalidCredential: it cannot be sent as a key.
    """
    with transaction.atomic():
        current = _locked(credential)
        before = _facts(current)
        _seal(current, secret)
        _forget_test(current)
        current.save()
        audit.change(current, "provider_credential.replace", actor=actor, now=now, before=before, after=_facts(current))


def change(
    *,
    credential: ProviderCredential,
    label: str,
    base_url: str,
    model_names: Iterable[str],
    order: int,
    weight: int,
    allows_managed_fallback: bool,
    actor: audit.Actor,
    now: dt.datetime,
) -> ProviderCredential:
    """Change everything but provider and secret; return it as it is now.

    Another address clears the secret: whoever may change an address must not be able to have the key sent to it.

    Raises:
        InvalidCredential: a value cannot be used, or the address may not be reached.
    """
    address = _clean_base_url(base_url)
    with transaction.atomic():
        current = _locked(credential)
        before = _facts(current)
        current.label = _clean_label(label)
        current.model_names = _clean_models(model_names)
        current.order = _in_range(order, 0, HIGHEST_ORDER, "order")
        current.weight = _in_range(weight, 1, HIGHEST_WEIGHT, "weight")
        if allows_managed_fallback != current.allows_managed_fallback:
            current.fell_back_at = None
        current.allows_managed_fallback = allows_managed_fallback
        if address != current.base_url:
            current.base_url, current.envelope, current.hint = address, b"", ""
            _forget_test(current)
        _save(current)
        audit.change(current, "provider_credential.change", actor=actor, now=now, before=before, after=_facts(current))
    return current


def switch(*, credential: ProviderCredential, is_enabled: bool, actor: audit.Actor, now: dt.datetime) -> None:
    """Let calls use the key, or stop that."""
    with transaction.atomic():
        current = _locked(credential)
        if current.is_enabled == is_enabled:
            return
        current.is_enabled = is_enabled
        current.save(update_fields=["is_enabled", "changed_at"])
        action = "provider_credential.enable" if is_enabled else "provider_credential.disable"
        audit.change(current, action, actor=actor, now=now)


def delete(*, credential: ProviderCredential, actor: audit.Actor, now: dt.datetime) -> None:
    """Delete the key with its secret."""
    with transaction.atomic():
        current = _locked(credential)
        audit.change(current, "provider_credential.delete", actor=actor, now=now, before=_facts(current))
        # A deleted row cannot say that it changed: the organization says it, and the data plane reads its keys anew.
        organization = Organization.objects.get(pk=current.organization_id)
        organization.save(update_fields=["changed_at"])
        current.delete()


def note_test(
    *, credential: ProviderCredential, result: str, message: str, actor: audit.Actor, now: dt.datetime
) -> None:
    """Keep what a test of the connection found. It is no change that the data plane would have to read."""
    with transaction.atomic():
        ProviderCredential.objects.filter(pk=credential.pk).update(
            last_tested_at=now, last_test_result=result, last_test_message=message[:300]
        )
        audit.change(credential, "provider_credential.test", actor=actor, now=now, after={"result": result})


def open_secret(credential: ProviderCredential) -> str:
    """Return the secret; empty for a server that asks for none.

    Raises:
        InvalidCredential: none was given since the address changed.
        accounts.encryption.KeyringError: it cannot be decrypted.
    """
    if not credential.has_secret:
        raise InvalidCredential("This provider key has no secret any more. Replace it.")
    opened = encryption.deployment_keyring().decrypt(
        bytes(credential.envelope), purpose=encryption.PROVIDER_KEY, bound_to=credential.binding
    )
    return opened.decode()


def rewrap_all() -> tuple[int, int]:
    """Encrypt every secret anew under the current master key; return how many were, and how many could not be read.

    A secret that is replaced meanwhile is under the current key already and stays.
    """
    keyring = encryption.deployment_keyring()
    rewrapped = unreadable = 0
    for credential in ProviderCredential.objects.exclude(envelope=b"").iterator():
        old = bytes(credential.envelope)
        try:
            if not keyring.needs_rewrap(old):
                continue
            new = keyring.rewrap(old, purpose=encryption.PROVIDER_KEY, bound_to=credential.binding)
        except encryption.KeyringError:
            unreadable += 1
            continue
        rewrapped += ProviderCredential.objects.filter(pk=credential.pk, envelope=old).update(envelope=new)
    return rewrapped, unreadable


def touch_last_used(used: Mapping[str, dt.datetime]) -> None:
    """Note the last use of many keys, id → time, to the minute. Late news never turns a newer time back."""
    by_minute: dict[dt.datetime, list[str]] = {}
    for credential_id, at in used.items():
        by_minute.setdefault(at.replace(second=0, microsecond=0), []).append(credential_id)
    for at, ids in sorted(by_minute.items()):
        for start in range(0, len(ids), _TOUCHED_AT_ONCE):
            older = ProviderCredential.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=at))
            older.filter(pk__in=ids[start : start + _TOUCHED_AT_ONCE]).update(last_used_at=at)


def note_managed_fallbacks(fallen: Mapping[str, dt.datetime]) -> list[ProviderCredential]:
    """Note that calls went from these keys (id → time) to the operator's; return those that did for the first time.

    The first time is an event of the audit trail: costs have moved from the customer's contract to the operator's.
    """
    first: list[ProviderCredential] = []
    for credential_id, at in fallen.items():
        with transaction.atomic():
            fresh = ProviderCredential.objects.filter(pk=credential_id, fell_back_at=None)
            if fresh.update(fell_back_at=at):
                credential = ProviderCredential.objects.get(pk=credential_id)
                audit.change(credential, "provider_credential.fall_back", actor=audit.SYSTEM, now=at)
                webhooks.emit(
                    organization_id=credential.organization_id,
                    event_type=webhooks.FALLBACK_USED,
                    data={
                        "provider_credential_id": credential.pk,
                        "label": credential.label,
                        "provider": credential.provider,
                    },
                    now=at,
                )
                first.append(credential)
    return first


def _locked(credential: ProviderCredential) -> ProviderCredential:
    return ProviderCredential.objects.select_for_update(of=("self",)).get(pk=credential.pk)


def _save(credential: ProviderCredential) -> None:
    try:
        with transaction.atomic():
            credential.save()
    except IntegrityError:
        raise InvalidCredential("Another provider key has this label. Choose one of its own.", field="label") from None


def _seal(credential: ProviderCredential, secret: str) -> None:
    secret = secret.strip()
    if not secret and not credential.base_url:
        raise InvalidCredential("Paste the provider's key.", field="secret")
    if tokens.PATTERN.search(secret):
        raise InvalidCredential("That is a key of this gateway. Paste the provider's key.", field="secret")
    if len(secret) > _LONGEST_SECRET or not secret.isascii() or any(not "!" <= letter <= "~" for letter in secret):
        # A line break in a key would start a header of its own.
        raise InvalidCredential(
            f"A provider's key has no blanks, no line breaks and at most {_LONGEST_SECRET} characters.", field="secret"
        )
    if secret and secret in f"{credential.label} {credential.base_url} {credential.provider}":
        raise InvalidCredential(
            "The key stands in the label or the address, where everybody would see it.", field="label"
        )
    credential.envelope = encryption.deployment_keyring().encrypt(
        secret.encode(), purpose=encryption.PROVIDER_KEY, bound_to=credential.binding
    )
    credential.hint = f"…{secret[-4:]}" if len(secret) >= _SHORTEST_SHOWN else ("…" if secret else "no key")


def _forget_test(credential: ProviderCredential) -> None:
    credential.last_tested_at, credential.last_test_result, credential.last_test_message = None, "", ""


def _clean_label(label: str) -> str:
    label = " ".join(label.split())
    if not label or len(label) > 100:
        raise InvalidCredential("Give the key a label of 1 to 100 characters that tells it from others.", field="label")
    if tokens.PATTERN.search(label):
        raise InvalidCredential("That is an API key. A label is shown to members: choose another.", field="label")
    return label


def _clean_base_url(url: str) -> str:
    url = url.strip().rstrip("/")
    if not url:
        return ""
    if len(url) > 500:
        raise InvalidCredential("The address has at most 500 characters.", field="base_url")
    if "?" in url:
        raise InvalidCredential("The address must not hold a query (?…).", field="base_url")
    try:
        outbound.check(url)
    except outbound.Refused as error:
        raise InvalidCredential(str(error), field="base_url") from None
    return url


def _clean_models(names: Iterable[str]) -> list[str]:
    cleaned = sorted({name.strip() for name in names if name.strip()})
    if len(cleaned) > MOST_MODELS or any(len(name) > 200 for name in cleaned):
        raise InvalidCredential(f"Name at most {MOST_MODELS} models.", field="model_names")
    return cleaned


def _in_range(number: int, lowest: int, highest: int, field: str) -> int:
    if not lowest <= number <= highest:
        raise InvalidCredential(f"Choose a number from {lowest} to {highest}.", field=field)
    return number


def _facts(credential: ProviderCredential) -> dict[str, Any]:
    return {
        "provider": credential.provider,
        "label": credential.label,
        "hint": credential.hint,
        "workspace": credential.workspace_id or "",
        "base_url": credential.base_url,
        "models": credential.model_names,
        "order": credential.order,
        "weight": credential.weight,
        "allows_managed_fallback": credential.allows_managed_fallback,
    }
