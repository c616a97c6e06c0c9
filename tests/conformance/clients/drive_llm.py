"""Simon Willison's `llm`: its library with a model from extra-openai-models.yaml, and once its command line."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import driving
from driving import check

HOME = pathlib.Path(tempfile.mkdtemp(prefix="llm-"))
os.environ["LLM_USER_PATH"] = str(HOME)
(HOME / "extra-openai-models.yaml").write_text(
    "".join(
        f"- model_id: {name}\n  model_name: {model}\n  api_base: {driving.V1}\n  api_key_name: {key}\n"
        "  supports_tools: true\n  supports_schema: true\n"
        for name, model, key in (
            ("ours", driving.MODEL, "ours"),
            ("unknown", driving.UNKNOWN_MODEL, "ours"),
            ("stranger", driving.MODEL, "wrong"),
        )
    )
)
(HOME / "keys.json").write_text(json.dumps({"ours": driving.API_KEY, "wrong": driving.WRONG_KEY}))

import llm


def get_weather(city: str) -> str:
    """The weather in a city."""
    return "21 degrees in " + city


def list_cities() -> str:
    """The cities."""
    return "Paris, Rome"


def usage_of(response):
    usage = response.usage()
    return usage.input, usage.output


def called(prompt, *, is_streamed=False):
    chain = llm.get_model("ours").chain(prompt, tools=[get_weather, list_cities], stream=is_streamed)
    responses = list(chain.responses())
    assert responses[-1].text(), "no answer after the tool's result"
    calls = [call for response in responses for call in response.tool_calls()]
    return [driving.call(one.name, one.arguments, one.tool_call_id) for one in calls]


@check
def command_line():
    command = [sys.executable, "-m", "llm", "prompt", "-m", "ours", driving.HELLO]
    return driving.text(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip())


@check
def plain():
    response = llm.get_model("ours").prompt(driving.HELLO, stream=False)
    return driving.text(response.text(), usage_of(response))


@check
def stream():
    response = llm.get_model("ours").prompt(driving.HELLO, stream=True)
    pieces = [piece for piece in response if piece]
    return driving.text("".join(pieces), usage_of(response), pieces=len(pieces))


@check
def structured():
    return json.loads(llm.get_model("ours").prompt(driving.PERSON, schema=driving.PERSON_SCHEMA).text())


def streamed(prompt):
    return called(prompt, is_streamed=True)


def failing(prompt, *, model="ours", key=""):
    name = "stranger" if key else "unknown" if model != "ours" else model
    return llm.get_model(name).prompt(prompt, stream=False).text()


driving.check_tools(called, streamed)
driving.check_failures(failing)
driving.main()
