"""Decide what a simulated model answers: one message, its finish reason and its usage. Pure and deterministic.

The same body, model and seed give the same answer. How it travels is `transmission`'s business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from gateway.providers import fields, shape
from gateway.providers.protocol import Usage
from gateway.providers.simulator import faults, json_values, prose, strength, tokens, tools

Json = dict[str, Any]

HIDDEN_REASONING_TOKENS = 64  # what a reasoning model thinks unasked, without showing it
MAX_CHOICES = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer of the model. Reasoning tokens without a reasoning text are hidden ones."""

    content: str | None = None
    refusal: str | None = None
    reasoning: str = ""
    tool_calls: tuple[Json, ...] = ()
    finish_reason: str = "stop"
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def message(self) -> Json:
        """Return the choice as a message of a completion."""
        message: Json = {"role": "assistant", "content": self.content, "refusal": self.refusal}
        if self.reasoning:
            message |= shape.reasoning(self.reasoning, [])
        if self.tool_calls:
            message["tool_calls"] = list(self.tool_calls)
        return message


@dataclass(frozen=True, slots=True)
class Answer:
    """All choices of a call and what they used. `fingerprint` is a hash of the input: ids are made from it."""

    model: str
    fingerprint: str
    choices: tuple[Choice, ...]
    usage: Usage
    first_token_seconds: float
    seconds_per_token: float
    service_tier: str = "default"
    prompt: str = field(repr=False, default="")


def compose(body: Mapping[str, Any], *, model: str, fault: faults.Fault) -> Answer:
    """Return the answer of a model to a canonical body. `model` sets the strength; it need not be the body's."""
    fingerprint = _fingerprint(body, model)
    rng = Random(fingerprint)  # noqa: S311 - reproducible, not secret
    able = strength.of(model)
    prompt = _last_said(body)
    wanted = body.get("n")
    count = min(wanted, MAX_CHOICES) if isinstance(wanted, int) and wanted > 1 else 1
    choices = tuple(
        _choice(body, prompt=prompt, able=able, rng=rng, fault=fault, ids=f"{fingerprint[:12]}{index or ''}")
        for index in range(count)
    )
    input_tokens, read, written = tokens.of_prompt(body)
    output = sum(choice.output_tokens for choice in choices)
    reasoning = sum(choice.reasoning_tokens for choice in choices)
    tier = body.get("service_tier")
    jitter = rng.lognormvariate(0, 0.25)
    # A cached prefix is not read again, so the first token comes sooner.
    wait = able.first_token_seconds * jitter * (1 - 0.5 * read / max(1, input_tokens)) + input_tokens / 20_000
    return Answer(
        model=model,
        fingerprint=fingerprint,
        choices=choices,
        usage=Usage(
            input_tokens=input_tokens,
            cached_read_tokens=read,
            cache_write_tokens=written,
            output_tokens=output,
            reasoning_tokens=reasoning,
        ),
        first_token_seconds=wait + reasoning / able.tokens_per_second,
        seconds_per_token=jitter / able.tokens_per_second,
        service_tier=tier if isinstance(tier, str) and tier != "auto" else "default",
        prompt=prompt,
    )


