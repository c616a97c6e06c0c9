"""What a caller is told when no endpoint may serve a call: which gates stopped it, and what to change. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from gateway import errors
from gateway.catalog.models import Model, Resolution
from gateway.routing import gates
from gateway.routing.candidates import Candidate
from gateway.routing.demands import Demand

COST_LIMIT = "COST_LIMIT_EXCEEDED"


def nothing_eligible(name: str, candidates: Sequence[Candidate], demand: Demand) -> errors.GatewayError:
    """Return the error of a call that no candidate may serve.

    It speaks of the gate that those who got furthest failed at, because there the least change helps; `metadata.gates`
    counts all of them.
    """
    counts = Counter(one.gate for one in candidates)
    if not candidates or set(counts) == {gates.PROVIDER}:
        return not_configured(name, candidates)
    gate = max((one for one in counts if one in gates.NAMES), key=gates.NAMES.index)
    stopped = [one for one in candidates if one.gate == gate]
    reasons = "; ".join(dict.fromkeys(f"{one.model}: {one.reason}" for one in stopped[:3]))
    shown = f" ({reasons}{'; …' if len(stopped) > 3 else ''})" if reasons else ""
    kind, code, param, text = _TOLD[gate]
    told = text(f"`{name[:100]}`", demand)
    metadata: dict[str, Any] = {"gates": dict(counts)}
    if gate == gates.CONTEXT:
        metadata["error_type"] = code  # OpenRouter's word for it, finer than the class's
    others = ", ".join(f"{count} by {other}" for other, count in counts.items() if other != gate)
    also = f" Further candidates were stopped: {others}." if others else ""
    return kind(f"{told}{shown}.{also}", code=code, param=param, metadata=metadata)


def not_found(name: str, resolution: Resolution) -> errors.ModelNotFound:
    """Return the error of a name that means nothing."""
    nearest = f" Did you mean {', '.join(resolution.nearest)}?" if resolution.nearest else ""
    return errors.ModelNotFound(
        f"There is no model `{name[:100]}`.{nearest} `GET /v1/models` lists them.", param="model"
    )


def no_chat_model(model: Model) -> errors.InvalidRequest:
    """Return the error of a chat call that names an embedding model."""
    return errors.InvalidRequest(
        f"`{model.id}` is an embedding model: send its texts to /v1/embeddings, or name a chat model.",
        param="model",
        code="model_kind",
    )


def not_configured(name: str, candidates: Sequence[Candidate]) -> errors.NoProvider:
    """Return the error of a model whose providers are not configured."""
    providers = sorted({one.provider for one in candidates})
    if len(providers) > 4 or not providers:
        return errors.NoProvider(
            f"No provider is configured that could serve `{name[:100]}`. Add your own key under"
            " Provider keys, let the operator set KAIROS_PROVIDER_<NAME>_API_KEY, or use a test key for the simulator.",
            code="no_provider_configured",
        )
    variables = " or ".join(f"KAIROS_PROVIDER_{provider.upper().replace('-', '_')}_API_KEY" for provider in providers)
    return errors.NoProvider(
        f"No provider that serves `{candidates[0].model}` is configured. Add your own key under"
        f" Provider keys, let the operator set {variables}, or use a test key for the simulator.",
        code="no_provider_configured",
    )


def _privacy(name: str, demand: Demand) -> str:
    asked = [
        *(["promises zero data retention"] if demand.terms.requires_zdr else []),
        *(["promises not to train on prompts"] if demand.terms.denies_data_collection else []),
    ]
    return f"No provider of {name} {' and '.join(asked)}; name another model, or drop `zdr` and `data_collection`"


def _dollars(nanousd: int | None) -> str:
    return f"${(nanousd or 0) / 1e9:.6f}"


_Told = tuple[type[errors.GatewayError], str, str, Callable[[str, Demand], str]]
_TOLD: dict[str, _Told] = {
    gates.ALLOW_LIST: (
        errors.PermissionDenied, "model_not_allowed", "model",
        lambda name, demand: f"The workspace's guardrails allow no model or provider that {name} leads to; name another"
        " model, or ask who manages the workspace's routing to allow it",
    ),
    gates.PROTOCOL: (
        errors.InvalidRequest, "unsupported_by_model", "model",
        lambda name, demand: f"{', '.join(demand.only_native)}: only a provider that speaks this API itself can serve"
        f" that, and none behind {name} does; name a model of such a provider, or leave it out",
    ),
    gates.MODEL: (
        errors.ModelNotFound, "no_allowed_model", "models",
        lambda name, demand: f"No model that {name} may mean is allowed; widen `allowed_models` or `excluded_models`",
    ),
    gates.PROVIDERS: (
        errors.ModelNotFound, "no_allowed_provider", "provider",
        lambda name, demand: f"None of the providers asked for serves {name}; change `only`, `ignore` or `order`",
    ),
    gates.DEPRECATION: (
        errors.ModelNotFound, "model_retired", "model",
        lambda name, demand: f"{name} is retired; name a newer model",
    ),
    gates.PRIVACY: (errors.ModelNotFound, "no_private_provider", "provider", _privacy),
    gates.QUANTIZATION: (
        errors.ModelNotFound, "no_such_quantization", "provider",
        lambda name, demand: f"No endpoint of {name} is known to have one of the quantizations asked for;"
        " leave `quantizations` out, or add `unknown`",
    ),
    gates.CAPABILITY: (
        errors.InvalidRequest, "no_capable_model", "model",
        lambda name, demand: f"Nothing behind {name} can do all that the call needs:"
        f" {', '.join(sorted(demand.terms.capabilities))}; name a model that can",
    ),
    gates.PARAMETERS: (
        errors.InvalidRequest, "unsupported_parameters", "provider",
        lambda name, demand: f"No endpoint of {name} heeds every parameter of the call; leave the ones named out,"
        " or do not ask for `require_parameters`",
    ),
    gates.CONTEXT: (
        errors.InvalidRequest, "context_length_exceeded", "messages",
        lambda name, demand: f"The prompt of about {demand.input_tokens} tokens and the answer do not fit the context"
        f" of {name}; shorten it or lower `max_tokens`",
    ),
    gates.MAX_OUTPUT: (
        errors.InvalidRequest, "max_tokens_too_large", "max_tokens",
        lambda name, demand: f"{name} does not answer with {demand.asked_output_tokens} tokens; lower `max_tokens`",
    ),
    gates.PRICE: (
        errors.PaymentRequired, "max_price_exceeded", "provider",
        lambda name, demand: f"No endpoint of {name} is free" if demand.requires_free
        else f"No endpoint of {name} is within `max_price`; raise it or name a cheaper model",
    ),
    gates.BUDGET: (
        errors.CostLimitExceeded, COST_LIMIT, "max_cost_usd",
        lambda name, demand: f"{COST_LIMIT}: the call may cost more than its limit of"
        f" {_dollars(demand.max_cost_nanousd)} on {name}; raise the limit, lower `max_tokens`, or name a cheaper model",
    ),
}  # fmt: skip
