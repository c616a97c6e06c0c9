"""Check a JSON value against a JSON Schema: the subset that structured outputs and tool parameters use. Pure.

Our own, because the common validators build error trees that nobody reads here and cost far more; a schema is
compiled once into closures and kept by its bytes. Verdicts are three-valued (Kleene): True, False, or None where the
schema uses what is not evaluated here (remote references, conditional keywords, costly patterns) and the rest does
not decide. `format` and other annotations assert nothing, as JSON Schema 2020-12, Validation, section 7.2.1 has it.

The schema and, in part, the value belong to customers: work is bounded by a budget of steps, and patterns run only
where they cost at most the square of a short text.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.json_schema.assertions import Budget, OutOfSteps, Verdict
from gateway.json_schema.compiler import compiled

_MAX_SCHEMA_BYTES: Final = 128 * 1024
# A compiled schema takes up to thirty times its bytes: long ones, which any client can send, are not kept.
_MAX_KEPT_BYTES: Final = 8 * 1024


def check(value: Any, schema: Any) -> Verdict:
    """Return whether decoded JSON conforms to a schema; None when that cannot be said."""
    try:
        source = orjson.dumps(schema)
        if len(source) > _MAX_SCHEMA_BYTES:
            return None
        check_value = compiled(source) if len(source) <= _MAX_KEPT_BYTES else compiled.__wrapped__(source)
        return check_value(value, Budget())
    except (orjson.JSONEncodeError, OutOfSteps, RecursionError):
        return None
