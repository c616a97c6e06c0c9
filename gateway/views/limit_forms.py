"""The form of a limit: what the browser sends, as typed values. Rules stand in `limits`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from django import forms

from accounts.models import ApiKey, Organization, Workspace
from gateway import limits
from gateway.limits import Terms, Whom
from gateway.models import Limit

_NANO = 1_000_000_000
_BY_VALUE = (
    ("agent:", "Each agent"),
    ("agent:value", "One agent, named below"),
    ("end_user:", "Each end user"),
    ("end_user:value", "One end user, named below"),
    ("tag:", "Each value of a tag, named below"),
    ("tag:value", "One value of a tag, both named below"),
)


class TermsForm(forms.Form):
    """How much, and what happens then."""

    name = forms.CharField(
        label="Name",
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="Refused calls name it. Empty: named after what it limits.",
    )
    kind = forms.ChoiceField(label="What", choices=Limit.Kind.choices)
    amount = forms.DecimalField(
        label="How much",
        min_value=Decimal(0),
        max_digits=16,
        decimal_places=4,
        help_text="US dollars for a budget, a whole number for requests and tokens.",
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
    )
    period = forms.ChoiceField(label="Period", choices=Limit.Period.choices, initial=Limit.Period.MONTH, required=False)
    on_exceed = forms.ChoiceField(
        label="When a budget is spent", choices=Limit.OnExceed.choices, initial=Limit.OnExceed.BLOCK, required=False
    )
    downgrade_percent = forms.IntegerField(
        label="Cheaper models from (%)",
        required=False,
        min_value=1,
        max_value=100,
        initial=80,
        help_text="From this share of the budget on, calls go to the cheapest model that fits.",
    )
    alerts = forms.CharField(
        label="Alert at (%)",
        required=False,
        max_length=60,
        initial="80, 100",
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "numeric"}),
        help_text="Percentages of a budget, separated by commas. Shown here, and sent to webhooks.",
    )

    def clean_alerts(self) -> tuple[int, ...]:
        text: str = self.cleaned_data["alerts"]
        try:
            return tuple(sorted({int(part.strip().removesuffix("%")) for part in text.split(",") if part.strip()}))
        except ValueError:
            raise forms.ValidationError("Write percentages such as 50, 80, 100.") from None

    def terms(self, *, kind: str = "") -> Terms:
        """Return what was sent.

        Raises:
            limits.InvalidLimit: the amount does not fit what is counted.
        """
        given = self.cleaned_data
        kind = kind or given["kind"]
        amount: Decimal = given["amount"]
        if kind == Limit.Kind.BUDGET:
            whole = int(amount * _NANO)
        elif amount != int(amount):
            raise limits.InvalidLimit("Write a whole number of requests or tokens.", field="amount")
        else:
            whole = int(amount)
        return Terms(
            name=given["name"].strip(),
            kind=kind,
            amount=whole,
            period=given["period"] or Limit.Period.MONTH,
            on_exceed=given["on_exceed"] or Limit.OnExceed.BLOCK,
            downgrade_percent=given["downgrade_percent"] or 80,
            alert_percents=given["alerts"],
        )

    @classmethod
    def of(cls, limit: Limit) -> TermsForm:
        """Return the form with what a limit says now."""
        amount = Decimal(limit.amount) / _NANO if limit.kind == Limit.Kind.BUDGET else Decimal(limit.amount)
        return cls(
            initial={
                "name": limit.name,
                "kind": limit.kind,
                "amount": f"{amount.normalize():f}",
                "period": limit.period,
                "on_exceed": limit.on_exceed,
                "downgrade_percent": limit.downgrade_percent,
                "alerts": ", ".join(str(percent) for percent in limit.alert_percents),
            }
        )

    def refuse(self, error: limits.InvalidLimit) -> None:
        """Show the problem at its field."""
        self.add_error(error.field if error.field in self.fields else None, str(error))


class LimitForm(TermsForm):
    """A new limit."""

    whom = forms.ChoiceField(label="Whom")
    tag = forms.CharField(
        label="Tag",
        required=False,
        max_length=64,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="Its name, such as team. Only for limits on a tag.",
    )
    value = forms.CharField(
        label="Value",
        required=False,
        max_length=256,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="The agent, end user or value as calls name it. Only for limits on one of them.",
    )

    def __init__(self, *args: Any, organization: Organization, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        workspaces = Workspace.objects.for_organization(organization.pk).order_by("created_at", "pk")
        keys = ApiKey.objects.for_organization(organization.pk).filter(revoked_at=None).order_by("created_at", "pk")
        cast(forms.ChoiceField, self.fields["whom"]).choices = [
            ("organization:", "The organization"),
            ("workspace:", "Each workspace"),
            *((f"workspace:{workspace.pk}", f"Workspace {workspace.name}") for workspace in workspaces),
            ("api_key:", "Each API key"),
            *((f"api_key:{key.pk}", f"API key {key}") for key in keys),
            *_BY_VALUE,
        ]

    def chosen(self) -> Whom:
        """Return whom the limit is for.

        Raises:
            limits.InvalidLimit: one of many is chosen and not named.
        """
        scope, _, subject = self.cleaned_data["whom"].partition(":")
        if subject == "value":
            subject = self.cleaned_data["value"].strip()
            if not subject:
                raise limits.InvalidLimit("Name which one, as calls name it.", field="value")
        return Whom(
            scope=scope, subject=subject, tag=self.cleaned_data["tag"].strip() if scope == Limit.Scope.TAG else ""
        )
