"""The tables of accounts: users, organizations, workspaces, memberships and API keys."""

from accounts.models.api_key import ApiKey
from accounts.models.organization import Membership, Organization, Workspace
from accounts.models.user import User

__all__ = ["ApiKey", "Membership", "Organization", "User", "Workspace"]
