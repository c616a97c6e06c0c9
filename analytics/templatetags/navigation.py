"""The sidebar: which pages a member sees and which of their organizations they can switch to.

It reads what the view left on the request (`organization`, `request.membership`); it decides no access.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import template
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from accounts import roles
from accounts.models import Organization

register = template.Library()

# (section, ((title, URL name, icon, permission that the page asks for), …)); a page without a route yet is left out.
_PAGES: tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...] = (
    (
        "Observe",
        (
            ("Overview", "overview", "layout-dashboard", roles.VIEW_COSTS),
            ("Requests", "requests", "list-tree", roles.VIEW_REQUESTS),
            ("Costs", "costs", "coins", roles.VIEW_COSTS),
            ("Provider health", "provider_health", "activity", roles.VIEW_REQUESTS),
        ),
    ),
    (
        "Improve",
        (
            ("Quality", "quality", "gauge", roles.VIEW_REQUESTS),
            ("Experiments", "experiments", "flask-conical", roles.VIEW_REQUESTS),
            ("Routing", "routing", "waypoints", roles.VIEW_REQUESTS),
        ),
    ),
    (
        "Gateway",
        (
            ("Models", "models", "bot", roles.VIEW_COSTS),
            ("Keys", "keys", "key-round", roles.MANAGE_KEYS),
            ("Limits", "limits", "credit-card", roles.VIEW_COSTS),
            ("Guardrails", "guardrails", "shield-check", roles.VIEW_REQUESTS),
            ("Provider keys", "provider_keys", "lock", roles.MANAGE_PROVIDER_KEYS),
            ("Contract prices", "contract_prices", "receipt-text", roles.VIEW_COSTS),
        ),
    ),
    (
        "Organization",
        (
            ("Members", "members", "users", roles.VIEW_COSTS),
            ("Integrations", "integrations", "link", roles.MANAGE_INTEGRATIONS),
            ("Settings", "settings", "settings", roles.MANAGE_ORGANIZATION),
        ),
    ),
)
# Public pages: one address for every organization.
_WITHOUT_SLUG = frozenset({"models"})
# A page below another one keeps that one marked in the sidebar.
_PARENTS = {
    "experiment": "experiments",
    "contract_price_add": "contract_prices",
    "guardrails_save": "guardrails",
    "model": "models",
    "quality_change": "quality",
    "request_detail": "requests",
    "webhooks": "integrations",
    # These answer with the page itself: they show a new key or what was wrong.
    "collector_add": "integrations",
    "collector_change": "integrations",
    "key_create": "keys",
    "key_guardrails": "keys",
    "limit": "limits",
    "limit_create": "limits",
    "key_rotate": "keys",
    "member_change_role": "members",
    "member_invite": "members",
    "member_remove": "members",
    "organization_leave": "members",
    "provider_key_change": "provider_keys",
    "provider_key_create": "provider_keys",
    "provider_key_replace": "provider_keys",
    "provider_key_switch": "provider_keys",
    "organization_rename": "settings",
    "organization_time_zone": "settings",
    "webhook_add": "integrations",
    "webhook_change": "integrations",
    "webhook_rotate": "integrations",
    "workspace_content": "settings",
    "workspace_create": "settings",
    "workspace_rename": "settings",
}


@dataclass(frozen=True, slots=True)
class Link:
    title: str
    url: str
    icon: str = ""
    is_current: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    items: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class OrganizationLink:
    name: str
    url: str
    is_demo: bool
    is_current: bool


@dataclass(frozen=True, slots=True)
class Sidebar:
    organization: Organization | None
    sections: tuple[Section, ...]
    organizations: tuple[OrganizationLink, ...]
    account_links: tuple[Link, ...]
    new_organization_url: str


@register.simple_tag(takes_context=True)
def sidebar(context: template.Context) -> Sidebar:
    """Return what the sidebar shows for this request."""
    request: HttpRequest | None = context.get("request")
    organization: Organization | None = context.get("organization") or None
    if request is None or not getattr(request, "user", None) or not request.user.is_authenticated:
        return Sidebar(None, (), (), (), "")
    return Sidebar(
        organization=organization,
        sections=_sections(request, organization) if organization else (),
        organizations=_organizations(request.user, organization),
        account_links=_account_links(),
        new_organization_url=_url("organization_new") or "",
    )


@register.filter
def initials(name: str) -> str:
    """Return one or two letters for an avatar: `Acme Robotics` is AR, `alice@acme.example` is A."""
    words = name.split("@")[0].replace("-", " ").replace(".", " ").split()
    return "".join(word[0] for word in words[:2]).upper() or "?"


def _sections(request: HttpRequest, organization: Organization) -> tuple[Section, ...]:
    match = request.resolver_match
    current = (match.url_name if match else None) or ""
    current = _PARENTS.get(current, current)
    membership = getattr(request, "membership", None)
    sections = []
    for title, pages in _PAGES:
        links = tuple(
            Link(page, url, icon, name == current)
            for page, name, icon, permission in pages
            if (membership is None or roles.grants(membership.role, permission))
            and (url := _url(name, *(() if name in _WITHOUT_SLUG else (organization.slug,))))
        )
        if links:
            sections.append(Section(title, links))
    return tuple(sections)


def _organizations(user: Any, current: Organization | None) -> tuple[OrganizationLink, ...]:
    current_id = current.pk if current else None
    memberships = user.memberships.select_related("organization").order_by("organization__name", "organization_id")
    return tuple(
        OrganizationLink(
            name=membership.organization.name,
            url=_url("overview", membership.organization.slug) or "/",
            is_demo=membership.organization.is_demo,
            is_current=membership.organization_id == current_id,
        )
        for membership in memberships
    )


def _account_links() -> tuple[Link, ...]:
    pages = (("Security", "mfa_index", "shield-check"), ("E-mail addresses", "account_email", "mail"))
    return tuple(Link(title, url, icon) for title, name, icon in pages if (url := _url(name)))


def _url(name: str, *args: str) -> str | None:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return None
