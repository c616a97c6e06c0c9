"""People whom the operator makes; all others come by sign-up (allauth)."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from accounts.models import User


class InvalidEmail(ValueError):
    """Not an e-mail address."""


def find_or_create(*, email: str) -> User:
    """Return the user with that address; a new one has no password and a confirmed address.

    The operator vouches for the address, so a password reset by mail works from the start.

    Raises:
        InvalidEmail: it is none.
    """
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise InvalidEmail(f"{email!r} is not an e-mail address; write one such as owner@example.com.") from error
    with transaction.atomic():
        user = User.objects.filter(email=email).first() or User.objects.create_user(email)
        is_first = not EmailAddress.objects.filter(user=user).exists()
        EmailAddress.objects.get_or_create(user=user, email=email, defaults={"verified": True, "primary": is_first})
    return user
