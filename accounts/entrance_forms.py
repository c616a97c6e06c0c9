"""The forms of sign-in, sign-up and passwords: allauth's, with our labels and our organization.

`ACCOUNT_FORMS` in the settings names them; what they do beyond words is allauth's, sign-up apart.
"""

from __future__ import annotations

from typing import Any

from allauth.account import forms as allauth_forms
from allauth.core import context
from django import forms
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import access, audit, organizations
from accounts.models import User

_RULES = "At least 12 characters; not a common password, not only digits, not your e-mail address."


class _OurWords:
    """Labels instead of placeholders, which vanish as soon as one types."""

    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.widget.attrs.pop("placeholder", None)
            if name in {"email", "login"}:
                field.label = "E-mail address"
            if name == "remember":
                field.label = "Stay signed in"
            if name == "password1":
                field.help_text = _RULES


class LoginForm(_OurWords, allauth_forms.LoginForm):  # type: ignore[misc]
    """E-mail address and password."""


class ResetPasswordForm(_OurWords, allauth_forms.ResetPasswordForm):  # type: ignore[misc]
    """The address that the link goes to."""


class ResetPasswordKeyForm(_OurWords, allauth_forms.ResetPasswordKeyForm):  # type: ignore[misc]
    """A new password, from the link."""


class ChangePasswordForm(_OurWords, allauth_forms.ChangePasswordForm):  # type: ignore[misc]
    """A new password, by the old one."""


class SetPasswordForm(_OurWords, allauth_forms.SetPasswordForm):  # type: ignore[misc]
    """A first password, for someone who came in by a link."""


class AddEmailForm(_OurWords, allauth_forms.AddEmailForm):  # type: ignore[misc]
    """A further address."""


class SignUpForm(_OurWords, allauth_forms.SignupForm):  # type: ignore[misc]
    """Make a user and an organization of their own; someone with an invitation gets the seat instead."""

    organization_name = forms.CharField(
        label="Organization",
        max_length=200,
        help_text="Your company or team. You can invite others to it.",
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )
    field_order = ("email", "organization_name", "password1")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.invitation = access.pending_invitation(context.request, now=timezone.now())
        if self.invitation is not None:
            del self.fields["organization_name"]
            # The seat is for this address; with another one it could not be taken.
            self.fields["email"].initial = self.invitation.email
            self.fields["email"].disabled = True

    def clean_organization_name(self) -> str:
        try:
            return organizations.clean_name(self.cleaned_data["organization_name"])
        except organizations.InvalidOrganization as error:
            raise forms.ValidationError(str(error)) from error

    @transaction.atomic
    def save(self, request: HttpRequest) -> User:
        user: User = super().save(request)
        return user

    def custom_signup(self, request: HttpRequest, user: User) -> None:
        if self.invitation is None:
            organizations.create(
                name=self.cleaned_data["organization_name"],
                owner=user,
                actor=audit.user(user, ip=access.client_ip(request)),
                now=timezone.now(),
            )
