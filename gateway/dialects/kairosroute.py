"""What KairosRoute's own clients send: the body's `kairosroute` object, `X-KairosRoute-*` headers, a few fields. Pure.

A value that cannot be read is refused with its name, in headers too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from gateway.dialects import openrouter, refusals, values
from gateway.dialects.rows import Reader, Row, honoured, names, not_applied, prefers
from gateway.dialects.values import Malformed
from gateway.dialects.wishes import Wishes
from gateway.preferences import RunBudget

_Object = dict[str, Any]
_Usd = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


class _RunBudget(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    max_cost_usd: _Usd
    on_exceed: Literal["stop", "downgrade"] = "stop"


class Options(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body's `kairosroute` object, as documented in docs/reference/api.md."""

    quality_bar: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max_cost_usd: _Usd | None = None
    task: str | None = None
    agent: str | None = None
    feature: str | None = None
    agent_run: str | None = None
    run_budget: _Usd | _RunBudget | None = None
    session: str | None = None
    workspace: str | None = None
    tags: _Object | None = None
    experiment: str | None = None
    candidates: list[str] | None = None
    exclude: list[str] | None = None
    baseline: str | None = None
    explain: Literal["none", "summary", "full"] | None = None
    dry_run: bool | None = None
    fault: str | None = None


_decode = msgspec.json.Decoder(Options | None).decode
OPTION_NAMES = tuple(sorted(set(Options.__struct_fields__) - {"fault"}))


def decode(raw: bytes | msgspec.Raw) -> dict[str, Any]:
    """Return the options that were set.

    Raises:
        gateway.errors.InvalidRequest: an unknown name, or a value of the wrong type.
    """
    try:
        options = _decode(raw)
    except msgspec.ValidationError as error:
        raise refusals.wrong_option(str(error), options=", ".join(OPTION_NAMES)) from None
    return {} if options is None else msgspec.to_builtins(options)


def apply(wishes: Wishes, options: Mapping[str, Any]) -> None:
    """Read the options that ask something of attribution, routing or serving; they win over everything else."""
    for name, value in options.items():
        reader = _READERS.get(name)
        if reader is not None:
            reader(wishes, value)


def _usd(value: float) -> int:
    return round(value * 1_000_000_000)


def _run_budget(wishes: Wishes, value: Any) -> None:
    if isinstance(value, dict):
        wishes.prefer(
            run_budget=RunBudget(max_nanousd=_usd(value["max_cost_usd"]), on_exceed=value.get("on_exceed", "stop"))
        )
    else:
        wishes.prefer(run_budget=RunBudget(max_nanousd=_usd(value)))


_READERS: dict[str, Reader] = {
    "quality_bar": prefers("quality_bar", float),
    "max_cost_usd": prefers("max_cost_nanousd", _usd),
    "agent": names("agent", values.text),
    "feature": names("feature", values.text),
    "agent_run": names("agent_run", values.text),
    "session": names("session", values.text),
    "tags": lambda wishes, value: wishes.tag_all(value),
    "run_budget": _run_budget,
    "candidates": prefers("allowed_models", tuple),
    "exclude": prefers("excluded_models", tuple),
    "explain": prefers("explain", str),
    "dry_run": prefers("is_dry_run", bool),
    # Which workspace pays is the key's to say.
    "workspace": lambda wishes, _value: wishes.deny("kairosroute.workspace"),
}


# -- fields beside the object, as KairosRoute's first API had them


def _data_collection(wishes: Wishes, value: Any) -> None:
    if value not in ("allow", "deny"):
        raise Malformed("`allow` or `deny`")
    wishes.prefer(denies_data_collection=value == "deny")


def _throughput(wishes: Wishes, value: Any) -> None:
    bound = openrouter.percentile(wishes, value, path="preferred_min_throughput", ours="p50")
    wishes.prefer(preferred_min_throughput=bound)


def _latency(wishes: Wishes, value: Any) -> None:
    bound = openrouter.percentile(wishes, value, path="preferred_max_latency", ours="p75")
    wishes.prefer(preferred_max_latency_ms=bound)


def _quantization(wishes: Wishes, value: Any) -> None:
    wishes.prefer(quantizations=(values.text(value),) if isinstance(value, str) else values.names(value))


FIELDS: dict[str, Row] = {
    "data_collection": honoured("`deny`: no provider that keeps or trains on prompts", _data_collection),
    "zdr": honoured("only endpoints with zero data retention", prefers("requires_zdr", values.flag)),
    "preferred_max_latency": honoured("milliseconds to the first token; of percentiles `p75`", _latency),
    "preferred_min_throughput": honoured("tokens a second; of percentiles `p50`", _throughput),
    "quantization": honoured("only endpoints of this precision, or of these", _quantization),
    "quantizations": honoured("only endpoints of these precisions", _quantization),
    "kairos": not_applied("the object's name is `kairosroute`"),
}


# -- headers


def _explain(wishes: Wishes, value: str) -> None:
    word = value.strip().lower()
    if word not in ("none", "summary", "full"):
        raise Malformed("`none`, `summary` or `full`")
    wishes.prefer(explain=word)


def _budget_text(wishes: Wishes, value: str) -> None:
    """Read `0.50; on_exceed=stop`."""
    amount, _, rest = value.partition(";")
    name, _, word = rest.strip().partition("=")
    if rest.strip() and (name.strip() != "on_exceed" or word.strip() not in ("stop", "downgrade")):
        raise Malformed("US dollars, then `; on_exceed=stop` or `; on_exceed=downgrade`")
    bound = values.nanousd(amount.strip())
    wishes.prefer(run_budget=RunBudget(max_nanousd=bound, on_exceed=word.strip() or "stop"))


HEADERS: dict[str, Row] = {
    "X-KairosRoute-Quality-Bar": honoured("as the option `quality_bar`", prefers("quality_bar", values.share)),
    "X-KairosRoute-Max-Cost": honoured("as `max_cost_usd`", prefers("max_cost_nanousd", values.nanousd)),
    "X-KairosRoute-Agent": honoured("as `agent`", names("agent", values.text)),
    "X-KairosRoute-Feature": honoured("as `feature`", names("feature", values.text)),
    "X-KairosRoute-Agent-Run": honoured("as `agent_run`", names("agent_run", values.text)),
    "X-KairosRoute-Run-Budget": honoured("as `run_budget`: `0.50; on_exceed=stop`", _budget_text),
    "X-KairosRoute-Session": honoured("as `session`", names("session", values.text)),
    "X-KairosRoute-Tags": honoured(
        "as `tags`: `a=1,b=2` or JSON", lambda wishes, value: wishes.tag_all(values.pairs(value))
    ),
    "X-KairosRoute-Explain": honoured("as `explain`", _explain),
}
