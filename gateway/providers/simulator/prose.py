"""Write the simulator's words: plainly marked, about the prompt's own subject, as long as the model is strong. Pure."""

from __future__ import annotations

import re
from random import Random

MARK = "[simulated]"
REFUSAL = f"{MARK} I can't help with that request."

_SAY = re.compile(
    r"(?:reply|answer|respond|say|repeat|echo|return)(?: with)?(?: only| exactly| just)*"
    r"(?: the (?:word|text|sentence))?"
    r":?\s*[\"“'‘`]([^\"”'’`]{1,500})[\"”'’`]",  # noqa: RUF001 - typographic quotes are meant
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_][\w'-]{3,}")
_COMMON = frozenset(
    """
    about above after again also because been before being between both could does doing down during
    each from further have having here into itself just more most other over please same should some
    such than that their theirs them then there these they this those through under until very want were
    what when where which while whom will with would your yours
    """.split()  # noqa: SIM905 - a list of words reads better as text
)
_SENTENCES = (
    "The question comes down to {a}.",
    "Start with {a}, then look at how it depends on {b}.",
    "{A} matters more here than {b} does.",
    "Two things decide it: {a} and {b}.",
    "Where {a} is uncertain, check {b} first, because that is the cheaper test.",
    "A plain way to see this is to compare {a} before and after a change of {b}.",
    "If {b} stays as it is, {a} can be settled without further data.",
    "Most mistakes with {a} come from leaving {b} out.",
    "In short, keep {a} small and write {b} down.",
)


def answer(prompt: str, *, rng: Random, sentences: int) -> str:
    """Return an answer in words to a prompt; a text that the prompt asks to be said is said."""
    asked = _SAY.search(prompt)
    if asked:
        return f"{MARK} {asked[1]}"
    subjects = _subjects(prompt)
    said = [MARK]
    for _ in range(sentences):
        first, second = rng.choice(subjects), rng.choice(subjects)
        said.append(rng.choice(_SENTENCES).format(a=first, b=second, A=first[:1].upper() + first[1:]))
    return " ".join(said)


def about_results(results: list[str]) -> str:
    """Return an answer that reports what the tools returned."""
    told = "; ".join(" ".join(result.split())[:200] or "nothing" for result in results)
    return f"{MARK} The tool returned: {told}."


def thought(prompt: str, *, rng: Random, sentences: int) -> str:
    """Return reasoning text."""
    return answer(f"simulated reasoning {prompt}"[:400], rng=rng, sentences=sentences).replace(
        MARK, f"{MARK} Thinking:", 1
    )


def pieces(text: str, *, rng: Random) -> list[str]:
    """Cut a text into what a provider would stream: pieces of one to three words whose join is the text."""
    words = re.findall(r"\s*\S+|\s+$", text)
    cut: list[str] = []
    position = 0
    while position < len(words):
        size = rng.randint(1, 3)
        cut.append("".join(words[position : position + size]))
        position += size
    return cut


def _subjects(prompt: str) -> list[str]:
    seen = dict.fromkeys(word.lower() for word in _WORD.findall(prompt[:4000]) if word.lower() not in _COMMON)
    return list(seen)[:24] or ["the request", "its context"]
