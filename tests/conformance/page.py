"""Write the table of docs/reference/conformance.md from the catalog of clients: `python -m tests.conformance.page`."""

from __future__ import annotations

from tests.conformance.catalog import CLIENTS, ROOT, Client

PAGE = ROOT / "docs" / "reference" / "conformance.md"
BEGIN, END = "<!-- clients: begin -->\n", "<!-- clients: end -->\n"

_TITLES = {
    "openai": "openai (Python)",
    "openai_node": "openai (Node)",
    "anthropic": "anthropic (Python)",
    "openrouter_node": "@openrouter/ai-sdk-provider with `ai`",
    "ai_sdk_node": "@ai-sdk/openai-compatible with `ai`",
}
_COLUMNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("answer", ("plain",)),
    ("stream", ("stream",)),
    ("tools", ("tool", "parallel_tools", "tool_without_arguments")),
    ("streamed tools", ("streamed_tool", "streamed_parallel_tools", "streamed_tool_without_arguments")),
    ("typed object", ("structured",)),
    ("responses", ("responses",)),
    ("completions", ("completion",)),
    ("embeddings", ("embeddings",)),
    ("cost", ("cost",)),
    ("models", ("models",)),
)
_FAILURES = ("unauthorized", "unknown_model", "bad_request", "rate_limited", "server_error")
_CUTS = ("cut_stream", "cut_stream_is_marked")


def tables() -> str:
    """Return the table of clients: what each is driven through, and how it learns of failures."""
    heads = ["client", "version", "base URL", *(title for title, _ in _COLUMNS), "errors", "cut stream"]
    rows = [
        f"| {' | '.join(heads)} |",
        f"|{'|'.join(['---'] * 3 + [':-:'] * (len(heads) - 3))}|",
        *(_row(client) for client in CLIENTS),
    ]
    return "\n".join(rows) + "\n"


def _row(client: Client) -> str:
    cells = [_TITLES.get(client.name, client.package), client.version, f"`{client.surface}`"]
    for _, checks in _COLUMNS:
        done = [check for check in checks if check in client.checks]
        cells.append("" if not done else "✓")
    cells.append(str(len([name for name in _FAILURES if name in client.errors])))
    cuts = [name for name in _CUTS if name in client.checks or name in client.errors]
    cells.append("" if not cuts else "raised" if cuts == ["cut_stream"] else "marked")
    return f"| {' | '.join(cells)} |"


def written(page: str) -> str:
    """Return the page with its table written anew."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{tables()}{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
