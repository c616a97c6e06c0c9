"""What `auto` means in a workspace: read it, replace it by a new version, roll back to an old one.

Every version stays; a replacement writes the route changes that charts mark and the quality job compares, in the same
transaction. How a call is decided stands in `routing`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import transaction

from accounts import audit
from accounts.models import User, Workspace
from analytics.models import RouteChange
from gateway.catalog.models import CHAT, Catalog
from gateway.models import RoutingPolicy

CHEAPEST = "the cheapest capable model"
MAX_TASK_TYPE = 40
MAX_OVERRIDES = 50
MAX_MODEL_NAME = 120


@dataclass(frozen=True, slots=True)
class Content:
    """What a version says. An empty default model means the cheapest capable one."""

    default_model: str = ""
    by_task: Mapping[str, str] = field(default_factory=dict)
    baseline_model: str = ""

    def model_for(self, task_type: str) -> str:
        return self.by_task.get(task_type) or self.default_model


class InvalidPolicy(Exception):
    """A name in the policy means nothing. `problems` maps the input's field to what to write instead."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = dict(problems)


def current(*, workspace: Workspace) -> RoutingPolicy | None:
    """Return the version in force, None where there never was one."""
    return RoutingPolicy.objects.filter(workspace=workspace).order_by("-number").first()


def content_of(policy: RoutingPolicy | None) -> Content:
    """Return what a version says; without one, `auto` means the cheapest capable model."""
    if policy is None:
        return Content()
    return Content(policy.default_model, dict(policy.by_task), policy.baseline_model)


def checked(content: Content, *, catalog: Catalog) -> Content:
    """Return the content with every model under its canonical name.

    Raises:
        InvalidPolicy: a model is not in the catalog or is itself automatic, or a task type is unusable; all problems
            at once, under the fields `default_model`, `baseline_model` and `by_task`.
    """
    problems: dict[str, str] = {}
    default = _canonical("default_model", content.default_model, catalog, problems)
    baseline = _canonical("baseline_model", content.baseline_model, catalog, problems)
    by_task: dict[str, str] = {}
    for task_type, name in content.by_task.items():
        if not task_type.strip() or len(task_type.strip()) > MAX_TASK_TYPE or not task_type.isprintable():
            problems["by_task"] = f"A task type is a short name of at most {MAX_TASK_TYPE} characters, such as “code”."
        elif not name:
            problems["by_task"] = f"Name a model for “{task_type.strip()}”, or leave the task type out."
        else:
            by_task[task_type.strip()] = _canonical("by_task", name, catalog, problems)
    if len(by_task) > MAX_OVERRIDES:
        problems["by_task"] = f"A policy names at most {MAX_OVERRIDES} task types."
    if problems:
        raise InvalidPolicy(problems)
    return Content(default, by_task, baseline)


def checked_model(name: str, *, catalog: Catalog) -> str:
    """Return one model's canonical name.

    Raises:
        InvalidPolicy: it is empty, automatic or not in the catalog.
    """
    if not name.strip():
        raise InvalidPolicy({"model": "Name a model."})
    problems: dict[str, str] = {}
    found = _canonical("model", name, catalog, problems)
    if problems:
        raise InvalidPolicy(problems)
    return found


def are_one_model(first: str, second: str, *, catalog: Catalog) -> bool:
    """Return whether two known names lead to the same model: calls try the first endpoint of each."""
    return catalog.resolve(first).models[0].id == catalog.resolve(second).models[0].id


