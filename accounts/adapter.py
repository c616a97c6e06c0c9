"""Where allauth asks us: may this visitor sign up?"""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from accounts import access


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Sign-up is open to all where the operator says so, and always to those who hold an invitation."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        if settings.SIGN_UP_IS_OPEN:
            return True
        return access.pending_invitation(request, now=timezone.now()) is not None
