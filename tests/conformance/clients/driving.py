"""What every driver of a foreign client shares: where the gateway is, what is asked, how findings are printed.

A driver runs in its client's own environment, so this needs nothing but the standard library. It prints one JSON
object: for each check what the client understood, or `{"raised": …}` where it refused what we sent. What must be
understood is said by the test that runs it, not here.

Usage: python drive_<client>.py GATEWAY_URL API_KEY MODEL [CHECK …]
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

GATEWAY_URL, API_KEY, MODEL = sys.argv[1:4]
V1 = f"{GATEWAY_URL}/v1"
API_V1 = f"{GATEWAY_URL}/api/v1"
WRONG_KEY = "kr_live_doesnotexist00000000000000"

EMBEDDING_MODEL = "openai/text-embedding-3-small"
UNKNOWN_MODEL = "openai/no-such-model"
HELLO = "Say hello to the neighbours."
ONE_CALL = 'Use get_weather("Paris").'
TWO_CALLS = 'Use get_weather("Paris") and get_weather("Rome").'
BARE_CALL = "Use list_cities()."
PERSON = "Name a person."
# The simulator obeys these marks for test keys.
RATE_LIMITED = "[[fault:429 retry_after=1]]"
BROKEN = "[[fault:500]]"
OVERLOADED = "[[fault:503]]"
TRUNCATED = "Count slowly to forty. [[fault:truncate after_chunks=3]]"

WEATHER_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NOTHING_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
PERSON_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER_SCHEMA}},
    {"type": "function", "function": {"name": "list_cities", "parameters": NOTHING_SCHEMA}},
]

Check = Callable[[], Any]
_checks: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Register a check by its name. It may be a coroutine function."""
    _checks[function.__name__] = function
    return function


def check_tools(called: Callable[[str], Any], streamed: Callable[[str], Any] | None = None) -> None:
    """Register the checks of tools: one call, two at once, one without arguments; whole and streamed."""
    for name, prompt in (("tool", ONE_CALL), ("parallel_tools", TWO_CALLS), ("tool_without_arguments", BARE_CALL)):
        _checks[name] = partial(called, prompt)
        if streamed is not None:
            _checks[f"streamed_{name}"] = partial(streamed, prompt)


def check_failures(ask: Callable[..., Any], *, raised: Callable[[Callable[[], Any]], Any] | None = None) -> None:
    """Register the checks of errors; `ask` takes a prompt, and `model` and `key` where they are wrong."""
    raised = raised or (raised_by_awaiting if inspect.iscoroutinefunction(ask) else raised_by)
    for name, asked in (
        ("unauthorized", partial(ask, HELLO, key=WRONG_KEY)),
        ("unknown_model", partial(ask, HELLO, model=UNKNOWN_MODEL)),
        ("rate_limited", partial(ask, RATE_LIMITED)),
        ("server_error", partial(ask, BROKEN)),
    ):
        _checks[name] = partial(raised, asked)


def streamed_text(chunks: Iterable[Any]) -> dict[str, Any]:
    """Return what was understood of a stream of OpenAI's chunks, as objects."""
    pieces, usage = [], None
    for chunk in chunks:
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        usage = getattr(chunk, "usage", None) or usage
    assert usage is not None, "no chunk had the usage"
    return text("".join(pieces), (usage.prompt_tokens, usage.completion_tokens), pieces=len(pieces))


def streamed_calls(chunks: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the tool calls that a stream of OpenAI's chunks adds up to."""
    parts: dict[int, list[str]] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            for one in choice.delta.tool_calls or ():
                known = parts.setdefault(one.index, ["", "", ""])
                known[0] += one.id or ""
                known[1] += one.function.name or ""
                known[2] += one.function.arguments or ""
    return [call(name, arguments, call_id) for call_id, name, arguments in parts.values()]


def calls_of(message: Any) -> list[dict[str, Any]]:
    """Return the tool calls of an OpenAI message, as an object."""
    return [call(one.function.name, one.function.arguments, one.id) for one in message.tool_calls]


def answered(answer: Any) -> dict[str, Any]:
    """Return what was understood of OpenAI's chat completion, as an object."""
    usage = answer.usage
    return text(answer.choices[0].message.content, (usage.prompt_tokens, usage.completion_tokens))


def said(content: str) -> list[dict[str, str]]:
    """Return a conversation of one message."""
    return [{"role": "user", "content": content}]


def text(content: Any, usage: tuple[Any, Any] | None = None, *, pieces: int | None = None) -> dict[str, Any]:
    """Return what was understood of an answer in words: usage is (input tokens, output tokens)."""
    found = {"text": content}
    if usage is not None:
        found["input_tokens"], found["output_tokens"] = usage
    if pieces is not None:
        found["pieces"] = pieces
    return found


def call(name: Any, arguments: Any, call_id: Any) -> dict[str, Any]:
    """Return what was understood of a tool call; arguments as JSON text or as an object."""
    read = json.loads(arguments) if isinstance(arguments, str) else arguments
    return {"name": name, "arguments": read, "id": call_id}


def raised_by(attempt: Callable[[], Any]) -> dict[str, Any]:
    """Return the class of what an attempt raises, and what it says."""
    try:
        found = attempt()
    except Exception as error:
        return {"type": type(error).__name__, "message": str(error)[:400]}
    return {"type": None, "message": repr(found)[:400]}


async def raised_by_awaiting(attempt: Callable[[], Any]) -> dict[str, Any]:
    """Do the same for a coroutine function."""
    try:
        found = await attempt()
    except Exception as error:
        return {"type": type(error).__name__, "message": str(error)[:400]}
    return {"type": None, "message": repr(found)[:400]}


def main() -> None:
    """Run all registered checks and print what they found."""
    only = set(sys.argv[4:])
    found: dict[str, Any] = {}
    # A provider that asked to wait is left alone by the gateway: nothing can be asked of it after that.
    for name, function in sorted(_checks.items(), key=lambda pair: pair[0] == "rate_limited"):
        if only and name not in only:
            continue
        try:
            result = function()
            found[name] = asyncio.run(result) if inspect.iscoroutine(result) else result
        except Exception as error:
            lines = traceback.format_exc().strip().splitlines()[-12:]
            found[name] = {"raised": f"{type(error).__name__}: {error}"[:600], "where": lines}
    print(json.dumps(found, default=str))
