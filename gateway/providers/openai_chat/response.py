"""Read a whole chat completion of an OpenAI-shaped provider and fill in what clients require. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.errors import UpstreamGarbage
from gateway.providers import failures, quirks, shape
from gateway.providers.openai_chat import complaints
from gateway.providers.openai_chat import usage as usages
from gateway.providers.protocol import Completion, Endpoint, Usage

Json = dict[str, Any]


def read(body: bytes, *, endpoint: Endpoint) -> Completion:
    """Return the answer decoded and completed.

    Raises:
        UpstreamGarbage: not JSON, no choices, or an error object under a 2xx status.
    """
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamGarbage(f"{endpoint.provider} answered with something that is not JSON.") from error
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices:
        raise UpstreamGarbage(_why_empty(answer, endpoint=endpoint))
    row = quirks.of(endpoint.provider)
    finish = native = ""
    for position, choice in enumerate(choices):
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise UpstreamGarbage(f"{endpoint.provider} answered with a choice without a message.")
        said = normalize_choice(choice, position=position, row=row)
        if position == 0:
            finish, native = choice["finish_reason"], said
            if native in shape.INTERRUPTIONS:
                raise UpstreamGarbage(f"{endpoint.provider} broke the answer off ({native}).")
    reported = usages.find(answer)
    usage = (
        usages.read(reported, counts_reasoning_apart=row.counts_reasoning_apart)
        if reported is not None
        else Usage(is_reported=False)
    )
    answer["usage"] = shape.usage_body(usage)
    answer.pop("x_groq", None)
    answer["object"] = "chat.completion"
    answer["model"] = endpoint.model
    if answer.get("provider") != "simulator":  # a simulator behind a provider's name keeps its label
        answer["provider"] = endpoint.provider
    answer.setdefault("created", 0)
    answer.setdefault("id", "")
    if not isinstance(answer.get("system_fingerprint"), str):
        answer["system_fingerprint"] = ""
    tier = answer.get("service_tier")
    if tier is None:
        answer.pop("service_tier", None)
    return Completion(answer, usage, finish, native, tier if isinstance(tier, str) else "")


def normalize_choice(choice: Json, *, position: int, row: quirks.Quirks) -> str:
    """Complete one choice in place and return its native finish reason."""
    message = choice["message"]
    message["role"] = "assistant"
    if row.is_exact:
        message.setdefault("content", None)
    else:
        normalize_reasoning(message)
        message.setdefault("content", None)
    message.setdefault("refusal", None)
    if "tool_calls" in message:
        if message["tool_calls"]:
            for index, call in enumerate(message["tool_calls"]):
                _normalize_call(call, index=index)
        else:
            del message["tool_calls"]
    for name in ("function_call", "annotations", "audio"):  # vLLM says null for what it has not
        if message.get(name, "") is None:
            del message[name]
    native = choice.get("native_finish_reason") or choice.get("finish_reason") or ""
    native = native if isinstance(native, str) else str(native)
    choice["finish_reason"] = shape.finish_reason(str(choice.get("finish_reason") or native or "stop"))
    choice["native_finish_reason"] = native or "stop"
    choice.setdefault("logprobs", None)
    if type(choice.get("index")) is not int:
        choice["index"] = position
    choice.pop("usage", None)
    return native or "stop"


def normalize_reasoning(message: Json) -> None:
    """Bring reasoning into `reasoning_content`, `reasoning` and `reasoning_details`, in place; a message or a delta.

    Mistral sends content as a list of text and thinking parts; others call the text `reasoning` or `reasoning_content`.
    """
    content = message.get("content")
    thought = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(content, list):
        thinking = [part for part in content if isinstance(part, dict) and part.get("type") == "thinking"]
        if thinking:
            thought = "".join(shape.content_text(part.get("thinking")) for part in thinking)
        message["content"] = shape.content_text(content) or None
    if isinstance(thought, str) and thought:
        message["reasoning_content"] = message["reasoning"] = thought
    else:
        message.pop("reasoning_content", None)
        message.pop("reasoning", None)
    if not message.get("reasoning_details", True):
        del message["reasoning_details"]


def _normalize_call(call: Json, *, index: int) -> None:
    call["type"] = call.get("type") or "function"
    call["id"] = call.get("id") or f"call_{index}"
    call.pop("index", None)
    function = call.get("function")
    if isinstance(function, dict):
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # Mistral and some local servers send the object itself
            function["arguments"] = orjson.dumps(arguments).decode()
        elif not arguments:
            function["arguments"] = "{}"


def _why_empty(answer: object, *, endpoint: Endpoint) -> str:
    complaint = complaints.found(answer, provider=endpoint.provider) if isinstance(answer, dict) else None
    if complaint is not None:
        error = failures.in_stream(complaint, endpoint=endpoint)
        return f"{endpoint.provider} answered with an error under status 200: {error.message}"
    return f"{endpoint.provider} answered without choices."
