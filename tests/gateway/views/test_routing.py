from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts import audit
from accounts.models import User
from analytics import experiments
from analytics.models import Experiment, RouteChange
from gateway.models import RoutingPolicy
from tests.factories.accounts import Cast

Login = Callable[[User], Client]
GPT, HAIKU = "openai/gpt-5.4", "anthropic/claude-haiku-4-5"


@pytest.fixture
def urls(cast: Cast) -> dict[str, str]:
    workspace = cast.acme.workspaces.get()
    return {
        "page": reverse("routing", args=[cast.acme.slug]),
        "save": reverse("routing_save", args=[cast.acme.slug, workspace.pk]),
        "restore": reverse("routing_roll_back", args=[cast.acme.slug, workspace.pk, 1]),
        "new": reverse("experiment_new", args=[cast.acme.slug]),
    }


def policy_data(**changes: str) -> dict[str, str]:
    return {
        "default_model": GPT,
        "baseline_model": "",
        "task-0": "code",
        "model-0": HAIKU,
        "task-1": "",
        "model-1": "",
    } | changes


def experiment_data(cast: Cast, **changes: Any) -> dict[str, Any]:
    values = {
        "name": "Haiku for replies",
        "question": "Does it answer as well?",
        "workspace": cast.acme.workspaces.get().pk,
        "control_model": "openai:gpt-5.4",
        "treatment_model": HAIKU,
        "treatment_percent": 30,
        "task_type": "chat",
        "unit": "session",
        "primary_metric": "success",
    }
    return values | changes


def test_a_developer_puts_a_policy_in_force_and_sees_it(cast: Cast, urls: dict[str, str], login: Login):
    client = login(cast.bob)
    answer = client.post(urls["save"], policy_data(), follow=True)
    assert answer.redirect_chain == [(urls["page"], 302)]
    policy = RoutingPolicy.objects.get()
    assert (policy.default_model, policy.by_task, policy.created_by) == (GPT, {"code": HAIKU}, cast.bob)
    assert RouteChange.objects.count() == 2
    page = answer.content.decode()
    assert "in force within two seconds" in page
    assert f'value="{HAIKU}"' in page


def test_saving_what_is_in_force_says_so(cast: Cast, urls: dict[str, str], login: Login):
    client = login(cast.bob)
    client.post(urls["save"], policy_data())
    assert "Nothing changed" in client.post(urls["save"], policy_data(), follow=True).content.decode()
    assert RoutingPolicy.objects.count() == 1


def test_restoring_a_version_makes_a_new_one(cast: Cast, urls: dict[str, str], login: Login):
    client = login(cast.alice)
    client.post(urls["save"], policy_data())
    client.post(urls["save"], policy_data(default_model=HAIKU))
    client.post(urls["restore"])
    assert list(RoutingPolicy.objects.values_list("number", "default_model")) == [(3, GPT), (2, HAIKU), (1, GPT)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"default_model": "gpt-99"}, "There is no model “gpt-99”"),
        ({"baseline_model": "auto"}, "is automatic itself"),
        ({"model-0": ""}, "Name a model for “code”"),
        ({"task-0": "", "model-0": HAIKU}, "A task type is a short name"),
        ({"task-1": "code", "model-1": GPT}, "stands in two rows"),
        ({"default_model": "x" * 121}, "at most 120 characters"),
    ],
)
def test_a_policy_that_means_nothing_is_refused_with_what_was_typed(
    cast: Cast, urls: dict[str, str], login: Login, data: dict[str, str], words: str
):
    answer = login(cast.bob).post(urls["save"], policy_data(**data))
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert not RoutingPolicy.objects.exists()


def test_a_viewer_reads_the_policy_without_forms(cast: Cast, urls: dict[str, str], login: Login):
    login(cast.bob).post(urls["save"], policy_data())
    page = login(cast.victor).get(urls["page"]).content.decode()
    assert HAIKU in page
    assert urls["save"] not in page
    assert urls["restore"] not in page


def test_a_developer_makes_a_draft(cast: Cast, urls: dict[str, str], login: Login):
    client = login(cast.bob)
    assert client.get(urls["new"]).status_code == 200
    answer = client.post(urls["new"], experiment_data(cast))
    draft = Experiment.objects.get()
    assert answer.headers["Location"] == reverse("experiment", args=[cast.acme.slug, draft.pk])
    assert (draft.control_model, draft.treatment_model, draft.treatment_share) == (GPT, HAIKU, 0.3)
    assert (draft.state, draft.created_by) == (Experiment.State.DRAFT, cast.bob)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"control_model": "gpt-99"}, "There is no model"),
        ({"treatment_model": "auto"}, "is automatic itself"),
        ({"treatment_model": "openai/gpt-5.4"}, "two different models"),
        ({"control_model": "gpt-5.4", "treatment_model": "openai/gpt-5.4"}, "two different models"),
        ({"treatment_percent": 0}, "greater than or equal to 1"),
        ({"treatment_percent": "half"}, "Enter a whole number"),
        ({"unit": "month"}, "Select a valid choice"),
        ({"primary_metric": "tone"}, "Select a valid choice"),
        ({"name": " "}, "This field is required"),
    ],
)
def test_a_draft_that_makes_no_experiment_is_refused(
    cast: Cast, urls: dict[str, str], login: Login, changes: dict[str, Any], words: str
):
    answer = login(cast.bob).post(urls["new"], experiment_data(cast, **changes))
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert not Experiment.objects.exists()


def test_a_draft_cannot_be_put_into_a_foreign_workspace(cast: Cast, urls: dict[str, str], login: Login):
    foreign = cast.other.workspaces.get().pk
    assert login(cast.bob).post(urls["new"], experiment_data(cast, workspace=foreign)).status_code == 400
    assert not Experiment.objects.exists()


def test_a_running_experiment_shows_where_it_decides(cast: Cast, urls: dict[str, str], login: Login):
    client = login(cast.bob)
    client.post(urls["new"], experiment_data(cast))
    draft = Experiment.objects.get()
    assert draft.created_at is not None
    experiments.start(experiment=draft, actor=audit.SYSTEM, now=draft.created_at)
    assert "Haiku for replies" in client.get(urls["page"]).content.decode()


def test_strangers_visitors_and_wrong_roles_stay_out(cast: Cast, urls: dict[str, str], login: Login):
    for name, url in urls.items():
        method = "get" if name in {"page", "new"} else "post"
        assert getattr(Client(), method)(url).status_code == 302, name
        assert getattr(login(cast.charlie), method)(url).status_code == 404, name
        assert getattr(login(cast.finn), method)(url).status_code == 403, name
        if name != "page":
            assert getattr(login(cast.victor), method)(url).status_code == 403, name


def test_another_organizations_workspace_is_not_found(cast: Cast, login: Login):
    foreign = cast.other.workspaces.get().pk
    client = login(cast.bob)
    assert client.post(reverse("routing_save", args=[cast.acme.slug, foreign]), policy_data()).status_code == 404
    assert client.post(reverse("routing_roll_back", args=[cast.acme.slug, foreign, 1])).status_code == 404
    assert not RoutingPolicy.objects.exists()


def test_a_version_that_never_was_is_not_found(cast: Cast, urls: dict[str, str], login: Login):
    assert login(cast.bob).post(urls["restore"]).status_code == 404


def test_wrong_methods_are_refused(cast: Cast, urls: dict[str, str], login: Login):
    client = login(cast.bob)
    assert client.post(urls["page"]).status_code == 405
    assert client.get(urls["save"]).status_code == 405
    assert client.get(urls["restore"]).status_code == 405
    assert client.put(urls["new"]).status_code == 405
