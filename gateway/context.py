"""What the data plane knows about one request: frozen values that every step reads and none changes. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from gateway.native import NativeRequest
from gateway.preferences import NO_PREFERENCES, NO_TRACE, Preferences, Trace

if TYPE_CHECKING:
    from gateway.catalog.contracts import Contracts


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


# Patterns of models, and of providers; empty: all.
AllowList = tuple[tuple[str, ...], tuple[str, ...]]
ANYTHING: AllowList = ((), ())


@dataclass(frozen=True, slots=True)
class GuardrailSnapshot:
    """What a workspace lets pass and what it keeps: categories of `gateway.guardrails`, and where its calls may go."""

    redacted: frozenset[str] = frozenset()
    blocked: frozenset[str] = frozenset()
    allow_list: AllowList = ANYTHING


NO_GUARDRAILS = GuardrailSnapshot()


class LimitSnapshot(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A limit that a key's calls may count against.

    `subject` names whom it is for, a tag as `name=value`; empty: for each value apart (`is_each`) or for the whole
    organization. `amount` is requests, tokens, or nano-USD. Percentages are of the amount.
    """

    limit_id: str
    name: str
    scope: str  # organization, workspace, agent, api_key, end_user, tag
    kind: str  # requests, tokens (both a minute), budget
    amount: int
    subject: str = ""
    is_each: bool = False
    tag: str = ""
    period: str = "month"
    time_zone: str = "UTC"
    downgrades: bool = False
    downgrade_percent: int = 100
    alert_percents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CredentialSnapshot:
    """A customer's key at a provider. One without a usable secret stands here too: it is not passed over in silence.

    `base_url` is empty for the provider's own address. `api_key` may be empty too, for a server that asks for none.
    """

    credential_id: str
    label: str
    provider: str
    api_key: str = field(repr=False)
    base_url: str = ""
    order: int = 0  # lower first; the workspace's stand before the organization's whatever their order
    weight: int = 1  # share among those of the same order
    is_of_workspace: bool = False
    is_usable: bool = True
    allows_managed_fallback: bool = False
    models: tuple[str, ...] = ()  # our names, `*` for any letters; empty: all of the provider's


@dataclass(frozen=True, slots=True, eq=False)
class Credentials:
    """The enabled provider keys of a workspace and its organization, by provider, in the order of use.

    `decisions` is where the router remembers what it decided with them, `providers` and `endpoints` what
    `gateway.credentials` made of them: with the tenant's own keys, so that no other tenant can ever be given their
    endpoints, and gone as soon as the keys change. `is_weighted`: the order differs from call to call.
    """

    by_provider: Mapping[str, tuple[CredentialSnapshot, ...]]
    is_weighted: bool = False
    decisions: dict[tuple[str, bool, AllowList], Any] = field(default_factory=dict, repr=False)
    providers: dict[str, Any] = field(default_factory=dict, repr=False)
    endpoints: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A provider key that came with one call and is forgotten after it. `provider`: as the client says, or empty.

    `is_exclusive`: the call goes out with keys that came with it, or not at all. Otherwise other providers are reached
    as ever.
    """

    provider: str
    api_key: str = field(repr=False)
    is_exclusive: bool = True


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """One API key as the data plane holds it: everything that authentication and admission need.

    Nothing in it is secret but the provider keys in `credentials`, which no repr shows.
    """

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
    guardrails: GuardrailSnapshot = NO_GUARDRAILS
    credentials: Credentials | None = None
    contracts: Contracts | None = None  # prices that the organization agreed on, None where it pays the list's
    # guardrails of the key itself
    quality_floor: float | None = None
    max_cost_per_request_nanousd: int | None = None
    has_plain_budget_errors: bool = False  # 429 BUDGET_EXCEEDED, as KairosRoute's own SDK reads it
    limits: tuple[LimitSnapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who and what a call is charged to, as the client named it."""

    agent: str = ""
    feature: str = ""
    agent_run: str = ""
    session: str = ""
    end_user: str = ""
    tags: dict[str, str] = field(default_factory=dict)


