"""The form of a webhook endpoint: what the browser sends. Its rules stand in `accounts.webhooks`."""

from __future__ import annotations

from django import forms

from accounts import webhooks
from accounts.models import WebhookEndpoint


class WebhookForm(forms.Form):
    """Where events go, and which."""

    url = forms.CharField(
        label="Address",
        max_length=500,
        help_text="Events are sent here as JSON by POST, signed with the endpoint's secret.",
        widget=forms.URLInput(attrs={"autocomplete": "off", "placeholder": "https://example.com/hooks/kairosroute"}),
    )
    event_types = forms.MultipleChoiceField(
        label="Events", choices=tuple(webhooks.TYPES.items()), widget=forms.CheckboxSelectMultiple
    )

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> WebhookForm:
        """Return the form with an endpoint's values, as it stands on a page with several."""
        return cls(prefix=endpoint.pk, initial={"url": endpoint.url, "event_types": endpoint.event_types})
