"""What the demo organization decides while its agents call: policies, a route change that hurts, two experiments.

The decisions are made through the same functions as on the pages, dated back, in order; each gives the data plane's
view of the keys from that moment on.
"""

from __future__ import annotations

import bisect
import datetime as dt
from dataclasses import dataclass

from accounts import api_keys, audit, organizations
from accounts.models import ApiKey, Organization, User, Workspace
from analytics import experiments
from analytics.models import Experiment, RouteChange
from config.demo.plan import AGENTS
from gateway import policies, snapshot
from gateway.catalog.models import Catalog
from gateway.context import KeySnapshot
from gateway.models import RoutingPolicy

BASELINE = "openai/gpt-5.5"
_FIRST = policies.Content(
    default_model="openai/gpt-5.4-mini",
    by_task={
        "extraction": "openai/gpt-5.4",
        "classification": "mistralai/mistral-small-2603",
        "support_reply": "anthropic/claude-haiku-4-5",
        "summarization": "google/gemini-2.5-flash",
        "analysis": "anthropic/claude-sonnet-4-6",
        "code": "anthropic/claude-sonnet-4-6",
    },
    baseline_model=BASELINE,
)


@dataclass(frozen=True, slots=True)
class Chapter:
    """The keys as the data plane sees them from `since` (seconds since the epoch) on, by the agent that uses each."""

    since: float
    keys: dict[str, KeySnapshot]


@dataclass(frozen=True, slots=True)
class Story:
    """What was decided, and the chapters that follow from it, oldest first."""

    organization: Organization
    chapters: tuple[Chapter, ...]
    changes: tuple[RouteChange, ...]
    experiments: tuple[Experiment, ...]

    def key(self, agent: str, at: float) -> KeySnapshot:
        """Return the key of an agent as it was at a time."""
        place = bisect.bisect_right([chapter.since for chapter in self.chapters], at)
        return self.chapters[max(0, place - 1)].keys[agent]


def tell(*, name: str, owner: User, catalog: Catalog, start: dt.datetime, end: dt.datetime) -> Story:
    """Make the organization and everything that it decided between `start` and `end`."""
    teller = _Teller(name, owner, catalog, start, end)
    organization = teller.organization
    teller.replace_policy(start, _FIRST)
    summaries = teller.start_experiment(
        teller.at(0.10),
        name="Cheaper weekly briefs",
        question="Does the small model write briefs that readers like as much?",
        task_type="summarization",
        control="google/gemini-2.5-flash",
        treatment="openai/gpt-5.4-nano",
        metric="cost",
    )
    teller.replace_policy(teller.at(0.35), _moved(_FIRST, classification="google/gemini-2.5-flash-lite"))
    teller.stop_experiment(teller.at(0.50), summaries)
    # The change that hurts: invoices go to a model that breaks their schema more often.
    cheaper = _moved(_FIRST, classification="google/gemini-2.5-flash-lite", extraction="openai/gpt-5.4-nano")
    hurt_at = max(teller.at(0.55), end - dt.timedelta(days=3))
    teller.replace_policy(hurt_at, cheaper)
    replies = teller.start_experiment(
        max(teller.at(0.65), end - dt.timedelta(days=2, hours=12)),
        name="Replies by a larger model",
        question="Are support replies rated better when GPT-5.4 writes them?",
        task_type="support_reply",
        control="anthropic/claude-haiku-4-5",
        treatment="openai/gpt-5.4",
        metric="feedback",
    )
    changes = RouteChange.objects.filter(organization_id=organization.pk, happened_at__gt=start).order_by("happened_at")
    return Story(
        organization=organization,
        chapters=tuple(teller.chapters),
        changes=tuple(changes),
        experiments=tuple(Experiment.objects.filter(pk__in=[summaries.pk, replies.pk]).order_by("started_at")),
    )


class _Teller:
    """Carries the moment and the organization from one decision to the next."""

    def __init__(self, name: str, owner: User, catalog: Catalog, start: dt.datetime, end: dt.datetime) -> None:
        self._catalog = catalog
        self._owner = owner
        self._start, self._end = start, end
        self.organization = organizations.create(name=name, owner=owner, actor=audit.SYSTEM, now=start, is_demo=True)
        self._workspace = Workspace.objects.get(organization=self.organization)
        self._key_of: dict[str, str] = {}
        for agent in AGENTS:
            made = api_keys.create(
                workspace=self._workspace, name=agent.name, mode="live", created_by=owner, actor=audit.SYSTEM, now=start
            )
            self._key_of[made.api_key.pk] = agent.name
        self.chapters: list[Chapter] = []

    def at(self, share: float) -> dt.datetime:
        return self._start + (self._end - self._start) * share

    def replace_policy(self, now: dt.datetime, content: policies.Content) -> None:
        policy = policies.replace(
            workspace=self._workspace,
            content=content,
            catalog=self._catalog,
            changed_by=self._owner,
            actor=audit.SYSTEM,
            now=now,
        )
        if policy is not None:  # its own default is the moment of the insert
            RoutingPolicy.objects.filter(pk=policy.pk).update(created_at=now)
        self._turn(now)

    def start_experiment(
        self, now: dt.datetime, *, name: str, question: str, task_type: str, control: str, treatment: str, metric: str
    ) -> Experiment:
        draft = experiments.create(
            workspace=self._workspace,
            name=name,
            question=question,
            task_type=task_type,
            unit="session",
            control_model=control,
            treatment_model=treatment,
            treatment_share=0.5,
            primary_metric=metric,
            created_by=self._owner,
            actor=audit.SYSTEM,
            now=now,
        )
        running = experiments.start(experiment=draft, actor=audit.SYSTEM, now=now)
        self._turn(now)
        return running

    def stop_experiment(self, now: dt.datetime, experiment: Experiment) -> None:
        experiments.stop(experiment=experiment, stopped_by=self._owner, actor=audit.SYSTEM, now=now)
        self._turn(now)

    def _turn(self, now: dt.datetime) -> None:
        """Begin a chapter: what the data plane would read from the database now."""
        rows = ApiKey.objects.filter(workspace=self._workspace)
        keys = {self._key_of[key.api_key_id]: key for _, key in snapshot.read(rows)}
        self.chapters.append(Chapter(now.timestamp(), keys))


def _moved(content: policies.Content, **by_task: str) -> policies.Content:
    return policies.Content(content.default_model, {**content.by_task, **by_task}, content.baseline_model)
