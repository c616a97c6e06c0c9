"""What a call may use and cost, estimated before it goes out; and what it used where the provider did not say. Pure.

Input: one token for each 3 bytes of the body. English prose has 4 to 5 bytes a token and JSON around it, code some 3,
Chinese or Japanese 3 bytes a character with about one token each; so the estimate is rather too high. Pictures and
files are counted instead of their base64: 1,600 tokens a picture (what a full-size one costs at Anthropic; OpenAI's
and Google's are in the same range).

Output: what the call allows (`max_tokens` or `max_completion_tokens`, times `n`), else 4,096 tokens, never more than
the model's maximum.

A reservation is the dearest reading of these: input at the price of a cache write where the model has one, output at
the price of reasoning. Settlement replaces it by what the call did cost.

Afterwards the reading is a low one, because it may be billed: 4 bytes a token for what was sent and for what was passed
on, nothing for reasoning that nobody saw, and every class that the provider did report as it was reported.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.catalog.prices import PriceRow
from gateway.context import ChatCall, LazyBody
from gateway.providers.protocol import Usage

BYTES_A_TOKEN: Final = 3
BYTES_A_USED_TOKEN: Final = 4
TOKENS_A_PICTURE: Final = 1600
DEFAULT_OUTPUT_TOKENS: Final = 4096
# A model whose price nobody knows is booked at these: above every model of the catalog.
CEILING_INPUT_NANOUSD_PER_MTOK: Final = 25_000_000_000
CEILING_OUTPUT_NANOUSD_PER_MTOK: Final = 100_000_000_000

EMBEDDINGS: Final = "embeddings"
_MILLION: Final = 1_000_000
_MOST_TOKENS: Final = 10_000_000
_MEDIA: Final = (b"base64,", b'"base64"', b'"file_data"', b'"image_url"', b'"input_audio"', b'"input_image"')


def input_tokens(call: ChatCall) -> int:
    """Return the estimate for the prompt."""
    raw, body = call.raw, call.body
    # A plain body holds texts and nothing else: most calls are not searched for pictures.
    if not (type(body) is LazyBody and body.is_plain) and any(mark in raw for mark in _MEDIA):
        text, pictures = _weigh(body)
        return text // BYTES_A_TOKEN + pictures * TOKENS_A_PICTURE + 1
    return len(raw) // BYTES_A_TOKEN + 1


def output_tokens(call: ChatCall, most: int | None) -> int:
    """Return the most that the answer may have; `most` is the model's maximum where it is known."""
    if call.operation == EMBEDDINGS:
        return 0
    asked = call.output_tokens
    if asked is None:
        asked = _asked(call)
    choices = max(1, asked % _CHOICES)
    each = asked // _CHOICES or DEFAULT_OUTPUT_TOKENS
    if most is not None and each > most:
        each = most
    return min(each * choices, _MOST_TOKENS)


_CHOICES: Final = 1024


def output_bound(max_tokens: int | None, choices: int | None) -> int:
    """Return what a call says of its answer's length as `ChatCall.output_tokens` holds it: one number for both.

    Nonsense (nothing, less than one) counts as not said; the provider will refuse it.
    """
    tokens = max_tokens if max_tokens is not None and max_tokens > 0 else 0
    count = choices if choices is not None and choices > 0 else 1
    return min(tokens, _MOST_TOKENS) * _CHOICES + min(count, _CHOICES - 1)


def reservation(input_estimate: int, output_estimate: int, row: PriceRow | None) -> int:
    """Return nano-USD for a call of this size by this row, rounded up; by the ceiling prices where there is none."""
    input_estimate, output_estimate = max(0, input_estimate), max(0, output_estimate)
    if row is None or (output_estimate and not row.has_output_price):
        exact = input_estimate * CEILING_INPUT_NANOUSD_PER_MTOK + output_estimate * CEILING_OUTPUT_NANOUSD_PER_MTOK
        return -(-exact // _MILLION)
    rates = row.rates if input_estimate <= row.first_tier else row.rates_for(input_estimate)
    exact = (
        input_estimate * max(rates.input, rates.cache_write)
        + output_estimate * max(rates.output, rates.reasoning)
        + row.per_million_requests
    )
    return -(-exact // _MILLION)


def used(call: ChatCall, bytes_said: int, known: Usage | None) -> Usage | None:
    """Return what a call used whose provider reported nothing, or only what it had used by then (`known`).

    None where nothing was passed on and nothing is known: then there is nothing to go by.
    """
    if known is None:
        if bytes_said <= 0:
            return None
        return Usage(
            input_tokens=max(1, input_tokens(call) * BYTES_A_TOKEN // BYTES_A_USED_TOKEN),
            output_tokens=_tokens_said(bytes_said),
            is_reported=False,
        )
    output = max(known.output_tokens, known.reasoning_tokens + _tokens_said(bytes_said))
    return msgspec.structs.replace(known, output_tokens=output, is_reported=False)


def _tokens_said(count: int) -> int:
    return -(-count // BYTES_A_USED_TOKEN)


def _asked(call: ChatCall) -> int:
    """Return the bound of a call whose reader did not note it."""
    tokens = call.body.get("max_completion_tokens") or call.body.get("max_tokens")
    choices = call.body.get("n")
    return output_bound(
        tokens if type(tokens) is int else None,
        choices if type(choices) is int else None,
    )


def _weigh(value: Any, *, depth: int = 0) -> tuple[int, int]:
    """Return the bytes of text and the number of pictures and files in a decoded body."""
    if type(value) is str:
        if len(value) > 256 and (value.startswith("data:") or _looks_encoded(value)):
            return 0, 1
        return len(value.encode()) + 4, 0
    if depth > 64:
        return 0, 0
    text = pictures = 0
    if type(value) is list:
        children = value
    elif hasattr(value, "items"):
        children = [child for name, child in value.items() if name != "image_url"]
        text += sum(len(name) + 4 for name in value)
        pictures += "image_url" in value
    else:
        return 8, 0
    for child in children:
        more_text, more_pictures = _weigh(child, depth=depth + 1)
        text, pictures = text + more_text, pictures + more_pictures
    return text, pictures


def _looks_encoded(value: str) -> bool:
    """Return whether a long text is base64: no space or line break in its first 256 characters."""
    head = value[:256]
    return head.isascii() and not any(letter in head for letter in " \n\t")
