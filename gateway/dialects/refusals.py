"""From the typed decoder's words to ours: which field is wrong and what it must be. Pure.

Nothing of the body itself is repeated but field names.
"""

from __future__ import annotations

import re

from gateway import errors

MAX_DEPTH = 64

_EXPECTED = {
    "model": "the name of a model, or `auto`",
    "messages": "a list with at least one message",
    "messages[].role": "one of system, developer, user, assistant or tool",
    "messages[].content": "a string or a list of parts",
    "stop": "a string or a list of strings",
    "tool_choice": "a string or an object",
    "kairosroute.quality_bar": "a number from 0 to 1",
    "kairosroute.max_cost_usd": "a number of US dollars",
    "kairosroute.explain": "`none`, `summary` or `full`",
    "kairosroute.run_budget": "a number of US dollars, or an object with `max_cost_usd` and `on_exceed`",
    "kairosroute.run_budget.on_exceed": "`stop` or `downgrade`",
}
_TYPE_WORDS = {
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "str": "a string",
    "array": "a list",
    "object": "an object",
}
_PATH = re.compile(r" - at `\$\.?(.*?)`$")
_TYPE = re.compile(r"Expected `([a-z]+)")
_MISSING = re.compile(r"missing required field `(\w+)`")
_UNKNOWN = re.compile(r"unknown field `(.*?)`")
_INDEX = re.compile(r"\[(\d+|\.\.\.)\]")
_POSITION = re.compile(r"\(byte (\d+)\)")


def wrong(message: str) -> errors.InvalidRequest:
    """Return what to say of a body that the decoder refused."""
    missing = _MISSING.search(message)
    path = _PATH.search(message)
    where = path[1] if path else ""
    name = where
    if missing:
        name = f"{where}.{missing[1]}" if where else missing[1]
    if not name:
        return errors.InvalidRequest("The body must be a JSON object.", code="invalid_json")
    code = f"missing_{missing[1]}" if missing and not where else "invalid_type"
    if name == "messages" and "length" in message:
        code = "missing_messages"
    if name.endswith("].role"):
        code = "invalid_role"
    return errors.InvalidRequest(f"`{name}` must be {_expected(name, message)}.", param=name, code=code)


def wrong_option(message: str, *, options: str) -> errors.InvalidRequest:
    """Return what to say of our own options; `options` lists their names."""
    path = _PATH.search(message)
    where = f"kairosroute.{path[1]}" if path and path[1] else "kairosroute"
    unknown = _UNKNOWN.search(message)
    if unknown:
        return errors.InvalidRequest(
            f"`{where}.{unknown[1][:64]}` is not an option. Options are: {options}.",
            param=f"{where}.{unknown[1][:64]}",
            code="unknown_option",
        )
    return errors.InvalidRequest(f"`{where}` must be {_expected(where, message)}.", param=where, code="invalid_type")


def not_json(message: str, raw: bytes) -> errors.InvalidRequest:
    """Return what to say of a body that is no JSON."""
    if not raw:
        return errors.InvalidRequest("The request has no body. Send a JSON object.", code="invalid_json")
    if "recursion" in message.lower():
        return too_deep()
    position = _POSITION.search(message)
    where = f" (byte {position[1]})" if position else ""
    return errors.InvalidRequest(f"The body is not valid JSON{where}.", code="invalid_json")


def too_deep() -> errors.InvalidRequest:
    """Return what to say of a body that nests too deep."""
    return errors.InvalidRequest(f"The JSON body nests deeper than {MAX_DEPTH} levels.", code="json_too_deep")


def _expected(name: str, message: str) -> str:
    known = _EXPECTED.get(_INDEX.sub("[]", name))
    if known:
        return known
    found = _TYPE.search(message)
    return _TYPE_WORDS.get(found[1], "of another type") if found else "of another type"
