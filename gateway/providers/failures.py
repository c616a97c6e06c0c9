"""Classify what a provider refused or broke: status and body to `ProviderError`. Pure.

The message goes to the client, so it is cut, stripped of control characters and of anything that looks like a key.

    401, 402        UpstreamError       the credential as a whole (code upstream_account), not the client's request
    403             UpstreamError       the credential at this model (code upstream_access); others may serve
    401, 402, 403   UpstreamKeyRefused  the same with a key that the customer brought
    408, 504        UpstreamTimeout
    429             UpstreamRateLimited
    503, 529        UpstreamOverloaded
    other 4xx       UpstreamRejected    the request itself; the same everywhere, so no retry. Two reasons have one code
                                        at every provider, because another model may take the call:
                                        context_length_exceeded and content_policy_violation
    everything else UpstreamError
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from analytics.request_log import BYOK
from gateway.providers.protocol import Endpoint, ProviderError

MESSAGE_LIMIT = 500

_SECRET = re.compile(
    r"\b(?:sk|pk|rk|kr|gsk|xai|tgp|fw|csk|nvapi|hf)[-_][\w.*-]{8,}"  # the prefixes of providers' keys, and ours
    r"|\bAIza[\w-]{10,}|(?i:\bbearer)\s+\S+|(?i:\bapi[-_ ]?key)\s*[=:]\s*\S+|\S*\*{4,}\S*"
)
_SPACES = re.compile(r"[\x00-\x20\x7f]+")


def classify(*, status: int, headers: Mapping[str, str], body: bytes, endpoint: Endpoint) -> ProviderError:
    """Return the error that a non-2xx answer means. Header names are compared without case."""
    provider = endpoint.provider
    reason, code = _reason(body)
    lowered = {name.lower(): value for name, value in headers.items()}
    retry_after_s = retry_after(lowered)
    if status == 403 and _is_policy(code, reason):  # xAI refuses content with it
        status = 400
    if status in (401, 402, 403):
        return _account_error(status, endpoint)
    message = _safe(reason, api_key=endpoint.api_key) or f"{provider} answered with status {status}."
    if status == 429:
        return ProviderError(429, "UpstreamRateLimited", message, code, retry_after_s, True)
    if status in (408, 504):
        return ProviderError(504, "UpstreamTimeout", message, code, retry_after_s, True)
    if status in (503, 529):
        return ProviderError(503, "UpstreamOverloaded", message, code, retry_after_s, True)
    if 400 <= status < 500 and status not in (409, 425):
        kept = status if status in (404, 413, 422) else 400
        return ProviderError(kept, "UpstreamRejected", message, _rejection_code(code, reason), None, False)
    return ProviderError(502, "UpstreamError", message, code, retry_after_s, True)


def in_stream(error: object, *, endpoint: Endpoint) -> ProviderError:
    """Return the error that an error object inside a stream means. The status is read from its code or type."""
    fields = error if isinstance(error, dict) else {"message": str(error)}
    return classify(status=_status_of(fields), headers={}, body=orjson.dumps({"error": fields}), endpoint=endpoint)


def _account_error(status: int, endpoint: Endpoint) -> ProviderError:
    """Say whose account the provider refused: a customer can mend their own key, the operator's only wait for."""
    provider = endpoint.provider
    code = "upstream_access" if status == 403 else "upstream_account"
    if endpoint.key_source != BYOK:
        what = {401: "refused the gateway's credentials", 402: "reports an unpaid account"}.get(
            status, "denied access to the model"
        )
        message = f"{provider} {what}. Only the operator of this gateway can mend that; other providers' models work."
        return ProviderError(502, "UpstreamError", message, code, None, True)
    key = "the provider key that came with the request"
    if endpoint.credential_label:
        key = f"your provider key “{endpoint.credential_label}”"
    what = {401: f"refused {key}", 402: f"reports that the account of {key} is unpaid"}.get(
        status, f"does not let {key} use the model"
    )
    return ProviderError(401, "UpstreamKeyRefused", f"{provider} {what}.", code, None, True)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the wait in seconds that `retry-after-ms` or `retry-after` (seconds or an HTTP date) asks for."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        # Measured on the provider's own clock: its date header and its retry date belong together.
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


def _reason(body: bytes) -> tuple[str, str | None]:
    """Find message and code in the error bodies of OpenAI, Anthropic, Google, Mistral and Cohere."""
    try:
        decoded: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", None  # an HTML page or a cut body: nothing worth showing
    if isinstance(decoded, list) and decoded:  # Google wraps stream errors in an array
        decoded = decoded[0]
    if not isinstance(decoded, dict):
        return "", None
    error = decoded.get("error", decoded)
    if not isinstance(error, dict):
        return str(error), None
    message = error.get("message") or error.get("detail") or ""
    if not isinstance(message, str):
        message = orjson.dumps(message).decode()
    for name in ("code", "status", "type"):
        value = error.get(name)
        if isinstance(value, str) and value and not value.isdigit():
            return message, value.lower()[:64]
    return message, None


def _rejection_code(code: str | None, reason: str) -> str | None:
    lowered = reason.lower()
    if code == "context_length_exceeded" or any(mark in lowered for mark in _TOO_LONG):
        return "context_length_exceeded"
    if _is_policy(code, reason):
        return "content_policy_violation"
    return code


def _is_policy(code: str | None, reason: str) -> bool:
    lowered = reason.lower()
    return code in _POLICY_CODES or any(mark in lowered for mark in _POLICY)


# What providers say of a prompt that does not fit the model: OpenAI, Azure and vLLM; Anthropic; Google; Cohere; Groq;
# xAI; Together; Bedrock.
_TOO_LONG = (
    "context length",
    "context window",
    "context limit",
    "prompt is too long",
    "input is too long",
    "maximum number of tokens",
    "maximum prompt length",
    "too many tokens",
    "reduce the length of the messages",
    "`inputs` tokens + `max_new_tokens`",
)
# What they say of content that they do not take: OpenAI and Azure by code; Anthropic; xAI; DeepSeek; Z.ai and MiniMax;
# Bedrock.
_POLICY_CODES = frozenset(
    {"content_policy_violation", "content_filter", "responsibleaipolicyviolation", "moderation_blocked"}
)
_POLICY = (
    "content filtering policy",
    "content management policy",
    "potentially violating our usage policy",
    "violates usage guidelines",
    "content exists risk",
    "sensitive content",
    "blocked by our content filters",
    "flagged by our moderation",
)


def _status_of(error: Mapping[str, Any]) -> int:
    for name in ("code", "status", "status_code"):
        value = error.get(name)
        if isinstance(value, int) and 400 <= value < 600:
            return value
        if isinstance(value, str) and value.isdigit() and 400 <= int(value) < 600:
            return int(value)
    words = f"{error.get('type', '')} {error.get('code', '')} {error.get('status', '')}".lower()
    for mark, status in _STATUS_WORDS:
        if mark in words:
            return status
    return 500


_STATUS_WORDS = (
    ("overloaded", 529),
    ("rate_limit", 429),
    ("resource_exhausted", 429),
    ("quota", 429),
    ("timeout", 504),
    ("deadline", 504),
    ("unavailable", 503),
    ("over_capacity", 503),
    ("authentication", 401),
    ("permission", 403),
    ("invalid_request", 400),
    ("invalid_argument", 400),
    ("not_found", 404),
)


def _safe(message: str, *, api_key: str) -> str:
    if len(api_key) >= 4:
        message = message.replace(api_key, "[key]")
    message = _SECRET.sub("[key]", message)
    return _SPACES.sub(" ", message).strip()[:MESSAGE_LIMIT]
