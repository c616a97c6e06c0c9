from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import ApiKey, AuditEvent, User
from gateway import guardrail_policies, snapshot
from gateway.guardrail_policies import Content
from gateway.guardrails import DETECTORS
from tests.factories.accounts import Cast, make_api_key

Login = Callable[[User], Client]


@pytest.fixture
def urls(cast: Cast) -> dict[str, str]:
    workspace = cast.acme.workspaces.get()
    return {
        "page": reverse("guardrails", args=[cast.acme.slug]),
        "save": reverse("guardrails_save", args=[cast.acme.slug, workspace.pk]),
        "prefix": workspace.pk,
    }


def data(urls: dict[str, str], **changes: Any) -> dict[str, Any]:
    values = {"redacted": ["email"], "blocked": ["card"], "allowed_models": "openai/*\n", "allowed_providers": ""}
    return {f"{urls['prefix']}-{name}": value for name, value in (values | changes).items()}


def test_a_developer_sets_guardrails_and_gateways_get_them(cast: Cast, urls: dict[str, str], login: Login) -> None:
    make_api_key(cast.acme)
    answer = login(cast.bob).post(urls["save"], data(urls), follow=True)
    assert answer.redirect_chain == [(urls["page"], 302)]
    workspace = cast.acme.workspaces.get()
    assert guardrail_policies.current(workspace=workspace) == Content(("email",), ("card",), ("openai/*",), ())
    event = AuditEvent.objects.get(action="guardrails.change")
    assert event.before["redacted"] == list(DETECTORS)
    assert event.after["blocked"] == ["card"]
    ((_, key),) = snapshot.read(ApiKey.objects.all())
    assert key.guardrails.blocked == {"card"}
    assert key.guardrails.allow_list == (("openai/*",), ())


def test_a_workspace_that_set_nothing_redacts_all_that_it_stores(cast: Cast) -> None:
    make_api_key(cast.acme)
    ((_, key),) = snapshot.read(ApiKey.objects.all())
    assert key.guardrails.redacted == set(DETECTORS)
    assert not key.guardrails.blocked


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("redacted", ["faces"], "Select a valid choice"),
        ("allowed_models", "gpt 5", "is no name"),
        ("allowed_providers", "\n".join(f"p{n}" for n in range(51)), "At most 50"),
    ],
)
def test_bad_input_is_refused_at_its_field(
    cast: Cast, urls: dict[str, str], login: Login, field: str, value: Any, says: str
) -> None:
    answer = login(cast.bob).post(urls["save"], data(urls, **{field: value}))
    assert answer.status_code == 400
    assert says in answer.content.decode()
    assert guardrail_policies.current(workspace=cast.acme.workspaces.get()) == Content()


def test_a_viewer_reads_and_may_not_change(cast: Cast, urls: dict[str, str], login: Login) -> None:
    client = login(cast.victor)
    page = client.get(urls["page"])
    assert page.status_code == 200
    assert "e-mail address" in page.content.decode()
    assert "<form" not in page.content.decode().partition("<main")[2]
    assert client.post(urls["save"], data(urls)).status_code == 403


def test_strangers_get_404_and_the_anonymous_sign_in(
    cast: Cast, urls: dict[str, str], login: Login, client: Client
) -> None:
    assert login(cast.charlie).get(urls["page"]).status_code == 404
    assert login(cast.charlie).post(urls["save"], data(urls)).status_code == 404
    assert client.get(urls["page"]).status_code == 302


def test_only_its_own_methods(cast: Cast, urls: dict[str, str], login: Login) -> None:
    client = login(cast.bob)
    assert client.post(urls["page"]).status_code == 405
    assert client.get(urls["save"]).status_code == 405