def _fingerprint(body: Mapping[str, Any], model: str) -> str:
    deciding = {
        name: value
        for name, value in body.items()
        if name not in ("stream", "stream_options", "user", "metadata", "model")
    }
    written = orjson.dumps([model, deciding], option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.blake2b(written, digest_size=16).hexdigest()


def _last_said(body: Mapping[str, Any]) -> str:
    for message in reversed(body.get("messages") or []):
        if isinstance(message, dict) and message.get("role") == "user":
            return shape.content_text(message.get("content"))
    return ""


def _choice(
    body: Mapping[str, Any], *, prompt: str, able: strength.Strength, rng: Random, fault: faults.Fault, ids: str
) -> Choice:
    flaw = rng.random()  # drawn always, so that a fault does not change the rest of the answer
    has_flaws = fault.kind == "flaws"
    if fault.kind == "empty":
        return Choice(content="")
    if fault.kind == "refuse" or (has_flaws and flaw < able.refusal_rate):
        return _limited(body, Choice(refusal=prose.REFUSAL), prompt=prompt, able=able, rng=rng)
    wanted = body.get("mock_response")
    if isinstance(wanted, str):  # the client says itself what is to be answered
        return _limited(body, Choice(content=wanted), prompt=prompt, able=able, rng=rng)
    is_wrong = has_flaws and flaw > 1 - able.wrong_arguments_rate
    calls = tools.calls(body, prompt=prompt, rng=rng, call_ids=ids, is_wrong=is_wrong)
    if calls:
        answered = Choice(tool_calls=tuple(calls), finish_reason="tool_calls")
        return _limited(body, answered, prompt=prompt, able=able, rng=rng)
    is_broken = has_flaws and flaw > 1 - able.invalid_json_rate
    text = _json_text(body, prompt=prompt, rng=rng, is_broken=is_broken)
    if text is None:
        results = _tool_results(body)
        text = prose.about_results(results) if results else prose.answer(prompt, rng=rng, sentences=_length(able, rng))
        text = _stopped(text, body.get("stop"))
    return _limited(body, Choice(content=text), prompt=prompt, able=able, rng=rng)


def _length(able: strength.Strength, rng: Random) -> int:
    return max(1, round(able.sentences * rng.uniform(0.6, 1.4)))


def _tool_results(body: Mapping[str, Any]) -> list[str]:
    results: list[str] = []
    for message in reversed(body.get("messages") or []):
        if not isinstance(message, dict) or message.get("role") != "tool":
            break
        results.append(shape.content_text(message.get("content")))
    return results[::-1]


def _json_text(body: Mapping[str, Any], *, prompt: str, rng: Random, is_broken: bool) -> str | None:
    """Return the answer as JSON text where `response_format` asks for it, else None."""
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema" and isinstance(wanted, dict):
        made = json_values.generate(
            (wanted.get("json_schema") or {}).get("schema") or {"type": "object"},
            hints=json_values.Hints(prompt),
            rng=rng,
        )
    elif kind == "json_object":
        made = {"simulated": True, "answer": prose.answer(prompt, rng=rng, sentences=1)}
    else:
        return None
    text = orjson.dumps(made).decode()
    return text[: max(1, len(text) * 2 // 3)] if is_broken else text


def _stopped(text: str, stop: object) -> str:
    words = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    places = [text.find(word) for word in words if isinstance(word, str) and word]
    return text[: min((place for place in places if place >= 0), default=len(text))]


def _limited(body: Mapping[str, Any], choice: Choice, *, prompt: str, able: strength.Strength, rng: Random) -> Choice:
    """Add the reasoning and cut what does not fit into `max_tokens`."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    limit = limit if isinstance(limit, int) and limit > 0 else 10**9
    wish = fields.reasoning(body)
    thought, hidden = "", 0
    if wish is not None and not wish.is_off:
        sentences = 1 + wish.budget_tokens() // 2048
        thought = tokens.cut(prose.thought(prompt, rng=rng, sentences=sentences), min(limit // 2, wish.budget_tokens()))
        if wish.is_hidden:
            hidden, thought = tokens.count(thought), ""
    elif wish is None and able.is_reasoning:
        hidden = min(HIDDEN_REASONING_TOKENS, limit // 4)
    reasoning = tokens.count(thought) + hidden
    room = limit - reasoning
    calls = choice.tool_calls
    said = choice.content if choice.content is not None else choice.refusal or ""
    size = tokens.count(orjson.dumps(calls).decode()) if calls else tokens.count(said)
    finish = choice.finish_reason
    if size > room:
        finish, size = "length", room
        if calls:  # a call that does not fit is cut in its arguments, as providers do
            function = calls[0]["function"]
            short = tokens.cut(function["arguments"], max(0, room - tokens.count(function["name"])))
            calls = ({**calls[0], "function": {**function, "arguments": short}},)
        else:
            said = tokens.cut(said, room)
            size = tokens.count(said)
    return Choice(
        content=None if calls or choice.refusal is not None else said,
        refusal=said if choice.refusal is not None else None,
        reasoning=thought,
        tool_calls=calls,
        finish_reason=finish,
        output_tokens=size + reasoning,
        reasoning_tokens=reasoning,
    )
