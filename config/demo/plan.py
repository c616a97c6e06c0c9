"""Who calls when and with what: the invented traffic of the demo organization, reproducible from a seed. Pure.

All names, numbers and texts are made up. Times are seconds since the Unix epoch, UTC.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

HOUR_S = 3600
# Share of calls that a provider fails; real providers are a little better.
_FAULTS = (("503", 0.004), ("429", 0.003), ("500", 0.001), ("disconnect", 0.0015))
_SUBJECTS = (
    "the spring order",
    "a late parcel",
    "the annual plan",
    "a broken hinge",
    "the second invoice",
    "an address",
)
_CITIES = ("Oslo", "Lyon", "Porto", "Graz", "Ghent", "Turku", "Cork", "Brno")

_RULES = (
    "Chairs and tables leave the workshop on Tuesdays and arrive within six days.",
    "A return is free for thirty days if the legs were not mounted.",
    "Scratches are mended on the spot or the piece is exchanged.",
    "Invoices are due after fourteen days and name every part on a line of its own.",
    "Oak is oiled twice, ash once, and birch is left as it is.",
    "Whoever answers a customer names the next step and the day of it.",
)
_TEXT = "\n".join(f"{number}. {_RULES[number % len(_RULES)]}" for number in range(600))

_INVOICE_SCHEMA = {
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "supplier": {"type": "string"},
        "currency": {"type": "string", "enum": ["EUR", "USD", "GBP"]},
        "total_cents": {"type": "integer"},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "amount_cents": {"type": "integer"}},
                "required": ["text", "amount_cents"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["number", "supplier", "currency", "total_cents", "lines"],
    "additionalProperties": False,
}
_LABEL_SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["billing", "delivery", "returns", "other"]}},
    "required": ["label"],
    "additionalProperties": False,
}
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "description": "Find an order by its number.",
            "parameters": {
                "type": "object",
                "properties": {"number": {"type": "string"}, "city": {"type": "string"}},
                "required": ["number"],
                "additionalProperties": False,
            },
        },
    }
]


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of call. `reads` is how many characters of text come with it, give or take a half.

    `extra` goes into the request body; `rated` is the share of calls that get feedback.
    """

    name: str
    weight: float
    prompt: str
    reads: int
    streams: float = 0.0
    rated: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Agent:
    """A program of the organization: its share of the calls and its tasks. `works_at_night` has no office hours."""

    name: str
    feature: str
    share: float
    tasks: tuple[Task, ...]
    users: int
    works_at_night: bool = False


