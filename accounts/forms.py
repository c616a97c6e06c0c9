"""The forms of keys, members and settings: what the browser sends, as typed values.

Rules of the domain (roles, limits, last owner) stand in the noun modules; a form checks shapes only.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from decimal import Decimal
from typing import Any, cast

from django import forms

from accounts import key_scopes, workspaces
from accounts.models import ApiKey, Membership, Organization, Workspace

_OVERLAPS = (
    ("0", "Stops at once"),
    ("3600", "Works for 1 more hour"),
    ("86400", "Works for 1 more day"),
    ("604800", "Works for 7 more days"),
)
_NAME_LENGTH = 200
_LAST_YEAR = 2200  # arithmetic on dates near the year 9999 overflows


class OrganizationForm(forms.Form):
    """The name of an organization."""

    name = forms.CharField(
        label="Name", max_length=_NAME_LENGTH, widget=forms.TextInput(attrs={"autocomplete": "organization"})
    )


class WorkspaceForm(forms.Form):
    """The name of a workspace."""

    name = forms.CharField(label="Name", max_length=_NAME_LENGTH, widget=forms.TextInput(attrs={"autocomplete": "off"}))

    @classmethod
    def of(cls, workspace: Workspace) -> WorkspaceForm:
        """Return the form as it stands on a page with several: its fields carry the workspace's id."""
        return cls(initial={"name": workspace.name}, prefix=workspace.pk)


class ContentForm(forms.Form):
    """Whether and how long a workspace keeps prompts and answers."""

    stores_content = forms.BooleanField(
        label="Store prompts and answers",
        required=False,
        help_text="Off: prompts and answers pass through and are never written down.",
    )
    cap_kib = forms.IntegerField(
        label="Size cap (KiB)",
        min_value=workspaces.MINIMUM_CAP_BYTES // 1024,
        max_value=workspaces.MAXIMUM_CAP_BYTES // 1024,
        help_text="A longer prompt or answer is cut here before it is stored.",
    )
    retention_days = forms.IntegerField(
        label="Keep for (days)",
        min_value=1,
        max_value=workspaces.MAXIMUM_RETENTION_DAYS,
        help_text="Deleted for good after that.",
    )

    @classmethod
    def of(cls, workspace: Workspace) -> ContentForm:
        """Return the form with the workspace's setting; its fields carry the workspace's id."""
        return cls(
            prefix=workspace.pk,
            initial={
                "stores_content": workspace.stores_content,
                "cap_kib": workspace.content_cap_bytes // 1024,
                "retention_days": workspace.content_retention_days,
            },
        )

    def cap_bytes(self) -> int:
        kib: int = self.cleaned_data["cap_kib"]
        return kib * 1024


class KeyForm(forms.Form):
    """A new API key of one of the organization's workspaces."""

    name = forms.CharField(
        label="Name",
        max_length=_NAME_LENGTH,
        help_text="The program that will use it, such as “support bot”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    mode = forms.ChoiceField(
        label="Mode",
        choices=((ApiKey.Mode.LIVE, "Live: reaches providers"), (ApiKey.Mode.TEST, "Test: reaches the simulator only")),
    )
    workspace = forms.ModelChoiceField(label="Workspace", queryset=Workspace.objects.none(), empty_label=None)
    scopes = forms.MultipleChoiceField(
        label="Scopes",
        required=False,
        choices=tuple((scope, key_scopes.DESCRIPTIONS[scope]) for scope in key_scopes.SCOPES),
        widget=forms.CheckboxSelectMultiple,
        help_text="None ticked: the key may do all of these but manage keys.",
    )
    expires_on = forms.DateField(
        label="Last day",
        required=False,
        help_text="The key works until the end of this day (UTC). Empty: until you revoke it.",
        widget=forms.DateInput(attrs={"type": "date"}),
    )

    def __init__(self, *args: Any, organization: Organization, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = Workspace.objects.for_organization(organization.pk).order_by("created_at", "pk")
        field = cast("forms.ModelChoiceField[Workspace]", self.fields["workspace"])
        field.queryset = own
        field.error_messages["invalid_choice"] = "Choose a workspace of this organization."

    def clean_expires_on(self) -> dt.date | None:
        last_day: dt.date | None = self.cleaned_data["expires_on"]
        if last_day is not None and last_day.year >= _LAST_YEAR:
            raise forms.ValidationError(f"Choose a day before the year {_LAST_YEAR}, or none.")
        return last_day

    def expires_at(self) -> dt.datetime | None:
        """Return the end of the chosen day in UTC."""
        last_day: dt.date | None = self.cleaned_data["expires_on"]
        if last_day is None:
            return None
        return dt.datetime.combine(last_day, dt.time.min, tzinfo=dt.UTC) + dt.timedelta(days=1)


class RotationForm(forms.Form):
    """How long the old key outlives its rotation."""

    overlap_seconds = forms.ChoiceField(label="The old key", choices=_OVERLAPS, initial="86400")

    def overlap(self) -> dt.timedelta:
        return dt.timedelta(seconds=int(self.cleaned_data["overlap_seconds"]))


class GuardrailsForm(forms.Form):
    """What every call of a key is held to."""

    quality_floor = forms.FloatField(
        label="Quality floor",
        required=False,
        min_value=0,
        max_value=1,
        widget=forms.NumberInput(attrs={"step": "0.01", "min": "0", "max": "1"}),
        help_text="0 to 1: automatic routing takes no model that is expected to do worse. Empty: no floor.",
    )
    max_cost_usd = forms.DecimalField(
        label="Most a request may cost (USD)",
        required=False,
        min_value=Decimal("0.000001"),
        max_value=Decimal(1_000_000),
        max_digits=13,
        decimal_places=6,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text="A call that may cost more is refused with COST_LIMIT_EXCEEDED before anything is spent.",
    )
    has_plain_budget_errors = forms.BooleanField(
        label="Answer 429 BUDGET_EXCEEDED when a budget is spent",
        required=False,
        help_text="For programs that know this error and not 403 budget_exceeded.",
    )

    @classmethod
    def of(cls, api_key: ApiKey) -> GuardrailsForm:
        """Return the form with a key's guardrails; its fields carry the key's id."""
        most = api_key.max_cost_per_request_nanousd
        return cls(
            prefix=api_key.pk,
            initial={
                "quality_floor": api_key.quality_floor,
                "max_cost_usd": None if most is None else f"{(Decimal(most) / 1_000_000_000).normalize():f}",
                "has_plain_budget_errors": api_key.has_plain_budget_errors,
            },
        )

    def max_cost_nanousd(self) -> int | None:
        usd: Decimal | None = self.cleaned_data["max_cost_usd"]
        return None if usd is None else int(usd * 1_000_000_000)


class TimeZoneForm(forms.Form):
    """In which time zone an organization's days begin."""

    time_zone = forms.ChoiceField(
        label="Time zone",
        choices=[(name, name) for name in sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})],
        help_text="Budgets reset at midnight there.",
    )


class InvitationForm(forms.Form):
    """Whom to invite as what."""

    email = forms.EmailField(label="E-mail address", widget=forms.EmailInput(attrs={"autocomplete": "off"}))
    role = forms.ChoiceField(label="Role", choices=Membership.Role.choices, initial=Membership.Role.DEVELOPER)

    def __init__(self, *args: Any, choices: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast(forms.ChoiceField, self.fields["role"]).choices = choices


class RoleForm(forms.Form):
    """A member's new role."""

    role = forms.ChoiceField(label="Role", choices=Membership.Role.choices)
