"""OpenAI's legacy completions as a dialect: one prompt becomes one user message, its answer a `text_completion`. Pure.

Wire format: OpenAI API reference, "Completions (legacy)". What a chat model cannot do (insert before a suffix, choose
the best of several, echo the prompt) is refused; token log-probabilities are left out and named in the receipt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway import errors
from gateway.context import ChatCall
from gateway.dialects import chat_body, json_body
from gateway.dialects.openai import OPENAI, OPENROUTER
from gateway.dialects.protocol import Dialect, Facts, StreamWriter
from gateway.native import NativeEvents
from gateway.providers import shape
from gateway.providers.protocol import Completion
from gateway.sse import DONE

Json = dict[str, Any]

NAME = "completions"
_UNSAYABLE = {
    "suffix": "text cannot be inserted before a suffix: chat models answer, they do not insert",
    "echo": "put the prompt before the answer yourself",
    "best_of": "ask for `n` answers and choose one",
}
_HARMLESS = {"suffix": (None, ""), "echo": (None, False), "best_of": (None, 1), "logprobs": (None, False)}


class Completions:
    """`POST /v1/completions`; errors are told as `base` does it."""

    name = NAME
    is_passed_through = False

    def __init__(self, base: Dialect) -> None:
        self._base = base

    def parse(self, raw: bytes, headers: Mapping[bytes, bytes], *, is_test: bool) -> ChatCall:
        """Return the call.

        Raises:
            errors.InvalidRequest: several prompts, a prompt of tokens, or a field that a chat model cannot honour.
        """
        body = json_body.decode(raw)
        json_body.model(body)
        for name, why in _UNSAYABLE.items():
            if body.get(name) not in _HARMLESS[name]:
                raise errors.InvalidRequest(
                    f"`{name}` is not supported here: {why}.", param=name, code="unsupported_parameter"
                )
        canonical = {name: value for name, value in body.items() if name not in (*_HARMLESS, "prompt")}
        canonical["messages"] = [{"role": "user", "content": _prompt(body.get("prompt"))}]
        call = chat_body.parse_chat(orjson.dumps(canonical), headers, is_test=is_test, dialect=self.name)
        call.operation = "text_completion"
        if body.get("logprobs") not in _HARMLESS["logprobs"]:
            call.not_applied += ("logprobs",)
        return call

    def answer(self, call: ChatCall, completion: Completion, facts: Facts) -> bytes:
        """Return a text completion object."""
        choices = [
            _choice(choice["index"], _said(choice["message"]), choice["finish_reason"])
            for choice in completion.body["choices"]
        ]
        return orjson.dumps(
            {
                **_head(facts),
                "choices": choices,
                "usage": facts.usage,
                **facts.additions,
            }
        )

    def writer(self, call: ChatCall, facts: Facts, native: NativeEvents | None = None) -> StreamWriter:
        """Return a writer of text completion chunks."""
        return _Writer(call, facts, self)

    def error(self, error: errors.GatewayError, request_id: str) -> bytes:
        """Return the error object of OpenAI or OpenRouter."""
        return self._base.error(error, request_id)

    def status(self, error: errors.GatewayError) -> int:
        """Return the error's own status."""
        return self._base.status(error)

    def headers(self, request_id: str) -> bytes:
        """Return none."""
        return b""


class _Writer:
    __slots__ = ("_call", "_dialect", "_head")

    def __init__(self, call: ChatCall, facts: Facts, dialect: Completions) -> None:
        self._call = call
        self._dialect = dialect
        self._head = _head(facts)

    def feed(self, events: bytes) -> bytes:
        said = []
        for line in events.split(b"\n"):
            if not line.startswith(b"data: {"):
                continue
            for choice in orjson.loads(line[6:]).get("choices") or ():
                text, finish = _said(choice.get("delta") or {}), choice.get("finish_reason")
                if text or finish:
                    said.append(shape.event({**self._head, "choices": [_choice(choice["index"], text, finish)]}))
        return b"".join(said)

    def end(self, error: errors.GatewayError | None, facts: Facts) -> bytes:
        last: Json = {**self._head, "usage": facts.usage, **facts.additions}
        last["choices"] = [] if self._call.wants_usage else [_choice(0, "", None)]
        if error is None:
            return shape.event(last) + DONE
        told = orjson.loads(self._dialect.error(error, facts.request_id))["error"]
        broken = {**self._head, "choices": [_choice(0, "", "error")], "error": told}
        return shape.event(broken) + shape.event(last) + DONE


def _prompt(given: Any) -> str:
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if isinstance(given, str) and given:
        return given
    if isinstance(given, list) and len(given) > 1 and all(isinstance(prompt, str) for prompt in given):
        raise errors.InvalidRequest(
            f"`prompt` holds {len(given)} prompts. Send one call for each.", param="prompt", code="several_prompts"
        )
    raise json_body.wrong("prompt", "a text, or a list with one text; token numbers mean another thing to each model")


def _head(facts: Facts) -> Json:
    return {
        "id": facts.answer_id,
        "object": "text_completion",
        "created": facts.created,
        "model": facts.model,
        "provider": facts.provider,
        "system_fingerprint": "",
    }


def _choice(index: int, text: str, finish: str | None) -> Json:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _said(message: Mapping[str, Any]) -> str:
    return shape.content_text(message.get("content")) or message.get("refusal") or ""


COMPLETIONS: Dialect = Completions(OPENAI)
OPENROUTER_COMPLETIONS: Dialect = Completions(OPENROUTER)
