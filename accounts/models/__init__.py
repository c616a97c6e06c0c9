"""The tables of accounts: users, organizations, workspaces, memberships, invitations, API keys and the audit trail."""

from accounts.models.api_key import ApiKey
from accounts.models.audit_event import AuditEvent, AuditTrailIsAppendOnly
from accounts.models.invitation import Invitation, SignInLink
from accounts.models.organization import Membership, Organization, Workspace
from accounts.models.user import User

__all__ = [
    "ApiKey",
    "AuditEvent",
    "AuditTrailIsAppendOnly",
    "Invitation",
    "Membership",
    "Organization",
    "SignInLink",
    "User",
    "Workspace",
]
