"""What the data plane knows about one request: frozen values that every step reads and none changes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ArmSnapshot:
    """One arm of an experiment: which model it serves and its share of the traffic, 0..1."""

    name: str
    model: str
    share: float


@dataclass(frozen=True, slots=True)
class ExperimentSnapshot:
    """A running experiment of a workspace. `unit` names what is assigned: session, end_user, agent_run or request."""

    experiment_id: str
    salt: str
    unit: str
    task_type: str
    arms: tuple[ArmSnapshot, ...]


@dataclass(frozen=True, slots=True)
class PolicySnapshot:
    """Which model `auto` means in a workspace: a default and overrides by task type."""

    version: str = ""
    default_model: str = ""
    by_task: dict[str, str] = field(default_factory=dict)
    baseline_model: str = ""


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """One API key as the data plane holds it: everything that authentication and admission need, nothing secret."""

    api_key_id: str
    organization_id: str
    workspace_id: str
    name: str
    is_test: bool
    scopes: frozenset[str]
    expires_at: float | None
    revoked_at: float | None
    stores_content: bool
    content_cap_bytes: int
    content_retention_days: int
    policy: PolicySnapshot = PolicySnapshot()
    experiments: tuple[ExperimentSnapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who and what a call is charged to, as the client named it."""

    agent: str = ""
    feature: str = ""
    agent_run: str = ""
    session: str = ""
    end_user: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A parsed and validated chat request in the canonical form: OpenAI's chat body.

    `raw` is the body as it arrived, without our own options; `body` its decoded form (never changed after parsing).
    """

    raw: bytes
    body: dict[str, Any]
    requested_model: str
    is_stream: bool
    wants_usage: bool
    task_type: str
    task_source: str
    attribution: Attribution
    options: dict[str, Any]