def replace(
    *,
    workspace: Workspace,
    content: Content,
    catalog: Catalog,
    changed_by: User | None,
    actor: audit.Actor,
    now: dt.datetime,
) -> RoutingPolicy | None:
    """Put a new version in force and record where traffic moves, one route change for each task type that moved.

    Content equal to the version in force makes no version; that version (or None) is returned.

    Raises:
        InvalidPolicy: see `checked`.
    """
    wanted = checked(content, catalog=catalog)
    with transaction.atomic():
        # The workspace's row is the lock: two editors must not count to the same number.
        Workspace.objects.select_for_update().get(pk=workspace.pk)
        previous = current(workspace=workspace)
        before = content_of(previous)
        if wanted == before:
            return previous
        policy = RoutingPolicy.objects.create(
            organization_id=workspace.organization_id,
            workspace=workspace,
            number=previous.number + 1 if previous else 1,
            default_model=wanted.default_model,
            by_task=dict(wanted.by_task),
            baseline_model=wanted.baseline_model,
            created_by=changed_by,
        )
        RouteChange.objects.bulk_create(_route_changes(before, wanted, previous, policy, changed_by, now))
        audit.record(
            organization_id=workspace.organization_id,
            actor=actor,
            action="routing_policy.replace",
            target=policy,
            now=now,
            before=_as_audited(before),
            after=_as_audited(wanted),
        )
    return policy


def roll_back(
    *,
    workspace: Workspace,
    number: int,
    catalog: Catalog,
    changed_by: User | None,
    actor: audit.Actor,
    now: dt.datetime,
) -> RoutingPolicy | None:
    """Put the content of version `number` in force again, as a new version.

    Raises:
        RoutingPolicy.DoesNotExist: the workspace has no such version.
        InvalidPolicy: that version names a model that the catalog does not have any more.
    """
    old = RoutingPolicy.objects.get(workspace=workspace, number=number)
    return replace(
        workspace=workspace,
        content=content_of(old),
        catalog=catalog,
        changed_by=changed_by,
        actor=actor,
        now=now,
    )


def _canonical(place: str, name: str, catalog: Catalog, problems: dict[str, str]) -> str:
    """Return the name as the policy keeps it: the model's id where one provider is meant, else the family's."""
    name = name.strip()
    if not name:
        return ""
    if len(name) > MAX_MODEL_NAME:
        problems[place] = f"A model's name has at most {MAX_MODEL_NAME} characters."
        return ""
    resolution = catalog.resolve(name)
    if resolution.is_auto:
        problems[place] = f"“{name}” is automatic itself: name a model."
    elif not resolution.models:
        nearest = f" Did you mean {', '.join(resolution.nearest)}?" if resolution.nearest else ""
        problems[place] = f"There is no model “{name[:80]}”.{nearest}"
    elif resolution.models[0].kind != CHAT:
        problems[place] = f"“{name[:80]}” is an embedding model: name one that answers chats."
    elif len(resolution.models) == 1 and catalog.resolve(resolution.models[0].id) == resolution:
        return resolution.models[0].id
    return name


def _route_changes(
    before: Content,
    after: Content,
    previous: RoutingPolicy | None,
    policy: RoutingPolicy,
    changed_by: User | None,
    now: dt.datetime,
) -> list[RouteChange]:
    """Return a change for every task type with a model of its own that moved, and one for all the others."""
    named = sorted({*before.by_task, *after.by_task})
    moved = [task_type for task_type in named if before.model_for(task_type) != after.model_for(task_type)]
    everywhere = [""] if before.default_model != after.default_model else []
    return [
        RouteChange(
            organization_id=policy.organization_id,
            workspace_id=policy.workspace_id,
            kind=RouteChange.Kind.POLICY,
            task_type=task_type,
            before={
                "model": before.model_for(task_type),
                "policy_version": previous.pk if previous else "",
            },
            after={
                "model": after.model_for(task_type),
                "policy_version": policy.pk,
                # What the change of the default does not touch: task types that have a model of their own.
                **({} if task_type else {"except": named}),
            },
            summary=_summary(task_type, before.model_for(task_type), after.model_for(task_type)),
            changed_by=changed_by,
            happened_at=now,
        )
        for task_type in [*everywhere, *moved]
    ]


def _summary(task_type: str, before: str, after: str) -> str:
    return f"{task_type or 'Default'}: {before or CHEAPEST} → {after or CHEAPEST}"[:300]


def _as_audited(content: Content) -> dict[str, object]:
    return {
        "default_model": content.default_model,
        "by_task": dict(content.by_task),
        "baseline_model": content.baseline_model,
    }
