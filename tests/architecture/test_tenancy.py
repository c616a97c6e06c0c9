"""No page of one organization answers to a member of another: every URL pattern is tried.

A new pattern with a parameter fails `test_every_route_is_in_the_table` until it stands in `EXAMPLES`
(pages of an organization) or `OPEN` (doors for which the parameter itself is the right to enter).
"""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from accounts import audit, invitations, webhooks
from accounts.models import Organization, ProviderCredential, WebhookDelivery, WebhookEndpoint
from analytics.models import Collector, Experiment, RouteChange
from gateway.models import ContractPrice, Limit, RoutingPolicy
from tests.architecture import leaky_urls, tenancy
from tests.architecture.tenancy import Example
from tests.factories import request_logs
from tests.factories.accounts import (
    make_api_key,
    make_membership,
    make_organization,
    make_provider_credential,
    make_user,
)


def _api_key(organization: Organization) -> str:
    return make_api_key(organization).api_key.pk


def _provider_credential(organization: Organization) -> str:
    credential = make_provider_credential(organization)
    # Without its secret a test of the connection asks nobody.
    ProviderCredential.objects.filter(pk=credential.pk).update(envelope=b"")
    return credential.pk


def _membership(organization: Organization) -> int:
    return make_membership(organization).pk


def _invitation(organization: Organization) -> str:
    new = invitations.invite(
        organization=organization,
        email="dora@example.com",
        role="viewer",
        by=None,
        actor=audit.SYSTEM,
        now=timezone.now(),
    )
    return new.invitation.pk


def _workspace(organization: Organization) -> str:
    return organization.workspaces.get().pk


def _policy_number(organization: Organization) -> int:
    workspace = organization.workspaces.get()
    return RoutingPolicy.objects.create(
        organization=organization, workspace=workspace, number=1, default_model="openai/gpt-5.4"
    ).number


def _limit(organization: Organization) -> str:
    return Limit.objects.create(organization=organization, name="All", scope="organization", kind="budget", amount=1).pk


def _experiment(organization: Organization) -> str:
    return Experiment.objects.create(
        organization=organization,
        workspace=organization.workspaces.get(),
        name="Cheaper summaries",
        control_model="openai/gpt-5.4",
        treatment_model="openai/gpt-5.4-mini",
    ).pk


def _contract_price(organization: Organization) -> str:
    return ContractPrice.objects.create(
        organization=organization, pattern="openai/*", discount_basis_points=100, valid_from=timezone.now()
    ).pk


def _route_change(organization: Organization) -> str:
    return RouteChange.objects.create(
        organization=organization,
        workspace=organization.workspaces.get(),
        kind=RouteChange.Kind.POLICY,
        summary="Summaries go to another model.",
        happened_at=timezone.now(),
    ).pk


def _collector(organization: Organization) -> str:
    return Collector.objects.create(organization=organization, endpoint="https://127.0.0.1").pk


def _webhook(organization: Organization) -> str:
    return WebhookEndpoint.objects.create(
        organization=organization, url="https://example.com/hook", secret_envelope=b"not to be opened"
    ).pk


def _webhook_delivery(organization: Organization) -> str:
    endpoint = WebhookEndpoint.objects.get(pk=_webhook(organization))
    webhooks.attempt(endpoint=endpoint, now=timezone.now())
    return WebhookDelivery.objects.get(endpoint=endpoint).pk


def _logged_request(organization: Organization) -> str:
    record = request_logs.make_request_log(
        organization_id=organization.pk, workspace_id=organization.workspaces.get().pk, started_at=timezone.now()
    )
    request_logs.load([record])
    return record.request_id


EXAMPLES: dict[str, Example] = {
    "collector_add": Example(),
    "collector_change": Example({"collector_id": _collector}),
    "collector_pause": Example({"collector_id": _collector}),
    "collector_remove": Example({"collector_id": _collector}),
    "collector_test": Example({"collector_id": _collector}),
    "contract_price_add": Example(),
    "contract_price_end": Example({"price_id": _contract_price}),
    "contract_prices": Example(),
    "contract_prices_csv": Example(),
    "costs": Example(),
    "costs_csv": Example(),
    "experiment": Example({"experiment_id": _experiment}),
    "experiment_csv": Example({"experiment_id": _experiment}),
    "experiment_new": Example(),
    "experiment_start": Example({"experiment_id": _experiment}),
    "experiment_stop": Example({"experiment_id": _experiment}),
    "experiments": Example(),
    "integrations": Example(),
    "guardrails": Example(),
    "guardrails_save": Example({"workspace_id": _workspace}),
    "invitation_withdraw": Example({"invitation_id": _invitation}),
    "key_create": Example(),
    "key_guardrails": Example({"key_id": _api_key}),
    "key_revoke": Example({"key_id": _api_key}),
    "key_rotate": Example({"key_id": _api_key}),
    "keys": Example(),
    "limit": Example({"limit_id": _limit}),
    "limit_create": Example(),
    "limit_remove": Example({"limit_id": _limit}),
    "limits": Example(),
    "member_change_role": Example({"membership_id": _membership}),
    "member_invite": Example(),
    "member_remove": Example({"membership_id": _membership}),
    "members": Example(),
    "onboarding": Example(),
    "onboarding_status": Example(),
    "organization_home": Example(),
    "organization_leave": Example(),
    "organization_remove": Example(),
    "organization_rename": Example(),
    "organization_time_zone": Example(),
    "overview": Example(),
    "provider_key_change": Example({"credential_id": _provider_credential}),
    "provider_key_create": Example(),
    "provider_key_delete": Example({"credential_id": _provider_credential}),
    "provider_key_replace": Example({"credential_id": _provider_credential}),
    "provider_key_switch": Example({"credential_id": _provider_credential}),
    "provider_key_test": Example({"credential_id": _provider_credential}),
    "provider_health": Example(),
    "provider_health_csv": Example(),
    "provider_keys": Example(),
    "quality": Example(),
    "quality_change": Example({"change_id": _route_change}),
    "quality_change_csv": Example({"change_id": _route_change}),
    "request_detail": Example({"request_id": _logged_request}, needs_log_store=True),
    "requests": Example(),
    "requests_csv": Example(),
    "routing": Example(),
    "routing_roll_back": Example({"workspace_id": _workspace, "number": _policy_number}),
    "routing_save": Example({"workspace_id": _workspace}),
    "settings": Example(),
    "webhook_add": Example(),
    "webhook_change": Example({"endpoint_id": _webhook}),
    "webhook_pause": Example({"endpoint_id": _webhook}),
    "webhook_remove": Example({"endpoint_id": _webhook}),
    "webhook_resend": Example({"delivery_id": _webhook_delivery}),
    "webhook_rotate": Example({"endpoint_id": _webhook}),
    "webhook_test": Example({"endpoint_id": _webhook}),
    "webhooks": Example(),
    "workspace_content": Example({"workspace_id": _workspace}),
    "workspace_create": Example(),
    "workspace_rename": Example({"workspace_id": _workspace}),
}
OPEN = {
    "account_confirm_email": "allauth: the key from a mail",
    "account_reset_password_from_key": "allauth: the key from a mail",
    "invitation": "the token from a mail",
    "model": "public: a model of the catalog",
    "sign_in_link": "the token that the operator was given",
}

