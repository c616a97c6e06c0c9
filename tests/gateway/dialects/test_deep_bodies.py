"""A body that nests too deep is the client's fault in every dialect, wherever it nests."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway import errors
from gateway.dialects.anthropic import ANTHROPIC
from gateway.dialects.completions import COMPLETIONS
from gateway.dialects.embeddings import EMBEDDINGS
from gateway.dialects.openai import OPENAI
from gateway.dialects.protocol import Dialect
from gateway.dialects.responses import RESPONSES

SAID = [{"role": "user", "content": "hi"}]
BODIES: list[tuple[Dialect, dict[str, Any]]] = [
    (OPENAI, {"messages": SAID}),
    (ANTHROPIC, {"messages": SAID, "max_tokens": 1}),
    (RESPONSES, {"input": "hi"}),
    (COMPLETIONS, {"prompt": "hi"}),
    (EMBEDDINGS, {"input": "hi"}),
]


@pytest.mark.parametrize("depth", [70, 260, 1000, 1100, 20_000])
@pytest.mark.parametrize("bracket", [b"[]", b'{"a":}'])
@pytest.mark.parametrize(("dialect", "body"), BODIES, ids=[dialect.name for dialect, _ in BODIES])
def test_a_body_that_nests_too_deep_is_refused(
    dialect: Dialect, body: dict[str, Any], bracket: bytes, depth: int
) -> None:
    nested = bracket[:-1] * depth + b"1" + bracket[-1:] * depth
    raw = orjson.dumps({**body, "model": "m", "tools": [{"type": "function", "name": "f"}], "more": 0})
    for place in (b'"more":0', b'"name":"f"'):
        name = place.partition(b":")[0]
        with pytest.raises(errors.InvalidRequest) as caught:
            dialect.parse(raw.replace(place, name + b":" + nested), {}, is_test=False)
        # The decoder itself gives up at 1,024 levels, and takes that for bad JSON.
        assert caught.value.code in ({"json_too_deep"} if depth <= 1000 else {"json_too_deep", "invalid_json"})
