"""The forms of routing and experiments: what the browser sends, as typed values.

Whether a model's name means something is decided by `policies.checked`; a form checks shapes only.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.forms.boundfield import BoundWidget

from accounts.models import Organization, Workspace
from analytics import evaluation
from analytics.money import NANO
from gateway import contract_prices, guardrail_policies, policies
from gateway.catalog.models import CHAT, EMBEDDING, Catalog
from gateway.guardrails import DETECTORS
from gateway.policies import Content

SPARE_ROWS = 3
_MODELS = {"list": "model-names", "autocomplete": "off", "spellcheck": "false"}
_TASK_TYPES = {"list": "task-types", "autocomplete": "off", "spellcheck": "false"}
_ROW = re.compile(r"(task|model)-(\d{1,3})")


class PolicyForm(forms.Form):
    """A workspace's policy. The overrides arrive as `task-N` and `model-N`; a row without both names is left out."""

    default_model = forms.CharField(
        label="Default model",
        required=False,
        max_length=policies.MAX_MODEL_NAME,
        widget=forms.TextInput(attrs=_MODELS),
        help_text="Where calls to auto go. Empty: the cheapest configured model that can do what the call needs.",
    )
    baseline_model = forms.CharField(
        label="Baseline model",
        required=False,
        max_length=policies.MAX_MODEL_NAME,
        widget=forms.TextInput(attrs=_MODELS),
        help_text="What savings are measured against: the model that you would call without routing.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, content: Content | None = None) -> None:
        held = content or Content()
        super().__init__(data, initial={"default_model": held.default_model, "baseline_model": held.baseline_model})
        given = list(held.by_task.items()) if data is None else _rows(data)
        self.rows = list(enumerate([*given, *[("", "")] * SPARE_ROWS]))
        self.by_task_error = ""

    def content(self) -> Content:
        """Return what was sent, with names as they were typed.

        Raises:
            policies.InvalidPolicy: a task type stands in two rows.
        """
        by_task: dict[str, str] = {}
        for _, (task_type, model) in self.rows:
            if not task_type and not model:
                continue
            if task_type in by_task:
                raise policies.InvalidPolicy({"by_task": f"“{task_type}” stands in two rows: keep one."})
            by_task[task_type] = model
        return Content(self.cleaned_data["default_model"], by_task, self.cleaned_data["baseline_model"])

    def refuse(self, error: policies.InvalidPolicy) -> None:
        """Show the problems at their fields."""
        for field, problem in error.problems.items():
            if field == "by_task":
                self.by_task_error = problem
            else:
                self.add_error(field, problem)


class ExperimentForm(forms.Form):
    """A new experiment: a question, two models, and the one metric that decides."""

    name = forms.CharField(label="Name", max_length=200, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    question = forms.CharField(
        label="Question",
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="What will you do when it is answered? For example: does the cheaper model answer tickets as well?",
    )
    workspace = forms.ModelChoiceField(label="Workspace", queryset=Workspace.objects.none(), empty_label=None)
    control_model = forms.CharField(
        label="Control",
        max_length=policies.MAX_MODEL_NAME,
        widget=forms.TextInput(attrs=_MODELS),
        help_text="The model of today.",
    )
    treatment_model = forms.CharField(
        label="Treatment",
        max_length=policies.MAX_MODEL_NAME,
        widget=forms.TextInput(attrs=_MODELS),
        help_text="The model to try.",
    )
    treatment_percent = forms.IntegerField(
        label="Share of the treatment (%)",
        min_value=1,
        max_value=99,
        initial=50,
        help_text="Half and half needs the fewest calls.",
    )
    task_type = forms.CharField(
        label="Task type",
        required=False,
        max_length=policies.MAX_TASK_TYPE,
        widget=forms.TextInput(attrs=_TASK_TYPES),
        help_text="Empty: all calls to auto.",
    )
    unit = forms.ChoiceField(
        label="Assign by",
        choices=(
            ("session", "Session: a conversation stays with one model"),
            ("end_user", "End user: a person stays with one model"),
            ("agent_run", "Agent run: a run stays with one model"),
            ("request", "Request: every call is drawn anew"),
        ),
        help_text="Calls that do not name it are drawn one by one.",
    )
    primary_metric = forms.ChoiceField(
        label="Decided by",
        choices=[(name, evaluation.metric_of(name).title) for name in evaluation.PRIMARY_METRICS],
        help_text="One metric decides; the others watch that nothing gets worse.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, organization: Organization) -> None:
        super().__init__(data)
        workspaces = self.fields["workspace"]
        assert isinstance(workspaces, forms.ModelChoiceField)
        workspaces.queryset = Workspace.objects.filter(organization=organization).order_by("created_at")


def _rows(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for name in data:
        match = _ROW.fullmatch(name)
        if match:
            found.setdefault(int(match[2]), {})[match[1]] = str(data[name]).strip()[:200]
    rows = [(row.get("task", ""), row.get("model", "")) for _, row in sorted(found.items())]
    return [row for row in rows if any(row)]


class GuardrailForm(forms.Form):
    """A workspace's guardrails. Models and providers are given one a line."""

    redacted = forms.MultipleChoiceField(
        label="Taken out of what is stored",
        required=False,
        choices=[(name, detector.title) for name, detector in DETECTORS.items()],
        widget=forms.CheckboxSelectMultiple,
    )
    blocked = forms.MultipleChoiceField(
        label="Never sent to a provider",
        required=False,
        choices=[(name, detector.title) for name, detector in DETECTORS.items()],
        widget=forms.CheckboxSelectMultiple,
    )
    allowed_models = forms.CharField(
        label="Allowed models",
        required=False,
        max_length=6000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="One a line, such as openai/gpt-5.4-mini or anthropic/*. Empty: all.",
    )
    allowed_providers = forms.CharField(
        label="Allowed providers",
        required=False,
        max_length=6000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="One a line, such as openai or bedrock. Empty: all.",
    )

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, prefix: str, holds: guardrail_policies.Content | None = None
    ) -> None:
        held = holds or guardrail_policies.Content()
        super().__init__(
            data,
            prefix=prefix,
            initial={
                "redacted": held.redacted,
                "blocked": held.blocked,
                "allowed_models": "\n".join(held.allowed_models),
                "allowed_providers": "\n".join(held.allowed_providers),
            },
        )

    def rows(self) -> list[tuple[str, BoundWidget, BoundWidget]]:
        """Return a row for each category: its title, the box of `redacted` and the box of `blocked`."""
        titles = [detector.title for detector in DETECTORS.values()]
        return list(zip(titles, self["redacted"], self["blocked"], strict=True))

    def content(self) -> guardrail_policies.Content:
        """Return what was sent."""
        return guardrail_policies.Content(
            tuple(self.cleaned_data["redacted"]),
            tuple(self.cleaned_data["blocked"]),
            tuple(self.cleaned_data["allowed_models"].splitlines()),
            tuple(self.cleaned_data["allowed_providers"].splitlines()),
        )


class ModelSearch(forms.Form):
    """What the models page is narrowed to. Everything is optional; unknown fields of the URL are left alone."""

    q = forms.CharField(
        label="Search", required=False, max_length=100, widget=forms.TextInput(attrs={"type": "search"})
    )
    provider = forms.ChoiceField(label="Provider", required=False)
    capability = forms.ChoiceField(label="Can do", required=False)
    kind = forms.ChoiceField(
        label="Kind", required=False, choices=[("", "Any"), (CHAT, "Chat"), (EMBEDDING, "Embeddings")]
    )
    policy = forms.ChoiceField(
        label="Data policy",
        required=False,
        choices=[("", "Any"), ("no_training", "Does not train on prompts"), ("zdr", "Offers zero data retention")],
    )
    max_input = forms.DecimalField(
        label="Input at most, $ a million", required=False, min_value=0, max_value=1_000_000, decimal_places=9,
    )  # fmt: skip

    def __init__(self, data: Mapping[str, Any], *, catalog: Catalog) -> None:
        super().__init__(data)
        capabilities = sorted({name for model in catalog for name in model.capabilities})
        served = {model.provider for model in catalog}
        providers = sorted((p for p in catalog.providers.values() if p.slug in served), key=lambda p: p.name.lower())
        choices = {
            "provider": [("", "Any"), *((provider.slug, provider.name) for provider in providers)],
            "capability": [("", "Anything"), *((name, name.replace("_", " ")) for name in capabilities)],
        }
        for name, options in choices.items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = options

    def most_nanousd(self) -> int | None:
        """Return the highest input price in nano-USD per million tokens."""
        most = self.cleaned_data["max_input"]
        return None if most is None else int(most * NANO)


class ContractPriceForm(forms.Form):
    """An agreed price as it is typed: percent, and US dollars per million tokens."""

    pattern = forms.CharField(
        label="Models",
        max_length=120,
        help_text="One model's id, such as openai/gpt-5.4, or its beginning and a star: openai/* is all of a provider.",
    )
    discount = forms.DecimalField(
        label="Discount in percent", required=False, min_value=0, max_value=100, decimal_places=2,
        help_text="Off the list price, in every service tier and at any length. Or give prices below.",
    )  # fmt: skip
    input = forms.DecimalField(label="Input", required=False, min_value=0, decimal_places=9)
    cached_read = forms.DecimalField(label="Cached input", required=False, min_value=0, decimal_places=9)
    cache_write = forms.DecimalField(label="Cache writes", required=False, min_value=0, decimal_places=9)
    output = forms.DecimalField(label="Output", required=False, min_value=0, decimal_places=9)
    valid_from = forms.DateField(
        label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}),
        help_text="Midnight UTC; empty: from now on.",
    )  # fmt: skip
    valid_to = forms.DateField(
        label="Until", required=False, widget=forms.DateInput(attrs={"type": "date"}),
        help_text="Midnight UTC at the beginning of this day; empty: until it is ended.",
    )  # fmt: skip
    note = forms.CharField(label="Note", required=False, max_length=200, help_text="Such as the contract's number.")

    def content(self, *, now: dt.datetime) -> contract_prices.Content:
        """Return what was typed in integers, from `now` where no beginning was given."""
        given = self.cleaned_data
        prices = {
            name: None if given[name] is None else int(given[name] * NANO)
            for name in ("input", "cached_read", "cache_write", "output")
        }
        return contract_prices.Content(
            pattern=given["pattern"].strip(),
            discount_basis_points=None if given["discount"] is None else int(given["discount"] * 100),
            valid_from=_midnight(given["valid_from"]) or now,
            valid_to=_midnight(given["valid_to"]),
            note=given["note"],
            **prices,
        )


def _midnight(day: dt.date | None) -> dt.datetime | None:
    return None if day is None else dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
