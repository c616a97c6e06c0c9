"""One-time sign-in links: what the operator's command prints so that the first owner can enter.

A link is a random token with a signature. The signature keeps forged links away from the database;
the row, known by the token's SHA-256, makes it single-use and lets it expire.
"""

from __future__ import annotations

import datetime as dt

from django.core import signing

from accounts import tokens
from accounts.models import SignInLink, User

LIFETIME = dt.timedelta(hours=24)


class LinkRefused(ValueError):
    """Forged, unknown, used or expired; which of them is not told."""


def create(*, user: User, now: dt.datetime, lifetime: dt.timedelta = LIFETIME) -> str:
    """Return the token of a new link that signs `user` in once within `lifetime`."""
    token = tokens.make_one_time()
    SignInLink.objects.create(user=user, sha256=tokens.sha256(token), expires_at=now + lifetime)
    return _signer().sign(token)


def redeem(*, token: str, now: dt.datetime) -> User:
    """Use a link up and return whom it signs in.

    Raises:
        LinkRefused: it is not valid, or not any more; the user may also be inactive.
    """
    refused = LinkRefused("This sign-in link is not valid any more. Make a new one, or sign in with your password.")
    try:
        bare = _signer().unsign(token)
    except signing.BadSignature as error:
        raise refused from error
    link = SignInLink.objects.select_related("user").filter(sha256=tokens.sha256(bare), user__is_active=True).first()
    if link is None:
        raise refused
    # One statement decides who wins when a link is opened twice at once.
    if not SignInLink.objects.filter(pk=link.pk, used_at=None, expires_at__gt=now).update(used_at=now):
        raise refused
    return link.user


def _signer() -> signing.Signer:
    return signing.Signer(sep=".", salt="accounts.sign_in_links")
