from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from accounts import audit
from accounts.models import AuditEvent, Workspace
from analytics.models import RouteChange
from gateway import policies
from gateway.catalog import loader
from gateway.catalog.models import Catalog
from gateway.models import RoutingPolicy
from gateway.policies import Content
from tests.factories import accounts

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
GPT, MINI, HAIKU = "openai/gpt-5.4", "openai/gpt-5.4-mini", "anthropic/claude-haiku-4-5"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return loader.load_catalog()


@pytest.fixture
def workspace(db: None) -> Workspace:
    return accounts.make_organization("Acme").workspaces.get()


@pytest.fixture
def replace(workspace: Workspace, catalog: Catalog) -> Any:
    def put(
        default_model: str = "", by_task: dict[str, str] | None = None, baseline_model: str = "", **fields: Any
    ) -> Any:
        content = Content(default_model, by_task or {}, baseline_model)
        values = {"workspace": workspace, "catalog": catalog, "changed_by": None, "actor": audit.SYSTEM, "now": NOW}
        return policies.replace(content=content, **(values | fields))

    return put


def moves() -> dict[str, tuple[str, str]]:
    return {change.task_type: (change.before["model"], change.after["model"]) for change in RouteChange.objects.all()}


def test_a_new_version_is_in_force_and_the_old_one_stays(workspace: Workspace, replace: Any):
    first, second = replace(GPT), replace(MINI)
    assert (first.number, second.number) == (1, 2)
    assert policies.current(workspace=workspace) == second
    assert policies.content_of(RoutingPolicy.objects.get(number=1)).default_model == GPT


def test_the_first_policy_moves_everything_away_from_the_cheapest(replace: Any):
    policy = replace(GPT, {"code": HAIKU})
    assert moves() == {"": ("", GPT), "code": ("", HAIKU)}
    change = RouteChange.objects.get(task_type="")
    assert change.summary == f"Default: the cheapest capable model → {GPT}"
    assert change.after == {"model": GPT, "policy_version": policy.pk, "except": ["code"]}
    assert (change.kind, change.happened_at) == (RouteChange.Kind.POLICY, NOW)


def test_only_the_task_types_whose_model_moved_get_a_route_change(replace: Any):
    replace(GPT, {"code": HAIKU, "chat": HAIKU})
    RouteChange.objects.all().delete()
    replace(GPT, {"code": MINI, "chat": HAIKU})
    assert moves() == {"code": (HAIKU, MINI)}


def test_an_override_that_goes_moves_its_task_type_to_the_default(replace: Any):
    replace(GPT, {"code": HAIKU})
    RouteChange.objects.all().delete()
    replace(GPT)
    assert moves() == {"code": (HAIKU, GPT)}


def test_a_new_default_does_not_touch_task_types_with_a_model_of_their_own(replace: Any):
    replace(GPT, {"code": HAIKU})
    RouteChange.objects.all().delete()
    replace(MINI, {"code": HAIKU})
    assert moves() == {"": (GPT, MINI)}
    assert RouteChange.objects.get().after["except"] == ["code"]


def test_an_override_equal_to_the_default_moves_nothing(replace: Any):
    replace(GPT)
    RouteChange.objects.all().delete()
    assert replace(GPT, {"code": GPT}).number == 2
    assert moves() == {}


def test_a_new_baseline_makes_a_version_but_moves_nothing(replace: Any):
    replace(GPT)
    RouteChange.objects.all().delete()
    assert replace(GPT, baseline_model=HAIKU).number == 2
    assert moves() == {}


def test_the_same_content_makes_no_version(replace: Any):
    first = replace(GPT, {"code": HAIKU})
    assert replace(GPT, {"code": HAIKU}) == first
    assert RoutingPolicy.objects.count() == 1


def test_a_name_of_one_model_is_kept_as_its_id_and_one_of_several_endpoints_as_it_is(replace: Any):
    assert replace("openai:gpt-5.4", {" code ": "anthropic:claude-haiku-4-5"}).default_model == GPT
    assert RoutingPolicy.objects.get().by_task == {"code": HAIKU}
    assert replace("gpt-5.4").default_model == "gpt-5.4"


def test_all_problems_are_told_at_once_and_nothing_is_written(replace: Any):
    with pytest.raises(policies.InvalidPolicy) as refusal:
        replace("gpt-5.5-turbo", {"": GPT}, "auto")
    assert refusal.value.problems.keys() == {"default_model", "by_task", "baseline_model"}
    assert "Did you mean" in refusal.value.problems["default_model"]
    assert not RoutingPolicy.objects.exists()
    assert not RouteChange.objects.exists()


@pytest.mark.parametrize(
    "by_task",
    [{"code": ""}, {"x" * 41: GPT}, {"a\x00b": GPT}, {"code": "x" * 5000}, {f"t{n}": GPT for n in range(51)}],
)
def test_unusable_overrides_are_refused(replace: Any, by_task: dict[str, str]):
    with pytest.raises(policies.InvalidPolicy) as refusal:
        replace(GPT, by_task)
    assert refusal.value.problems.keys() == {"by_task"}


def test_rolling_back_puts_the_old_content_in_force_as_a_new_version(
    workspace: Workspace, catalog: Catalog, replace: Any
):
    replace(GPT, {"code": HAIKU})
    replace(MINI)
    RouteChange.objects.all().delete()
    policy = policies.roll_back(
        workspace=workspace, number=1, catalog=catalog, changed_by=None, actor=audit.SYSTEM, now=NOW
    )
    assert policy is not None
    assert (policy.number, policy.default_model, policy.by_task) == (3, GPT, {"code": HAIKU})
    assert moves() == {"": (MINI, GPT), "code": (MINI, HAIKU)}


def test_only_versions_of_the_same_workspace_can_come_back(catalog: Catalog, workspace: Workspace, replace: Any):
    replace(GPT)
    other = accounts.make_organization("Other").workspaces.get()
    with pytest.raises(RoutingPolicy.DoesNotExist):
        policies.roll_back(workspace=other, number=1, catalog=catalog, changed_by=None, actor=audit.SYSTEM, now=NOW)


def test_the_audit_trail_tells_who_changed_what(workspace: Workspace, replace: Any):
    alice = accounts.make_user("alice@acme.example")
    replace(GPT, changed_by=alice, actor=audit.user(alice))
    event = AuditEvent.objects.get(action="routing_policy.replace")
    assert event.actor_label == "alice@acme.example"
    assert event.after["default_model"] == GPT
    assert RouteChange.objects.get().changed_by == alice
