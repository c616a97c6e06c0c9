"""The tables of accounts: people, organizations, workspaces, memberships, invitations, keys and the audit trail."""

from accounts.models.api_key import ApiKey
from accounts.models.audit_event import AuditEvent, AuditTrailIsAppendOnly
from accounts.models.invitation import Invitation, SignInLink
from accounts.models.organization import Membership, Organization, Workspace
from accounts.models.provider_credential import ProviderCredential
from accounts.models.user import User
from accounts.models.webhook import WebhookDelivery, WebhookEndpoint, WebhookEvent

__all__ = [
    "ApiKey",
    "AuditEvent",
    "AuditTrailIsAppendOnly",
    "Invitation",
    "Membership",
    "Organization",
    "ProviderCredential",
    "SignInLink",
    "User",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "Workspace",
]
