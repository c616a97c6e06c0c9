"""The forms of provider keys: what the browser sends, as typed values. Rules of the domain stand in
`accounts.provider_credentials`."""

from __future__ import annotations

from typing import Any, cast

from django import forms

from accounts import provider_credentials
from accounts.models import Organization, ProviderCredential, Workspace
from gateway.providers import quirks

OWN_SERVER = "own"
_PLAIN = {"autocomplete": "off", "spellcheck": "false"}

PROVIDERS = tuple((row.provider, row.title) for row in quirks.TABLE if row is not quirks.SIMULATOR)


class _Choices(forms.Form):
    """What can be changed later: everything but provider, workspace and the key itself."""

    label = forms.CharField(
        label="Label",
        max_length=100,
        help_text="Tells this key from others: in lists, receipts and errors.",
        widget=forms.TextInput(attrs=_PLAIN),
    )
    base_url = forms.CharField(
        label="Address",
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={**_PLAIN, "inputmode": "url", "placeholder": "https://…"}),
    )
    model_names = forms.CharField(
        label="Models",
        required=False,
        help_text="One a line, such as openai/gpt-5.4 or openai/*. Empty: all of the provider's.",
        widget=forms.Textarea(attrs={**_PLAIN, "rows": 2}),
    )
    order = forms.IntegerField(
        label="Order",
        initial=0,
        min_value=0,
        max_value=provider_credentials.HIGHEST_ORDER,
        help_text="Of several keys for one provider the lowest is tried first.",
    )
    weight = forms.IntegerField(
        label="Weight",
        initial=1,
        min_value=1,
        max_value=provider_credentials.HIGHEST_WEIGHT,
        help_text="Share of the calls among keys of the same order. A session stays with its key.",
    )
    allows_managed_fallback = forms.BooleanField(
        label="When this key fails, use the operator's key",
        required=False,
        help_text="Off: a call that this key cannot serve fails. On: it is served and billed by KairosRoute.",
    )

    def models(self) -> list[str]:
        """Return the models that were named, one a line or separated by commas."""
        return cast(str, self.cleaned_data["model_names"]).replace(",", "\n").split("\n")

    def refuse(self, error: provider_credentials.InvalidCredential) -> None:
        """Show what is wrong at its field."""
        self.add_error(error.field if error.field in self.fields else None, str(error))


class ProviderKeyForm(_Choices):
    """A new provider key."""

    provider = forms.ChoiceField(
        label="Provider", choices=(*PROVIDERS, (OWN_SERVER, "Your own OpenAI-compatible server (vLLM, Ollama, …)"))
    )
    name = forms.CharField(
        label="Name of your server",
        required=False,
        max_length=40,
        help_text="For your own server only. Its models are called <name>/<model>.",
        widget=forms.TextInput(attrs={**_PLAIN, "placeholder": "my-vllm"}),
    )
    secret = forms.CharField(
        label="Key",
        required=False,
        max_length=600,
        help_text="Stored encrypted and never shown again. Your own server may need none.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    workspace = forms.ModelChoiceField(
        label="For",
        queryset=Workspace.objects.none(),
        required=False,
        empty_label="All workspaces",
        help_text="A workspace's own keys come before the organization's.",
    )
    field_order = ("provider", "name", "label", "secret", "base_url", "workspace")

    def __init__(self, *args: Any, organization: Organization, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = Workspace.objects.for_organization(organization.pk).order_by("created_at", "pk")
        field = cast("forms.ModelChoiceField[Workspace]", self.fields["workspace"])
        field.queryset = own
        field.error_messages["invalid_choice"] = "Choose a workspace of this organization."
        self.fields[
            "base_url"
        ].help_text = (
            "Azure, Amazon Bedrock and your own server need theirs. Others: empty, unless a proxy stands before them."
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        provider = cleaned.get("provider")
        if provider == OWN_SERVER:
            name = cleaned.get("name", "").strip().lower()
            if not name:
                self.add_error("name", "Give your server a name: its models are called <name>/<model>.")
            elif quirks.known(name):
                self.add_error("name", "That is a known provider: choose it above, or give your server another name.")
            cleaned["provider"] = name
        row = quirks.known(cleaned.get("provider") or "") or quirks.GENERIC
        if not row.base_url and not cleaned.get("base_url"):
            self.add_error("base_url", "This provider has no address of its own: give yours.")
        return cleaned


class ProviderKeyChangeForm(_Choices):
    """The settings of a provider key; its fields carry the key's id."""

    @classmethod
    def of(cls, credential: ProviderCredential) -> ProviderKeyChangeForm:
        """Return the form with the key's settings."""
        return cls(
            prefix=credential.pk,
            initial={
                "label": credential.label,
                "base_url": credential.base_url,
                "model_names": "\n".join(credential.model_names),
                "order": credential.order,
                "weight": credential.weight,
                "allows_managed_fallback": credential.allows_managed_fallback,
            },
        )
