"""Provider keys that customers bring: whose they are, where they lead, and the encrypted secret."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts import identifiers
from accounts.models.organization import Organization, Workspace
from accounts.models.user import User


class ProviderCredentialQuerySet(models.QuerySet["ProviderCredential"]):
    def for_organization(self, organization_id: str) -> ProviderCredentialQuerySet:
        return self.filter(organization_id=organization_id)

    def in_order_of_use(self) -> ProviderCredentialQuerySet:
        """Order by provider, then as the data plane tries them: the workspace's own before the organization's."""
        return self.order_by(
            "provider", models.F("workspace__name").asc(nulls_last=True), "workspace_id", "order", "created_at", "pk"
        )


class ProviderCredential(models.Model):
    """A customer's key at a provider, for one workspace or, without one, for all of the organization's.

    The envelope is bound to the row's owner, provider and address (`binding`): copied to another row, or beside another
    address, it does not open. An empty envelope means that a secret has to be given before the key works again.
    """

    class TestResult(models.TextChoices):
        PASSED = "passed", "Works"
        REFUSED = "refused", "Refused"
        UNREACHABLE = "unreachable", "Not reached"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.provider_credential, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="provider_credentials")
    workspace = models.ForeignKey(
        Workspace, on_delete=models.CASCADE, null=True, blank=True, related_name="provider_credentials"
    )
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    provider = models.CharField(max_length=40)  # our name for it, or the customer's for a server of their own
    label = models.CharField(max_length=100)
    base_url = models.CharField(max_length=500, blank=True)  # empty: the provider's own address
    envelope = models.BinaryField(blank=True, default=b"", editable=False)
    hint = models.CharField(max_length=10, blank=True, editable=False)  # an ellipsis and the last four characters
    model_names = models.JSONField(default=list)  # our names of the models that it is used for; empty: all
    order = models.PositiveSmallIntegerField(default=0)  # lower first
    weight = models.PositiveSmallIntegerField(default=1)  # share of the calls among those of the same order
    is_enabled = models.BooleanField(default=True)
    allows_managed_fallback = models.BooleanField(default=False)
    # When a call that this key could not serve first went to the operator's key, since the switch was turned on.
    fell_back_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_tested_at = models.DateTimeField(null=True, blank=True)
    last_test_result = models.CharField(max_length=12, choices=TestResult.choices, blank=True)
    last_test_message = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    # The data plane's snapshot re-reads rows whose changed_at moved.
    changed_at = models.DateTimeField(auto_now=True, db_index=True)

    objects = ProviderCredentialQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "label"], name="provider_credential_label_is_unique"),
            models.CheckConstraint(condition=Q(weight__gte=1), name="provider_credential_weight_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.label} ({self.provider} {self.hint})"

    @property
    def has_secret(self) -> bool:
        """Whether a secret was given since the address last changed."""
        return bool(self.envelope)

    @property
    def binding(self) -> str:
        """What the envelope is bound to."""
        return "\n".join((self.organization_id, self.pk, self.provider, self.base_url))
