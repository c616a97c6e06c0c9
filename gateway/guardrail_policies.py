"""What a workspace lets pass to providers and what it keeps: read it, change it. What is found, and how, is
`gateway.guardrails`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from django.db import transaction

from accounts import audit
from accounts.models import User, Workspace
from gateway.context import GuardrailSnapshot
from gateway.guardrails import DETECTORS
from gateway.models import GuardrailPolicy

MAX_PATTERNS = 50
_PATTERN = re.compile(r"[a-z0-9*][a-z0-9*._:/@~-]{0,119}")


@dataclass(frozen=True, slots=True)
class Content:
    """What a workspace's guardrails say. A workspace that never set them redacts everything from what it stores."""

    redacted: tuple[str, ...] = tuple(DETECTORS)
    blocked: tuple[str, ...] = ()
    allowed_models: tuple[str, ...] = ()
    allowed_providers: tuple[str, ...] = ()


class InvalidGuardrails(Exception):
    """A category or a pattern means nothing. `problems` maps the input's field to what to write instead."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = problems


def current(*, workspace: Workspace) -> Content:
    """Return what is in force."""
    row = GuardrailPolicy.objects.filter(workspace=workspace).first()
    return Content() if row is None else _content(row)


def replace(
    *, workspace: Workspace, content: Content, changed_by: User | None, actor: audit.Actor, now: dt.datetime
) -> Content:
    """Put other guardrails in force; gateways follow within two seconds.

    Raises:
        InvalidGuardrails: a name is no category, or a pattern is unusable; all problems at once.
    """
    wanted = _checked(content)
    before = current(workspace=workspace)
    if wanted == before:
        return wanted
    with transaction.atomic():
        row, _ = GuardrailPolicy.objects.update_or_create(
            workspace=workspace,
            defaults={name: list(value) for name, value in asdict(wanted).items()} | {"changed_by": changed_by},
        )
        workspace.save(update_fields=["changed_at"])  # which is what gateways look at
        audit.record(
            organization_id=workspace.organization_id,
            actor=actor,
            action="guardrails.change",
            target=row,
            now=now,
            before=asdict(before),
            after=asdict(wanted),
        )
    return wanted


def snapshots(workspace_ids: Collection[str]) -> dict[str, GuardrailSnapshot]:
    """Return the guardrails of workspaces as the data plane holds them."""
    found = {row.workspace_id: _content(row) for row in GuardrailPolicy.objects.filter(workspace_id__in=workspace_ids)}
    return {workspace_id: _snapshot(found.get(workspace_id, Content())) for workspace_id in workspace_ids}


def _snapshot(content: Content) -> GuardrailSnapshot:
    return GuardrailSnapshot(
        redacted=frozenset(content.redacted),
        blocked=frozenset(content.blocked),
        allow_list=(content.allowed_models, content.allowed_providers),
    )


def _content(row: GuardrailPolicy) -> Content:
    return Content(tuple(row.redacted), tuple(row.blocked), tuple(row.allowed_models), tuple(row.allowed_providers))


def _checked(content: Content) -> Content:
    problems: dict[str, str] = {}
    for field in ("redacted", "blocked"):
        if set(getattr(content, field)) - set(DETECTORS):
            problems[field] = f"The categories are {', '.join(DETECTORS)}."
    models = _patterns("allowed_models", content.allowed_models, problems)
    providers = _patterns("allowed_providers", content.allowed_providers, problems)
    if problems:
        raise InvalidGuardrails(problems)
    return Content(
        tuple(name for name in DETECTORS if name in content.redacted),
        tuple(name for name in DETECTORS if name in content.blocked),
        models,
        providers,
    )


def _patterns(field: str, given: Sequence[str], problems: dict[str, str]) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(name.strip().lower() for name in given if name.strip()))
    if len(wanted) > MAX_PATTERNS:
        problems[field] = f"At most {MAX_PATTERNS} lines."
    for name in wanted:
        if not _PATTERN.fullmatch(name):
            problems[field] = f"“{name[:40]}” is no name: letters, digits, “/”, “-”, “.”, “:”, and “*” for anything."
    return wanted
