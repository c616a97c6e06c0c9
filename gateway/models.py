"""The tables of the gateway: routing policies, guardrails, contract prices, limits."""

from __future__ import annotations

from django.db import models

from accounts import identifiers


class RoutingPolicy(models.Model):
    """One version of a workspace's policy. The newest version is in force; older ones stay for receipts and
    rollback."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.policy, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    workspace = models.ForeignKey("accounts.Workspace", on_delete=models.CASCADE, related_name="routing_policies")
    number = models.PositiveIntegerField()
    default_model = models.CharField(max_length=120)
    by_task = models.JSONField(default=dict)  # task type -> model
    baseline_model = models.CharField(max_length=120, blank=True)  # what savings are measured against
    created_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "number"], name="policy_number_is_unique_in_its_workspace")
        ]

    def __str__(self) -> str:
        return f"{self.workspace} v{self.number}"


class GuardrailPolicy(models.Model):
    """What a workspace lets pass and what it keeps: categories of `gateway.guardrails`, models and providers by
    pattern. Empty lists of models and providers allow all."""

    workspace = models.OneToOneField(
        "accounts.Workspace", on_delete=models.CASCADE, primary_key=True, related_name="guardrails"
    )
    redacted = models.JSONField(default=list)  # taken out of stored content
    blocked = models.JSONField(default=list)  # calls that hold them are refused
    allowed_models = models.JSONField(default=list)
    allowed_providers = models.JSONField(default=list)
    changed_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, related_name="+")
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"guardrails of {self.workspace}"


class ContractPrice(models.Model):
    """What an organization agreed with a provider instead of the list price, for models by pattern.

    A percentage off the list, or fixed prices. Only its end is ever changed: what was settled by it can be reproduced.
    """

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.contract_price, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="contract_prices")
    pattern = models.CharField(max_length=120)  # a model's id, or the beginning of ids and a star
    discount_basis_points = models.PositiveIntegerField(null=True)  # off the list; 100 are one percent
    input_nanousd_per_mtok = models.BigIntegerField(null=True)
    cached_read_nanousd_per_mtok = models.BigIntegerField(null=True)
    cache_write_nanousd_per_mtok = models.BigIntegerField(null=True)
    output_nanousd_per_mtok = models.BigIntegerField(null=True)
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True)  # exclusive
    note = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-valid_from", "id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(valid_to=None) | models.Q(valid_to__gte=models.F("valid_from")),
                name="contract_price_ends_after_it_begins",
            )
        ]

    def __str__(self) -> str:
        return f"{self.pattern} for {self.organization}"


class Limit(models.Model):
    """How much may be asked or spent: requests or tokens a minute, or US dollars a period, by whom.

    Whom: the whole organization, or one (`subject`) or each (no subject) of its workspaces, keys, agents, end users or
    values of a tag. The strictest of all limits that a call meets decides.
    """

    class Scope(models.TextChoices):
        ORGANIZATION = "organization", "Organization"
        WORKSPACE = "workspace", "Workspace"
        API_KEY = "api_key", "API key"
        AGENT = "agent", "Agent"
        END_USER = "end_user", "End user"
        TAG = "tag", "Tag"

    class Kind(models.TextChoices):
        BUDGET = "budget", "US dollars"
        REQUESTS = "requests", "Requests a minute"
        TOKENS = "tokens", "Tokens a minute"

    class Period(models.TextChoices):
        HOUR = "hour", "Hour"
        DAY = "day", "Day"
        WEEK = "week", "Week"
        MONTH = "month", "Month"
        TOTAL = "total", "In all"

    class OnExceed(models.TextChoices):
        BLOCK = "block", "Refuse calls"
        DOWNGRADE = "downgrade", "Use cheaper models, then refuse"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.limit, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="limits")
    name = models.CharField(max_length=200)
    scope = models.CharField(max_length=12, choices=Scope.choices)
    tag = models.CharField(max_length=64, blank=True)  # the tag's name, for scope tag
    subject = models.CharField(max_length=256, blank=True)  # id of a workspace or key, or the value as clients send it
    kind = models.CharField(max_length=8, choices=Kind.choices)
    amount = models.BigIntegerField()  # requests, tokens, or nano-USD
    period = models.CharField(max_length=5, choices=Period.choices, default=Period.MONTH)  # of budgets
    on_exceed = models.CharField(max_length=9, choices=OnExceed.choices, default=OnExceed.BLOCK)
    downgrade_percent = models.PositiveSmallIntegerField(default=80)  # used: from here on cheaper models
    alert_percents = models.JSONField(default=list)  # e.g. [80, 100]
    created_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [models.CheckConstraint(condition=models.Q(amount__gt=0), name="limit_is_positive")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_each(self) -> bool:
        return self.scope != self.Scope.ORGANIZATION and not self.subject


class LimitAlert(models.Model):
    """A budget that crossed one of its percentages, once a period."""

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    limit = models.ForeignKey(Limit, on_delete=models.CASCADE, related_name="alerts")
    subject = models.CharField(max_length=330, blank=True)  # which value, for a limit on each
    percent = models.PositiveSmallIntegerField()
    period_starts_at = models.DateTimeField()
    spent_nanousd = models.BigIntegerField()
    amount_nanousd = models.BigIntegerField()
    crossed_at = models.DateTimeField()

    class Meta:
        ordering = ["-crossed_at", "-id"]
        indexes = [
            # the newest alerts of an organization: the limits page
            models.Index(fields=["organization", "-crossed_at"], name="alerts_by_organization")
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["limit", "subject", "percent", "period_starts_at"], name="one_alert_a_period_and_percentage"
            )
        ]

    def __str__(self) -> str:
        return f"{self.limit} {self.percent} %"


class ProviderEvent(models.Model):
    """An endpoint of the operator's went out of service, or came back: what the provider health page lists."""

    provider = models.CharField(max_length=60)
    model = models.CharField(max_length=200)
    is_open = models.BooleanField()  # the circuit breaker opened; False: it closed
    reason = models.CharField(max_length=120)
    happened_at = models.DateTimeField()

    class Meta:
        ordering = ["-happened_at", "-id"]
        indexes = [
            # the page's last day, and the clearing of old rows
            models.Index(fields=["happened_at"], name="provider_event_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.model} {'out' if self.is_open else 'back'}"
