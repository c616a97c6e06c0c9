"""What a record says, as OTLP attributes: GenAI names where the conventions have one, `kairosroute.*` elsewhere. Pure.

Names: OpenTelemetry semantic conventions for generative AI (open-telemetry/semantic-conventions-genai). They have no
name for money, for a routing decision or for a receipt. The JSON form: OTLP 1.x, "JSON Protobuf Encoding"; 64-bit
integers travel as strings there.
"""

from __future__ import annotations

from typing import Any

from analytics.request_log import UNPRICED, RequestLog

Attribute = dict[str, Any]

SERVICE = "kairosroute"

# Operations of ours → `gen_ai.operation.name`; every other one is a chat in some dialect.
_OPERATIONS = {"embeddings": "embeddings", "completions": "text_completion", "text_completion": "text_completion"}
# Our provider slugs → `gen_ai.provider.name`, where the conventions spell it differently.
_PROVIDERS = {
    "google": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "mistralai": "mistral_ai",
    "mistral": "mistral_ai",
    "x-ai": "x_ai",
    "xai": "x_ai",
    "moonshotai": "moonshot_ai",
}
# A client may send as many tags as it likes; a span is no place for all of them.
_MOST_TAGS = 32


def operation(record: RequestLog) -> str:
    """Return `gen_ai.operation.name`."""
    return _OPERATIONS.get(record.operation, "chat")


def provider(slug: str) -> str:
    """Return `gen_ai.provider.name` for one of our provider slugs."""
    return _PROVIDERS.get(slug, slug)


def attribute(key: str, value: str | bool | int | float | list[str]) -> Attribute:
    """Return one KeyValue in OTLP's JSON form."""
    if isinstance(value, bool):
        return {"key": key, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": key, "value": {"intValue": str(value)}}
    if isinstance(value, float):
        return {"key": key, "value": {"doubleValue": value}}
    if isinstance(value, list):
        return {"key": key, "value": {"arrayValue": {"values": [{"stringValue": one} for one in value]}}}
    return {"key": key, "value": {"stringValue": value}}


def resource(organization_id: str) -> dict[str, Any]:
    """Return the OTLP resource that everything of an organization belongs to."""
    return {
        "attributes": [attribute("service.name", SERVICE), attribute("kairosroute.organization.id", organization_id)]
    }


def of_call(record: RequestLog) -> list[Attribute]:
    """Return the attributes of a call's span. What a call does not have is left out."""
    usage = record.price_state != "unused" or record.input_tokens or record.output_tokens
    first_token_s = None if record.first_token_us is None else record.first_token_us / 1e6
    is_priced = record.price_state != UNPRICED
    baseline = record.baseline_cost_nanousd
    found: list[tuple[str, Any]] = [
        ("gen_ai.operation.name", operation(record)),
        ("gen_ai.provider.name", provider(record.provider)),
        ("gen_ai.system", provider(record.provider)),  # the name that readers of the older conventions know
        ("gen_ai.request.model", record.requested_model),
        ("gen_ai.request.stream", bool(record.is_stream)),
        ("gen_ai.response.id", f"gen_{_body(record)}"),
        ("gen_ai.response.model", record.model),
        ("gen_ai.response.finish_reasons", [record.finish_reason] if record.finish_reason else []),
        ("gen_ai.response.time_to_first_chunk", first_token_s),
        ("gen_ai.usage.input_tokens", record.input_tokens if usage else None),
        ("gen_ai.usage.output_tokens", record.output_tokens if usage else None),
        ("gen_ai.usage.cache_read.input_tokens", record.cached_read_tokens or None),
        ("gen_ai.usage.cache_creation.input_tokens", record.cache_write_tokens or None),
        ("gen_ai.usage.reasoning.output_tokens", record.reasoning_tokens or None),
        ("gen_ai.conversation.id", record.session),
        ("gen_ai.agent.name", record.agent),
        ("error.type", record.error_class),
        ("http.response.status_code", record.http_status or None),
        ("kairosroute.request.id", record.request_id),
        ("kairosroute.receipt.id", f"rcpt_{_body(record)}"),
        ("kairosroute.workspace.id", record.workspace_id),
        ("kairosroute.api_key.id", record.api_key_id),
        ("kairosroute.cost_usd", record.provider_cost_nanousd / 1e9 if is_priced else None),
        ("kairosroute.billed_usd", record.billed_nanousd / 1e9 if is_priced else None),
        ("kairosroute.price.state", record.price_state),
        ("kairosroute.price.version", record.price_version),
        ("kairosroute.key_source", record.key_source),
        ("kairosroute.baseline.model", record.baseline_model),
        ("kairosroute.baseline.cost_usd", None if baseline is None else baseline / 1e9),
        (
            "kairosroute.savings_usd",
            None if baseline is None or not is_priced else (baseline - record.provider_cost_nanousd) / 1e9,
        ),
        ("kairosroute.task.type", record.task_type),
        ("kairosroute.task.confidence", record.task_confidence),
        ("kairosroute.route.reason", record.route_reason),
        ("kairosroute.route.is_pinned", bool(record.is_pinned)),
        ("kairosroute.policy.version", record.policy_version),
        ("kairosroute.router.version", record.router_version),
        ("kairosroute.experiment.id", record.experiment_id),
        ("kairosroute.experiment.arm", record.experiment_arm),
        ("kairosroute.attempts", record.attempts),
        ("kairosroute.is_fallback", bool(record.is_fallback)),
        ("kairosroute.response_cache", record.response_cache),
        ("kairosroute.service_tier", record.service_tier),
        ("kairosroute.overhead_s", record.overhead_us / 1e6),
        ("kairosroute.dialect", record.dialect),
        ("kairosroute.state", record.state),
        ("kairosroute.is_test", bool(record.is_test)),
        ("kairosroute.is_simulated", bool(record.is_simulated)),
        ("kairosroute.is_client_gone", bool(record.is_client_gone)),
        ("kairosroute.feature", record.feature),
        ("kairosroute.agent_run", record.agent_run),
        ("kairosroute.end_user", record.end_user),
        ("kairosroute.client_request.id", record.client_request_id),
        ("kairosroute.client_retry.count", record.client_retry_count or None),
        *((f"kairosroute.quality.{name}", _flag(getattr(record, name))) for name in _SIGNALS),
        *((f"kairosroute.tag.{name}", value) for name, value in sorted(record.tags.items())[:_MOST_TAGS]),
    ]
    return [attribute(key, value) for key, value in found if value is not None and value != "" and value != []]


_SIGNALS = ("is_truncated", "is_refusal", "is_json_valid", "is_schema_valid", "is_tool_call_valid")


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _body(record: RequestLog) -> str:
    return record.request_id.removeprefix("req_")