def _schema(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


AGENTS = (
    Agent(
        "support-agent",
        "help-desk",
        0.45,
        (
            Task(
                "support_reply",
                0.5,
                "A customer in {city} asks about {subject}. Write a short, kind answer.",
                4000,
                0.8,
                0.6,  # enough verdicts for the experiment on it, also when its days fall on a weekend
            ),
            Task(
                "classification",
                0.3,
                "Label this message: {subject} went to {city} by mistake.",
                600,
                extra={"response_format": _schema("label", _LABEL_SCHEMA)},
            ),
            Task(
                "tool_calling",
                0.2,
                "Where is order {number}? Use find_order.",
                1500,
                rated=0.1,
                extra={"tools": _TOOLS},
            ),
        ),
        users=400,
    ),
    Agent(
        "invoice-reader",
        "accounts-payable",
        0.25,
        (
            Task(
                "extraction",
                1.0,
                "Read invoice {number} from the supplier in {city}: {subject}, three lines, total 412.50.",
                5000,
                rated=0.08,
                extra={"response_format": _schema("invoice", _INVOICE_SCHEMA)},
            ),
        ),
        users=12,
        works_at_night=True,
    ),
    Agent(
        "research-agent",
        "weekly-brief",
        0.2,
        (
            Task(
                "summarization",
                0.75,
                "Summarize what the {city} team wrote about {subject} in five sentences.",
                24000,
                0.3,
                0.2,
            ),
            Task(
                "analysis",
                0.25,
                "Compare how {city} and the other towns handle {subject}. Give reasons.",
                9000,
                0.6,
                0.1,
            ),
        ),
        users=40,
        works_at_night=True,
    ),
    Agent(
        "code-reviewer",
        "pull-requests",
        0.1,
        (
            Task(
                "code",
                1.0,
                "Review the change that renames {subject} in module {number}. List the risks.",
                12000,
                0.9,
                0.15,
            ),
        ),
        users=25,
    ),
)


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call before it is made. `chance` (0..1) decides what depends on the answer, such as feedback."""

    at: float
    agent: str
    task: str
    body: dict[str, Any]
    rated: float
    chance: float


def calls_of_hour(*, start: float, calls_per_day: int, seed: str) -> list[PlannedCall]:
    """Return the calls of the hour that begins at `start`, in order. The same arguments give the same calls."""
    rng = random.Random(f"{seed}:{int(start)}")  # noqa: S311 - reproducible, not secret
    found: list[PlannedCall] = []
    for agent in AGENTS:
        expected = calls_per_day * agent.share / 24 * _activity(start, works_at_night=agent.works_at_night)
        while expected > 0:
            conversation = list(_conversation(agent, start, rng))
            # The last conversation comes with the probability that its calls are still expected.
            if expected >= len(conversation) or rng.random() < expected / len(conversation):
                found += conversation
            expected -= len(conversation)
    return sorted(found, key=lambda call: call.at)


def _activity(at: float, *, works_at_night: bool) -> float:
    """Return how busy an hour is, about 1 on average over a week: office hours, quiet weekends."""
    hour = at / HOUR_S % 24
    weekday = int(at // (24 * HOUR_S) + 3) % 7  # the epoch began on a Thursday; 0 is Monday
    day = 1.25 if weekday < 5 else 0.4
    if works_at_night:
        return day * (0.85 + 0.3 * math.cos((hour - 14) / 24 * 2 * math.pi))
    return day * max(0.08, 1.0 + 1.15 * math.cos((hour - 13.5) / 24 * 2 * math.pi))


def _conversation(agent: Agent, start: float, rng: random.Random) -> Iterator[PlannedCall]:
    session = f"{agent.name}-{rng.getrandbits(48):012x}"
    user = f"user-{rng.randrange(agent.users):03d}"
    city, subject, number = rng.choice(_CITIES), rng.choice(_SUBJECTS), f"{rng.randrange(10_000, 99_999)}"
    at = start + rng.random() * (HOUR_S - 600)
    for _ in range(rng.choice((1, 1, 2, 2, 3, 4))):
        task = rng.choices(agent.tasks, [task.weight for task in agent.tasks])[0]
        options = {
            "task": task.name,
            "agent": agent.name,
            "feature": agent.feature,
            "session": session,
            "agent_run": f"run-{session[-12:]}",
            "tags": {"region": "north" if city in {"Oslo", "Turku"} else "south"},
            "fault": _fault(rng),
        }
        body: dict[str, Any] = {
            "model": "auto",
            "user": user,
            "messages": [
                {"role": "system", "content": f"You are the {agent.name} of a furniture shop.\n{_read(task, rng)}"},
                {"role": "user", "content": task.prompt.format(city=city, subject=subject, number=number)},
            ],
            "kairosroute": options,
            **task.extra,
        }
        if rng.random() < task.streams:
            body["stream"] = True
        yield PlannedCall(at, agent.name, task.name, body, task.rated, rng.random())
        at += 15 + rng.random() * 90
        number = f"{rng.randrange(10_000, 99_999)}"


def _read(task: Task, rng: random.Random) -> str:
    """Return the text that comes with a call: the house's rules, as long as the task's documents are."""
    return _TEXT[: int(task.reads * (0.5 + rng.random()))]


def _fault(rng: random.Random) -> str:
    place = rng.random()
    for fault, share in _FAULTS:
        if place < share:
            return fault
        place -= share
    return "flaws"  # the model's own mistakes, at its own rates
