"""Find the error in an answer or a chunk that came under status 200, wherever the provider put it. Pure.

    {"error": {…}}                              OpenAI and most
    {"error": "…", "code": "…"}                 xAI
    {"object": "error", "message": …, …}        Mistral, vLLM
    {"base_resp": {"status_code": 1002, …}}     MiniMax, 0 where all is well
    {"x_groq": {"error": "…"}}                  Groq, for a stream that it stops

MiniMax, Z.ai and Mistral number their errors; `_STATUSES` says which HTTP status a number stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.providers import quirks

Json = dict[str, Any]

# Sources: the providers' lists of error codes, autumn 2026. A number that is not here is a fault of the provider's.
_STATUSES: Mapping[str, Mapping[str, int]] = {
    quirks.MINIMAX.provider: {
        **dict.fromkeys(("1002", "1039", "1041", "2045", "2056"), 429),
        **dict.fromkeys(("1004", "2049"), 401),
        **dict.fromkeys(("1026", "1027", "2013"), 400),
        "1001": 504,
        "1008": 402,
    },
    quirks.ZAI.provider: {
        **dict.fromkeys(("1302", "1303", "1304", "1308", "1310"), 429),
        **dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), 401),
        **dict.fromkeys(("1210", "1211", "1213", "1214", "1261", "1301"), 400),
        "1113": 402,
        "1305": 503,
        "1312": 503,
    },
    quirks.MISTRAL.provider: {"3505": 429, "1300": 429},
}


def found(answer: Mapping[str, Any], *, provider: str) -> Json | None:
    """Return the error as one object with `message` and, where its number is known, `status_code`; None without one."""
    error = answer.get("error")
    if error:
        fields: Json = dict(error) if isinstance(error, dict) else {"message": str(error), "code": answer.get("code")}
    elif answer.get("object") == "error":
        fields = dict(answer)
    elif "base_resp" in answer:
        state = answer["base_resp"]
        if not isinstance(state, dict) or not state.get("status_code"):
            return None
        fields = {"message": state.get("status_msg") or "", "code": state["status_code"]}
    elif "x_groq" in answer:
        groq = answer["x_groq"]
        if not isinstance(groq, dict) or not groq.get("error"):
            return None
        fields = {"message": str(groq["error"]), "type": str(groq["error"])}
    else:
        return None
    status = _STATUSES.get(provider, {}).get(str(fields.get("code")))
    return fields if status is None else {**fields, "status_code": status}
