"""Which foreign clients are driven, in which versions, and what each must manage. The page in docs/reference shows it.

A client that manages less than the others says so by leaving checks out: mostly because it has no such feature, and the
reason stands beside it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = HERE / "environments"
NODE = HERE / "node"
INSTALLED = ROOT / ".venv" / "conformance"

CALLS = ("tool", "streamed_tool", "parallel_tools", "streamed_parallel_tools")
BARE_CALLS = ("tool_without_arguments", "streamed_tool_without_arguments")
EVERY_UPSTREAM = ("openai_chat", "anthropic_messages", "gemini")
RESPONSES = ("responses", "streamed_responses")
COMMON = ("plain", "stream", *CALLS, *BARE_CALLS, "structured")

_OPENAI_ERRORS = {
    "unauthorized": "AuthenticationError",
    "unknown_model": "NotFoundError",
    "rate_limited": "RateLimitError",
    "server_error": "InternalServerError",
}


@dataclass(frozen=True)
class Client:
    """One client. `runtime` is the environment that it needs: `own` (pinned by hash), `development` or `node`.

    `errors` names the class that each failure must be raised as. `surface` is the base URL that it is pointed at.
    `upstreams` are the protocols that the provider behind us speaks: the strictest parsers are driven over all of them.
    """

    name: str
    package: str
    runtime: str
    surface: str
    checks: tuple[str, ...]
    errors: dict[str, str] = field(default_factory=dict)
    upstreams: tuple[str, ...] = ("openai_chat",)

    def __str__(self) -> str:
        return self.name

    @property
    def command(self) -> list[str]:
        """What runs its driver."""
        if self.runtime == "node":
            return ["node", str(NODE / f"drive_{self.name.removesuffix('_node')}.mjs")]
        python = sys.executable if self.runtime == "development" else str(INSTALLED / self.name / "bin" / "python")
        return [python, str(HERE / "clients" / f"drive_{self.name}.py")]

    @property
    def version(self) -> str:
        """The version that is driven, as it is pinned."""
        if self.runtime == "node":
            locked = json.loads((NODE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
            return str(locked[f"node_modules/{self.package}"]["version"])
        if self.runtime == "development":
            packages = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
            return str(next(package["version"] for package in packages if package["name"] == self.package))
        pinned = (ENVIRONMENTS / f"{self.name}.txt").read_text(encoding="utf-8")
        found = re.search(rf"^{re.escape(self.package)}(?:\[\w+\])?==(\S+)", pinned, re.MULTILINE)
        assert found, f"{self.package} is not pinned in {self.name}.txt"
        return found[1]

    @property
    def missing(self) -> str:
        """Why it cannot be driven here; empty where it can."""
        if self.runtime == "node":
            if shutil.which("node") is None:
                return "node is not installed"
            return (
                ""
                if (NODE / "node_modules" / self.package).is_dir()
                else f"{self.package}: make conformance installs it"
            )
        if self.runtime == "own" and not is_installed(self.name):
            return f"{self.package} in its pinned version: make conformance installs it"
        return ""


def is_installed(name: str) -> bool:
    """Return whether an environment stands as its file describes it."""
    mark = INSTALLED / name / ".installed"
    digest = hashlib.sha256((ENVIRONMENTS / f"{name}.txt").read_bytes()).hexdigest()
    return mark.exists() and mark.read_text(encoding="utf-8").split()[0] == digest


CLIENTS = (
    Client(
        name="openai",
        package="openai",
        runtime="development",
        surface="/v1",
        checks=(*COMMON, "cost", "models", "embeddings", "completion", *RESPONSES, "responses_tools"),
        errors={**_OPENAI_ERRORS, "bad_request": "BadRequestError", "cut_stream": "APIError"},
        upstreams=EVERY_UPSTREAM,
    ),
    Client(
        name="openai_node",
        package="openai",
        runtime="node",
        surface="/v1",
        checks=(*COMMON, "cost", "models", "embeddings", "completion", *RESPONSES),
        errors={**_OPENAI_ERRORS, "bad_request": "BadRequestError", "cut_stream": "APIError"},
    ),
    Client(
        name="anthropic",
        package="anthropic",
        runtime="development",
        surface="/",
        checks=(*COMMON, "counted"),
        errors={**_OPENAI_ERRORS, "bad_request": "BadRequestError", "cut_stream": "APIStatusError"},
        upstreams=EVERY_UPSTREAM,
    ),
    Client(
        name="openrouter",
        package="openrouter",
        runtime="own",
        surface="/api/v1",
        checks=(
            *(*COMMON, "cost", "models", "cut_stream_is_marked", "embeddings"),
            *("generation", "credits_used", "current_key"),
        ),
        errors={
            "unauthorized": "UnauthorizedResponseError",
            "unknown_model": "NotFoundResponseError",
            "rate_limited": "TooManyRequestsResponseError",
            "server_error": "BadGatewayResponseError",
        },
        upstreams=EVERY_UPSTREAM,
    ),
    Client(
        name="openrouter_node",
        package="@openrouter/ai-sdk-provider",
        runtime="node",
        surface="/api/v1",
        checks=(*COMMON, "cost", "cut_stream_is_marked"),
        errors=dict.fromkeys(("unauthorized", "unknown_model", "rate_limited", "server_error"), "AI_APICallError"),
        upstreams=EVERY_UPSTREAM,
    ),
    Client(
        name="ai_sdk_node",
        package="@ai-sdk/openai-compatible",
        runtime="node",
        surface="/v1",
        checks=(*COMMON, "cut_stream_is_marked", "embeddings"),
        errors=dict.fromkeys(("unauthorized", "unknown_model", "rate_limited", "server_error"), "AI_APICallError"),
        upstreams=EVERY_UPSTREAM,
    ),
    Client(
        name="pydantic_ai",
        package="pydantic-ai-slim",
        runtime="own",
        surface="/v1",
        checks=(*COMMON, *RESPONSES, "responses_structured"),
        errors={
            "unauthorized": "ModelAuthenticationError",
            "unknown_model": "ModelNotFoundError",
            "rate_limited": "ModelRateLimitError",
            "server_error": "ModelServerError",
        },
        upstreams=EVERY_UPSTREAM,
    ),
    Client(
        name="instructor",
        package="instructor",
        runtime="own",
        surface="/v1",
        # It knows typed objects and nothing else; plain is what lies under one.
        checks=("plain", "structured", "structured_by_schema", "streamed_structured"),
        errors=_OPENAI_ERRORS,
    ),
    Client(
        name="openai_agents",
        package="openai-agents",
        runtime="own",
        surface="/v1",
        checks=(*COMMON, *RESPONSES, "responses_structured", "responses_tools"),
        errors=_OPENAI_ERRORS,
    ),
    Client(
        name="llama_index",
        package="llama-index-llms-openai-like",
        runtime="own",
        surface="/v1",
        checks=(*COMMON, "completed", "streamed_usage"),
        errors=_OPENAI_ERRORS,
    ),
    Client(
        name="llm",
        package="llm",
        runtime="own",
        surface="/v1",
        checks=(*COMMON, "command_line"),
        # It asks a limited server again by itself, so that failure is not driven.
        errors={name: error for name, error in _OPENAI_ERRORS.items() if name != "rate_limited"},
    ),
    Client(
        name="litellm",
        package="litellm",
        runtime="own",
        surface="/v1",
        checks=(*COMMON, "cost", "embeddings", "messages"),
        errors={**_OPENAI_ERRORS, "server_error": "BadGatewayError", "cut_stream": "MidStreamFallbackError"},
    ),
    Client(
        name="portkey",
        package="portkey-ai",
        runtime="own",
        surface="/v1",
        checks=(*COMMON, "models", "embeddings", "completion", "responses"),
        errors=_OPENAI_ERRORS,
    ),
    Client(
        name="kairosroute",
        package="kairosroute",
        runtime="own",
        surface="/api/v1",
        # It hands streams on as they are and knows no schemas.
        checks=(
            "plain",
            "stream",
            "streamed_usage",
            "tool",
            "parallel_tools",
            "tool_without_arguments",
            "cost",
            "models",
        ),
        errors={
            "unauthorized": "AuthenticationError",
            "unknown_model": "KairosRouteError",
            "rate_limited": "RateLimitError",
            "server_error": "ProviderError",
        },
    ),
)
