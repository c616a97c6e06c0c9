"""Read a whole Gemini answer into the canonical completion. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.errors import UpstreamGarbage
from gateway.providers import failures, shape
from gateway.providers.gemini import contents
from gateway.providers.protocol import Completion, Endpoint, Usage

Json = dict[str, Any]

# Reasons under which the answer is the model's or the service's failure, not an answer.
BROKEN = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
        "OTHER",
    }
)


def finish_reason(native: str, *, has_calls: bool) -> str:
    """Return OpenAI's word. What is neither an end nor a limit is a filter: safety, recitation, blocklists, ….

    Gemini says STOP after tool calls, too.
    """
    if native in ("STOP", "FINISH_REASON_UNSPECIFIED"):
        return "tool_calls" if has_calls else "stop"
    return "length" if native == "MAX_TOKENS" else "content_filter"


def read(body: bytes, *, endpoint: Endpoint) -> Completion:
    """Return the answer as a completion; several candidates become several choices.

    Raises:
        UpstreamGarbage: not an answer, or one that the model broke.
    """
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamGarbage(f"{endpoint.provider} answered with something that is not JSON.") from error
    if not isinstance(answer, dict):
        raise UpstreamGarbage(f"{endpoint.provider} answered with something that is not an object.")
    if answer.get("error"):
        found = failures.in_stream(answer["error"], endpoint=endpoint)
        raise UpstreamGarbage(f"{endpoint.provider} answered with an error under status 200: {found.message}")
    reported = answer.get("usageMetadata")
    counted = usage(reported) if isinstance(reported, dict) else Usage(is_reported=False)
    response_id = str(answer.get("responseId") or "")
    # Calls without an id of their own are numbered under the answer's; an answer without one is known by its bytes.
    calls_id = response_id or hashlib.blake2b(body, digest_size=8).hexdigest()
    blocked = block_reason(answer)
    candidates = answer.get("candidates")
    if not isinstance(candidates, list) or not candidates:
        if not blocked:
            raise UpstreamGarbage(f"{endpoint.provider} answered without candidates.")
        candidates = [{"finishReason": blocked, "refusal": f"The prompt was blocked ({blocked})."}]
    choices = [
        _choice(candidate, index=index, calls_id=calls_id, provider=endpoint.provider)
        for index, candidate in enumerate(candidates)
    ]
    tier = service_tier(reported)
    made = shape.completion(
        answer_id=response_id,
        created=0,
        model=endpoint.model,
        provider=endpoint.provider,
        message={},
        finish="",
        native="",
        usage=counted,
        service_tier=tier,
    )
    made["choices"] = choices
    return Completion(made, counted, choices[0]["finish_reason"], choices[0]["native_finish_reason"], tier)


def _choice(candidate: Any, *, index: int, calls_id: str, provider: str) -> Json:
    if not isinstance(candidate, dict):
        raise UpstreamGarbage(f"{provider} answered with a candidate that is not an object.")
    native = str(candidate.get("finishReason") or "STOP")
    if native in BROKEN:
        raise UpstreamGarbage(f"{provider} broke the answer off ({native}).")
    message: Json = {"role": "assistant", "content": None, "refusal": candidate.get("refusal")}
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    details: list[Json] = []
    images: list[Json] = []
    for part in parts_of(candidate):
        if isinstance(part.get("text"), str):
            (thoughts if part.get("thought") else texts).append(part["text"])
        call = tool_call(part, number=len(calls), answer_id=f"{calls_id}{index or ''}")
        if call is not None:
            calls.append(call)
        signed = signature_detail(part, call_id=call["id"] if call else None, index=len(details))
        if signed is not None:
            details.append(signed)
        image = image_of(part)
        if image is not None:
            images.append(image)
    if texts or not (calls or candidate.get("refusal")):
        message["content"] = "".join(texts)
    message |= shape.reasoning("".join(thoughts), details)
    if calls:
        message["tool_calls"] = calls
    if images:
        message["images"] = images
    return {
        "index": index,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_reason(native, has_calls=bool(calls)),
        "native_finish_reason": native,
    }


def parts_of(candidate: Mapping[str, Any]) -> list[Json]:
    """Return the parts of a candidate that are objects."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def block_reason(answer: Mapping[str, Any]) -> str:
    """Return why the prompt itself was blocked, or nothing."""
    feedback = answer.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    return reason if isinstance(reason, str) else ""


def tool_call(part: Json, *, number: int, answer_id: str) -> Json | None:
    """Return a function call part as a tool call that carries its signature along, or None."""
    function = part.get("functionCall")
    if not isinstance(function, dict):
        return None
    call_id = function.get("id") or f"call_{answer_id[-24:]}_{number}"
    call = shape.tool_call(
        call_id=call_id, name=function.get("name") or "", arguments=orjson.dumps(function.get("args") or {}).decode()
    )
    if part.get("thoughtSignature"):
        call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return call


def signature_detail(part: Json, *, call_id: str | None, index: int) -> Json | None:
    """Return a part's thought signature as OpenRouter's `reasoning.encrypted`, or None."""
    if not part.get("thoughtSignature"):
        return None
    detail: Json = {"type": "reasoning.encrypted", "data": part["thoughtSignature"], "format": contents.FORMAT}
    return {**detail, "index": index, **({"id": call_id} if call_id else {})}


def image_of(part: Json) -> Json | None:
    """Return a picture that the model made, as OpenRouter's `images` entry, or None."""
    data = part.get("inlineData")
    if not isinstance(data, dict) or not data.get("data"):
        return None
    url = f"data:{data.get('mimeType', 'image/png')};base64,{data['data']}"
    return {"type": "image_url", "image_url": {"url": url}}


def usage(reported: Mapping[str, Any]) -> Usage:
    """Return the counts. Prompt tokens include the cached ones; thoughts are output of their own and are added."""
    prompt = _count(reported.get("promptTokenCount")) + _count(reported.get("toolUsePromptTokenCount"))
    thoughts = _count(reported.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=prompt,
        cached_read_tokens=min(_count(reported.get("cachedContentTokenCount")), prompt),
        output_tokens=_count(reported.get("candidatesTokenCount")) + thoughts,
        reasoning_tokens=thoughts,
        audio_input_tokens=_audio(reported.get("promptTokensDetails")),
        audio_output_tokens=_audio(reported.get("candidatesTokensDetails")),
    )


def service_tier(reported: object) -> str:
    """Return the tier that served the call, in OpenAI's words."""
    tier = reported.get("serviceTier") if isinstance(reported, dict) else None
    return {"standard": "default"}.get(tier.lower(), tier.lower()) if isinstance(tier, str) else ""


def _audio(details: object) -> int:
    if not isinstance(details, list):
        return 0
    return sum(
        _count(detail.get("tokenCount"))
        for detail in details
        if isinstance(detail, dict) and detail.get("modality") == "AUDIO"
    )


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