NOBODY = Attribution()
NOTHING: dict[str, Any] = {}


class ChatCall:
    """A parsed and validated chat request in the canonical form: OpenAI's chat body. Not changed after parsing.

    `raw` is the body as it arrived, without our own options. `body` is its decoded form: decoded when first looked
    into, because a call that is passed through never needs it. `shape` is the part that judges of an answer read:
    `response_format`, `tools` and `functions` where the call has them. `operation` and `dialect` are the record's
    columns of these names. `not_applied` names what the client asked for and will not get. `request_keys` are provider
    keys that came with the call: used for it alone, never kept. `output_tokens` is `estimation.output_bound` of what
    the call says of its answer's length; None: the reader did not note it. `native` is the call in the client's own
    protocol where that is a provider's too.
    """

    __slots__ = (
        "attribution",
        "body",
        "dialect",
        "is_stream",
        "native",
        "not_applied",
        "operation",
        "options",
        "output_tokens",
        "preferences",
        "raw",
        "request_keys",
        "requested_model",
        "shape",
        "task_source",
        "task_type",
        "trace",
        "wants_usage",
    )

    def __init__(
        self,
        *,
        raw: bytes,
        requested_model: str,
        is_stream: bool = False,
        wants_usage: bool = False,
        task_type: str = "general",
        task_source: str = "none",
        attribution: Attribution = NOBODY,
        options: dict[str, Any] = NOTHING,
        shape: dict[str, Any] = NOTHING,
        is_plain: bool = False,
        body: Mapping[str, Any] | None = None,
        operation: str = "chat",
        dialect: str = "openai",
        preferences: Preferences = NO_PREFERENCES,
        trace: Trace = NO_TRACE,
        not_applied: tuple[str, ...] = (),
        request_keys: tuple[RequestKey, ...] = (),
        output_tokens: int | None = None,
        native: NativeRequest | None = None,
    ) -> None:
        self.raw = raw
        self.requested_model = requested_model
        self.is_stream = is_stream
        self.wants_usage = wants_usage
        self.task_type = task_type
        self.task_source = task_source
        self.attribution = attribution
        self.options = options
        self.shape = shape
        self.operation = operation
        self.dialect = dialect
        self.preferences = preferences
        self.trace = trace
        self.not_applied = not_applied
        self.request_keys = request_keys
        self.output_tokens = output_tokens
        self.native = native
        self.body: Mapping[str, Any] = LazyBody(raw, is_plain=is_plain) if body is None else body

    @property
    def said(self) -> Any:
        """What the client said: its messages, or the texts that are to be embedded."""
        body = self.body
        return body["messages"] if "messages" in body else body.get("input")

    def with_reasoning(self) -> ChatCall:
        """Return the call with reasoning switched on, unless it says itself how much it wants."""
        body = self.body
        if any(body.get(name) is not None for name in ("reasoning_effort", "reasoning", "thinking")):
            return self
        changed = copy.copy(self)
        changed.raw = orjson.dumps({**body, "reasoning_effort": "medium"})
        changed.body = LazyBody(changed.raw)
        if self.native is not None:
            changed.native = self.native.unspoken()  # its words do not say so
        return changed


class LazyBody(Mapping[str, Any]):
    """A JSON object that is decoded when it is first looked into.

    `is_plain`: it is known to hold fields of OpenAI's API only, and none that providers of it treat differently.
    """

    __slots__ = ("_decoded", "_raw", "is_plain")

    def __init__(self, raw: bytes, *, is_plain: bool = False) -> None:
        self._raw = raw
        self.is_plain = is_plain
        self._decoded: dict[str, Any] | None = None

    def _body(self) -> dict[str, Any]:
        if self._decoded is None:
            self._decoded = orjson.loads(self._raw)
        return self._decoded

    def __getitem__(self, name: str) -> Any:
        return self._body()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._body())

    def __len__(self) -> int:
        return len(self._body())
