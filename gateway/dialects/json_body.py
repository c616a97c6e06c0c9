"""Read the fields of a JSON body that a dialect translates, with errors that name the field. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.dialects import refusals
from gateway.dialects.refusals import MAX_DEPTH
from gateway.errors import InvalidRequest

Json = dict[str, Any]


def decode(raw: bytes) -> Json:
    """Return the body.

    Raises:
        InvalidRequest: it is no JSON object.
    """
    if not raw:
        raise InvalidRequest("The request has no body. Send a JSON object.", code="invalid_json")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON (character {error.pos}).", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    require_shallow(raw, body)
    return body


def require_shallow(raw: bytes, body: Json | None = None) -> None:
    """Return if a body nests no deeper than is read and written everywhere; `body` is it decoded, where it is.

    Raises:
        InvalidRequest: it does.
    """
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_too_deep(raw, body):
        raise refusals.too_deep()


def _is_too_deep(raw: bytes, body: Json | None) -> bool:
    """Walk level by level: each round replaces the containers of one level by those inside them."""
    try:
        level: list[Any] = [orjson.loads(raw) if body is None else body]
    except orjson.JSONDecodeError:
        return True
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for container in level:
            values = container.values() if type(container) is dict else container
            inner += [value for value in values if type(value) is dict or type(value) is list]
        if not inner:
            return False
        level = inner
    return True


def wrong(param: str, expected: str) -> InvalidRequest:
    """Return the error of a field that is something else than `expected`."""
    return InvalidRequest(f"`{param}` must be {expected}.", param=param, code="invalid_type")


def model(body: Mapping[str, Any]) -> str:
    """Return the model's name. Raises `InvalidRequest` where it is missing."""
    name = body.get("model")
    if name is None or name == "":
        raise InvalidRequest("`model` is missing: name a model, or `auto`.", param="model", code="missing_model")
    if not isinstance(name, str):
        raise wrong("model", "the name of a model, or `auto`")
    return name


def text(value: Any, param: str) -> str:
    """Return a string. Raises `InvalidRequest` for anything else."""
    if not isinstance(value, str):
        raise wrong(param, "a string")
    return value


def mapping(value: Any, param: str) -> Json:
    """Return an object. Raises `InvalidRequest` for anything else."""
    if not isinstance(value, dict):
        raise wrong(param, "an object")
    return value


def items(value: Any, param: str) -> list[Any]:
    """Return a list. Raises `InvalidRequest` for anything else."""
    if not isinstance(value, list):
        raise wrong(param, "a list")
    return value


def optional(body: Mapping[str, Any], name: str, kind: type | tuple[type, ...], expected: str) -> Any:
    """Return a field that may be missing or null, None then. Raises `InvalidRequest` for another type."""
    value = body.get(name)
    is_bool = isinstance(value, bool)
    if value is None or (isinstance(value, kind) and (not is_bool or kind is bool)):
        return value
    raise wrong(name, expected)