ROUTES = {route.name: route for route in tenancy.routes(get_resolver().url_patterns)}
_NAMES = [
    pytest.param(name, marks=[pytest.mark.clickhouse] if example.needs_log_store else [])
    for name, example in sorted(EXAMPLES.items())
]
_NAMES_WITH_OBJECTS = [case for case in _NAMES if EXAMPLES[str(case.values[0])].objects]


@pytest.fixture(autouse=True)
def _store(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("clickhouse") is not None:
        request.getfixturevalue("log_store")


def test_every_route_is_in_the_table() -> None:
    missing = sorted(set(ROUTES) - set(EXAMPLES) - set(OPEN))
    assert not missing, f"Add to EXAMPLES in {__name__}, with a function for each object: {missing}"


def test_the_table_names_no_route_that_is_gone() -> None:
    assert sorted((set(EXAMPLES) | set(OPEN)) - set(ROUTES)) == []


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_has_all_parameters_and_the_view_its_guard(name: str) -> None:
    route = ROUTES[name]
    assert route.path.startswith("o/<slug:slug>/")
    assert route.parameters == set(EXAMPLES[name].objects) | {"slug"}
    assert route.is_guarded, f"{name} does not wear organization_view"


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.django_db
def test_a_foreign_tenant_finds_nothing(name: str) -> None:
    acme, charlie = make_organization("Acme"), make_user()
    make_organization("Other", owner=charlie)
    parameters = tenancy.kwargs(ROUTES[name], EXAMPLES[name], slug=acme.slug, owner=acme)
    assert tenancy.leaks(_signed_in(charlie), ROUTES[name], parameters) == []


@pytest.mark.parametrize("name", _NAMES_WITH_OBJECTS)
@pytest.mark.django_db
def test_a_foreign_object_is_not_found_under_ones_own_slug(name: str) -> None:
    acme, charlie = make_organization("Acme"), make_user()
    other = make_organization("Other", owner=charlie)
    parameters = tenancy.kwargs(ROUTES[name], EXAMPLES[name], slug=other.slug, owner=acme)
    assert tenancy.leaks(_signed_in(charlie), ROUTES[name], parameters) == []


@pytest.mark.parametrize("name", _NAMES_WITH_OBJECTS)
@pytest.mark.django_db
def test_ones_own_object_is_found(name: str) -> None:
    """Proves the example: a made-up id would be 404 for everybody."""
    alice = make_user()
    acme = make_organization("Acme", owner=alice)
    parameters = tenancy.kwargs(ROUTES[name], EXAMPLES[name], slug=acme.slug, owner=acme)
    assert tenancy.leaks(_signed_in(alice), ROUTES[name], parameters) != []


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.django_db
def test_an_anonymous_visitor_is_sent_to_sign_in(name: str) -> None:
    acme = make_organization("Acme")
    parameters = tenancy.kwargs(ROUTES[name], EXAMPLES[name], slug=acme.slug, owner=acme)
    assert tenancy.strangers_doors(Client(), ROUTES[name], parameters) == []


@pytest.mark.django_db
@pytest.mark.urls("tests.architecture.leaky_urls")
def test_the_walk_finds_what_leaks() -> None:
    charlie, acme = make_user(), make_organization("Acme")
    other = make_organization("Other", owner=charlie)
    found = {route.name: route for route in tenancy.routes(leaky_urls.urlpatterns)}
    assert {name: route.is_guarded for name, route in found.items()} == {"unguarded": False, "unscoped": True}
    assert found["unscoped"].path == "o/<slug:slug>/unscoped/<str:key_id>/"
    assert tenancy.leaks(_signed_in(charlie), found["unguarded"], {"slug": acme.slug})
    foreign_key = {"slug": other.slug, "key_id": _api_key(acme)}
    assert tenancy.leaks(_signed_in(charlie), found["unscoped"], foreign_key)
    assert tenancy.leaks(_signed_in(charlie), found["unscoped"], foreign_key | {"slug": acme.slug}) == []


def _signed_in(user: object) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")  # type: ignore[arg-type]
    return client
