"""What clients of Vercel's AI Gateway send: `providerOptions` in the body. Pure.

Source: the pages of the AI SDK on the gateway provider, version 3 (autumn 2026).
"""

from __future__ import annotations

from typing import Any

from gateway.dialects import values
from gateway.dialects.rows import Row, honoured, names, prefers, structured
from gateway.dialects.values import Malformed
from gateway.dialects.wishes import Wishes

_SORTS = {"cost": "price", "ttft": "latency", "tps": "throughput"}


def _sort(wishes: Wishes, value: Any) -> None:
    wishes.prefer(sort=values.word_of(_SORTS, value, expected="`cost`, `ttft` or `tps`"))


def _tags(wishes: Wishes, value: Any) -> None:
    for name in values.names(value):
        wishes.tag_all(values.pairs(name))


# Vercel's words for what a model must be able to do, in the catalog's.
_CAPABILITIES = {"tool-use": "tools", "vision": "images", "file-input": "files", "implicit-caching": "prompt_cache"}


def _has(wishes: Wishes, value: Any) -> None:
    wishes.prefer(capabilities=tuple(_CAPABILITIES.get(name, name.replace("-", "_")) for name in values.names(value)))


def _byok(wishes: Wishes, value: Any) -> None:
    """Read `{"openai": [{"apiKey": "…"}]}`; errors name the provider, never what stands there."""
    for provider, credentials in values.json_object(value).items():
        for credential in credentials if isinstance(credentials, list) else [credentials]:
            api_key = credential.get("apiKey") if isinstance(credential, dict) else None
            if isinstance(api_key, str):
                wishes.bring_key(values.provider(provider), api_key, is_exclusive=False)
            else:
                wishes.deny(f"providerOptions.gateway.byok.{provider}")


GATEWAY: dict[str, Row] = {
    "order": honoured("providers to try first, in this order", prefers("provider_order", values.providers)),
    "only": honoured("no other providers", prefers("provider_only", values.providers)),
    "sort": honoured("`cost`, `ttft` or `tps`", _sort),
    "models": honoured("further models, in order, when the first fails", prefers("models", values.names)),
    "user": honoured("end user", names("end_user", values.text)),
    "tags": honoured("tags", _tags),
    "has": honoured("what the model must be able to do", _has),
    "zeroDataRetention": honoured("only endpoints with zero data retention", prefers("requires_zdr", values.flag)),
    "disallowPromptTraining": honoured(
        "no provider that keeps or trains on prompts", prefers("denies_data_collection", values.flag)
    ),
    "byok": honoured("provider keys (`apiKey`) that pay for this call; other credentials are named", _byok),
}


def _other_providers(wishes: Wishes, value: Any) -> None:
    if not isinstance(value, dict):
        raise Malformed("an object")


FIELDS: dict[str, Row] = {
    "providerOptions": structured(
        "`gateway` is read; options of other providers are named",
        {"gateway": structured("which endpoints may serve the call, and in which order", GATEWAY)},
        _other_providers,
    ),
}
