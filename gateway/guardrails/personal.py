"""Built-in detectors of personal data and secrets. Pure.

Each looks for a shape first and then checks what a shape cannot say (a check digit), so that an order number is not
taken for a card. They are made to be cheap and to err on the side of leaving text alone: a safety net, not a promise.
Check digits: cards ISO/IEC 7812-1 annex B (Luhn), IBAN ISO 13616 (ISO 7064 MOD 97-10).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gateway.guardrails.protocol import Detector


def _always(_: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Pattern:
    """A shape, and a check of what it matched. Texts without any of `hints` are not searched."""

    category: str
    title: str
    shape: re.Pattern[str]
    hints: tuple[str, ...] = ()
    is_real: Callable[[str], bool] = field(default=_always, repr=False)

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where each finding starts and ends."""
        if self.hints and not any(hint in text for hint in self.hints):
            return
        for match in self.shape.finditer(text):
            if self.is_real(match.group()):
                yield match.span()


def _is_card(text: str) -> bool:
    digits = [int(letter) for letter in text if letter.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6):
        return False
    doubled = (sum(divmod(digit * 2, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    compact = text.replace(" ", "").upper()
    moved = compact[4:] + compact[:4]
    return 15 <= len(compact) <= 34 and int("".join(str(int(letter, 36)) for letter in moved)) % 97 == 1


def _is_phone(text: str) -> bool:
    return 8 <= sum(letter.isdigit() for letter in text) <= 15


def _is_social_security(text: str) -> bool:
    area, group, serial = text[:3], text[4:6], text[7:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


DETECTORS: tuple[Detector, ...] = (
    Pattern(
        "secret",
        "secret key",
        re.compile(
            r"\b(?:sk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{20,}|kr_(?:live|test)_[A-Za-z0-9]{16,}|AKIA[0-9A-Z]{16}"
            r"|gh[pousr]_[A-Za-z0-9]{36,}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35})\b"
            r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]{1,8000}-----END [A-Z ]{0,20}PRIVATE KEY-----"
        ),
        ("sk-", "kr_", "AKIA", "gh", "xox", "AIza", "PRIVATE KEY"),
    ),
    Pattern(
        "email",
        "e-mail address",
        re.compile(r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}\b"),
        ("@",),
    ),
    Pattern("card", "card number", re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])"), is_real=_is_card),
    Pattern(
        "iban",
        "bank account (IBAN)",
        re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
        is_real=_is_iban,
    ),
    Pattern(
        "ssn",
        "US social security number",
        re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"),
        ("-",),
        _is_social_security,
    ),
    Pattern(
        "phone",
        "phone number",
        re.compile(
            r"(?<![\w+.-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?|\(\d{3}\)[ .-]?)\d(?:[ .-]?\d){5,12}(?![\w-])"
        ),
        ("+", "("),
        _is_phone,
    ),
)
