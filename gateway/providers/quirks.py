"""How each provider differs from its protocol: one row per provider. Pure data.

Sources: the providers' API references as of autumn 2026, LiteLLM 1.109.1 and genai-prices 0.2.3 for names. A new
provider is a new row; a provider that is not here is served as `GENERIC`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OPENAI_CHAT = "openai_chat"
ANTHROPIC_MESSAGES = "anthropic_messages"
GEMINI = "gemini"
PROTOCOLS = (OPENAI_CHAT, ANTHROPIC_MESSAGES, GEMINI)

NO_REASONING = ""


@dataclass(frozen=True, slots=True)
class Quirks:
    """One provider's differences.

    `is_exact`: it accepts OpenAI's body and answers in OpenAI's shape, so bytes may pass through.
    `version_path`: what a base URL without a path gets. `auth`: how the key travels.
    `reasoning_field`: what the provider calls reasoning text in its answers.
    `replayed_reasoning_field`: where an earlier answer's reasoning goes back in; empty means that it must be left out.
    `counts_reasoning_apart`: its completion tokens leave the reasoning tokens out (they are added here).
    `dropped`: top-level request fields that it refuses.
    """

    provider: str
    title: str
    genai_provider: str
    protocol: str = OPENAI_CHAT
    base_url: str = ""
    version_path: str = "/v1"
    auth: str = "bearer"
    is_exact: bool = False
    max_tokens_name: str = "max_tokens"
    has_stream_options: bool = True
    reasoning_field: str = "reasoning_content"
    replayed_reasoning_field: str = NO_REASONING
    counts_reasoning_apart: bool = False
    has_developer_role: bool = False
    dropped: frozenset[str] = field(default_factory=frozenset)
    aliases: tuple[str, ...] = ()


# What only OpenAI's platform knows; compatible servers mostly answer 400 or 422 to it.
_PLATFORM = frozenset(
    {"store", "metadata", "prediction", "modalities", "audio", "prompt_cache_key", "safety_identifier"}
)
_PLATFORM_STRICT = _PLATFORM | {"service_tier", "verbosity", "web_search_options", "prompt_cache_retention"}

# What clients of other protocols send along, and OpenAI answers 400 to.
_UNKNOWN_TO_OPENAI = frozenset({"top_k"})

OPENAI = Quirks(
    provider="openai",
    title="OpenAI",
    genai_provider="openai",
    base_url="https://api.openai.com/v1",
    is_exact=True,
    max_tokens_name="max_completion_tokens",
    has_developer_role=True,
    dropped=_UNKNOWN_TO_OPENAI,
)
ANTHROPIC = Quirks(
    provider="anthropic",
    title="Anthropic",
    genai_provider="anthropic",
    protocol=ANTHROPIC_MESSAGES,
    base_url="https://api.anthropic.com",
    version_path="",
    auth="x-api-key",
)
GOOGLE = Quirks(
    provider="google",
    title="Google",
    genai_provider="google",
    protocol=GEMINI,
    base_url="https://generativelanguage.googleapis.com/v1beta",
    version_path="/v1beta",
    auth="x-goog-api-key",
    aliases=("gemini",),
)
AZURE = Quirks(
    provider="azure",
    title="Azure",
    genai_provider="azure",
    version_path="/openai/v1",
    auth="api-key",
    is_exact=True,
    max_tokens_name="max_completion_tokens",
    has_developer_role=True,
    dropped=_UNKNOWN_TO_OPENAI,
)
BEDROCK = Quirks(
    provider="bedrock",
    title="Amazon Bedrock",
    genai_provider="aws",
    dropped=_PLATFORM_STRICT | {"logit_bias"},
    aliases=("aws",),
)
DEEPSEEK = Quirks(
    provider="deepseek",
    title="DeepSeek",
    genai_provider="deepseek",
    base_url="https://api.deepseek.com/v1",
    replayed_reasoning_field="reasoning_content",  # asked for inside a tool loop
    dropped=_PLATFORM_STRICT | {"n", "seed", "logit_bias", "parallel_tool_calls"},
)
MISTRAL = Quirks(
    provider="mistralai",
    title="Mistral",
    genai_provider="mistral",
    base_url="https://api.mistral.ai/v1",
    has_stream_options=False,  # unknown fields are refused; usage always comes with the last chunk
    dropped=_PLATFORM_STRICT | {"logit_bias", "logprobs", "top_logprobs", "user", "seed"},
    aliases=("mistral",),
)
XAI = Quirks(
    provider="x-ai",
    title="xAI",
    genai_provider="x-ai",
    base_url="https://api.x.ai/v1",
    counts_reasoning_apart=True,
    dropped=_PLATFORM | {"logit_bias"},
    aliases=("grok",),
)
GROQ = Quirks(
    provider="groq",
    title="Groq",
    genai_provider="groq",
    base_url="https://api.groq.com/openai/v1",
    max_tokens_name="max_completion_tokens",
    reasoning_field="reasoning",
    replayed_reasoning_field="reasoning",
    dropped=_PLATFORM | {"logit_bias", "logprobs", "top_logprobs", "verbosity"},
)
TOGETHER = Quirks(
    provider="together",
    title="Together AI",
    genai_provider="together",
    base_url="https://api.together.xyz/v1",
    reasoning_field="reasoning",
    dropped=_PLATFORM_STRICT,
    aliases=("togetherai",),
)
FIREWORKS = Quirks(
    provider="fireworks",
    title="Fireworks AI",
    genai_provider="fireworks",
    base_url="https://api.fireworks.ai/inference/v1",
    version_path="/inference/v1",
    replayed_reasoning_field="reasoning_content",
    dropped=_PLATFORM_STRICT - {"prompt_cache_key"},
    aliases=("fireworksai",),
)
CEREBRAS = Quirks(
    provider="cerebras",
    title="Cerebras",
    genai_provider="cerebras",
    base_url="https://api.cerebras.ai/v1",
    max_tokens_name="max_completion_tokens",
    reasoning_field="reasoning",
    dropped=_PLATFORM_STRICT - {"service_tier"} | {"logit_bias", "frequency_penalty", "presence_penalty"},
)
COHERE = Quirks(
    provider="cohere",
    title="Cohere",
    genai_provider="cohere",
    base_url="https://api.cohere.ai/compatibility/v1",
    version_path="/compatibility/v1",
    dropped=_PLATFORM_STRICT | {"logit_bias", "top_logprobs", "n", "parallel_tool_calls"},
)
MOONSHOT = Quirks(
    provider="moonshotai",
    title="Moonshot AI",
    genai_provider="moonshotai",
    base_url="https://api.moonshot.ai/v1",
    replayed_reasoning_field="reasoning_content",
    dropped=_PLATFORM_STRICT - {"prompt_cache_key"} | {"logit_bias", "logprobs", "top_logprobs"},
    aliases=("moonshot", "kimi"),
)
ZAI = Quirks(
    provider="z-ai",
    title="Z.ai",
    genai_provider="zai",
    base_url="https://api.z.ai/api/paas/v4",
    version_path="/api/paas/v4",
    replayed_reasoning_field="reasoning_content",
    dropped=_PLATFORM_STRICT | {"logit_bias", "n", "seed", "frequency_penalty", "presence_penalty"},
    aliases=("zhipu",),
)
MINIMAX = Quirks(
    provider="minimax",
    title="MiniMax",
    genai_provider="minimax",
    base_url="https://api.minimax.io/v1",
    replayed_reasoning_field="reasoning_content",
    dropped=_PLATFORM_STRICT | {"logit_bias", "n", "frequency_penalty", "presence_penalty"},
)
META = Quirks(
    provider="meta",
    title="Meta",
    genai_provider="meta",
    base_url="https://api.meta.ai/v1",
    max_tokens_name="max_completion_tokens",
    dropped=_PLATFORM_STRICT,
)
VOYAGE = Quirks(
    provider="voyage",
    title="Voyage AI",
    genai_provider="voyageai",
    base_url="https://api.voyageai.com/v1",
    aliases=("voyageai",),
)
OPENROUTER = Quirks(
    provider="openrouter",
    title="OpenRouter",
    genai_provider="openrouter",
    base_url="https://openrouter.ai/api/v1",
    version_path="/api/v1",
    reasoning_field="reasoning",
    replayed_reasoning_field="reasoning",
    has_developer_role=True,
)
SIMULATOR = Quirks(
    provider="simulator",
    title="Simulator",
    genai_provider="",
    base_url="http://simulator.invalid/v1",
    auth="none",
    is_exact=True,
    has_developer_role=True,
    replayed_reasoning_field="reasoning_content",
)
# An OpenAI-compatible server that nobody described: everything is forwarded, every answer is brought into shape.
GENERIC = Quirks(provider="", title="", genai_provider="")

TABLE: tuple[Quirks, ...] = (
    OPENAI,
    ANTHROPIC,
    GOOGLE,
    AZURE,
    BEDROCK,
    DEEPSEEK,
    MISTRAL,
    XAI,
    GROQ,
    TOGETHER,
    FIREWORKS,
    CEREBRAS,
    COHERE,
    MOONSHOT,
    ZAI,
    MINIMAX,
    META,
    VOYAGE,
    OPENROUTER,
    SIMULATOR,
)


def squeeze(name: str) -> str:
    """Return a provider name as it is compared: `X_AI`, `x-ai` and `XAI` are one name."""
    return name.lower().replace("-", "").replace("_", "")


_BY_NAME = {squeeze(name): row for row in TABLE for name in (row.provider, *row.aliases)}
_BY_PROVIDER = {row.provider: row for row in TABLE}


def known(name: str) -> Quirks | None:
    """Return the row of a provider by any spelling of its name or alias, or None."""
    return _BY_NAME.get(squeeze(name))


def of(provider: str) -> Quirks:
    """Return the row of our own provider name; `GENERIC` for providers that are not in the table."""
    return _BY_PROVIDER.get(provider, GENERIC)
