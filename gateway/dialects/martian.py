"""What Martian's clients send beside OpenAI's fields. Pure."""

from __future__ import annotations

from typing import Any

from gateway.dialects import values
from gateway.dialects.rows import Row, honoured, not_applied, prefers
from gateway.dialects.wishes import Wishes
from gateway.preferences import MaxPrice


def _price(wishes: Wishes, value: Any) -> None:
    bound = values.nanousd(value)
    wishes.prefer(max_price=MaxPrice(prompt_nanousd_per_mtok=bound, completion_nanousd_per_mtok=bound))


FIELDS: dict[str, Row] = {
    "max_cost": honoured("the most that the call may cost, in US dollars", prefers("max_cost_nanousd", values.nanousd)),
    "max_cost_per_million_tokens": honoured("the most for a million tokens, in or out, in US dollars", _price),
    "willingness_to_pay": not_applied("say `kairosroute.quality_bar` instead: our router takes a bar, not a price"),
}
