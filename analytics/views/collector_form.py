"""The form of a collector: what the browser sends, as typed values. Its rules stand in `analytics.collectors`."""

from __future__ import annotations

from typing import Any, cast

from django import forms

from accounts.models import Organization, Workspace
from analytics import collectors
from analytics.models import Collector


class CollectorForm(forms.Form):
    """Where telemetry goes and how much of it. Headers are written only: what is kept is never sent back."""

    endpoint = forms.CharField(
        label="OTLP/HTTP endpoint",
        max_length=500,
        help_text="The base address, such as https://otlp.example.com. /v1/traces and /v1/metrics are added to it.",
        widget=forms.URLInput(attrs={"autocomplete": "off", "placeholder": "https://otlp.example.com"}),
    )
    headers = forms.CharField(
        label="Headers",
        required=False,
        max_length=20_000,
        strip=False,
        help_text="One a line, such as “Authorization: Bearer …”. They are encrypted and never shown again.",
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
    )
    workspace = forms.ModelChoiceField(
        label="Workspace", queryset=Workspace.objects.none(), required=False, empty_label="All workspaces"
    )
    sends_traces = forms.BooleanField(
        label="Traces", required=False, initial=True, help_text="A span per call, with one child per attempt."
    )
    sends_metrics = forms.BooleanField(
        label="Metrics", required=False, initial=True, help_text="Tokens, duration, time to first chunk, calls, cost."
    )
    sample_percent = forms.IntegerField(
        label="Share of traces (%)",
        min_value=1,
        max_value=100,
        initial=100,
        help_text="A trace is sent whole or not at all; calls that failed are always sent. Metrics count every call.",
    )

    def __init__(self, *args: Any, organization: Organization, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = Workspace.objects.for_organization(organization.pk).order_by("created_at", "pk")
        field = cast("forms.ModelChoiceField[Workspace]", self.fields["workspace"])
        field.queryset = own
        field.error_messages["invalid_choice"] = "Choose a workspace of this organization."

    @classmethod
    def of(cls, collector: Collector, organization: Organization) -> CollectorForm:
        """Return the form with a collector's values, as it stands on a page with several."""
        form = cls(
            organization=organization,
            prefix=collector.pk,
            initial={
                "endpoint": collector.endpoint,
                "workspace": collector.workspace_id,
                "sends_traces": collector.sends_traces,
                "sends_metrics": collector.sends_metrics,
                "sample_percent": collector.sample_percent,
            },
        )
        kept = ", ".join(collector.header_names)
        if kept:
            form.fields["headers"].help_text = f"Kept: {kept}. Empty leaves them; another address clears them."
        return form

    def choices(self) -> collectors.Choices:
        """Return what was chosen. No headers means: leave those that are kept.

        Raises:
            collectors.InvalidCollector: a header is malformed.
        """
        data = self.cleaned_data
        text: str = data["headers"]
        return collectors.Choices(
            endpoint=data["endpoint"],
            workspace=data["workspace"],
            headers=collectors.parse_headers(text) if text.strip() else None,
            sends_traces=data["sends_traces"],
            sends_metrics=data["sends_metrics"],
            sample_percent=data["sample_percent"],
        )
