"""The committed catalog is what `build_catalog` makes, and bad facts are refused with what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gateway.catalog import curation, embeddings, loader
from gateway.catalog.models import Catalog

_FACTS: dict[str, Any] = {
    "id": "openai/gpt-9.1-mini",
    "provider": "openai",
    "upstream": "gpt-9.1-mini",
    "genai_provider": "openai",
    "adapter": "openai",
    "context": 1000,
    "max_output": 100,
    "tools": True,
    "vision": False,
    "json_schema": True,
    "reasoning": False,
    "prompt_cache": False,
    "pdf": False,
    "audio_in": False,
    "deprecation": "2027-01-02",
    "input": 2.5,
    "litellm_key": "not carried over",
}


def facts(**changes: Any) -> dict[str, Any]:
    return {**_FACTS, **changes}


def test_a_fact_becomes_a_slim_entry_without_prices() -> None:
    (model,) = curation.slim([facts()])["models"]
    assert model == {
        "id": "openai/gpt-9.1-mini",
        "provider": "openai",
        "upstream": "gpt-9.1-mini",
        "vendor": "openai",
        "name": "gpt-9.1-mini",
        "display_name": "GPT-9.1 Mini",
        "kind": "chat",
        "protocol": "openai_chat",
        "priced_as": "openai",
        "context_tokens": 1000,
        "max_output_tokens": 100,
        "dimensions": None,
        "capabilities": ["tools", "json_schema"],
        "deprecated_on": "2027-01-02",
        "added_on": "2026-11-20",
        "quantization": "unknown",
        "needs_retention": False,
        "aliases": ["gpt-9-1-mini"],
    }


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([{"id": "openai/x"}], "lack the field 'provider'"),
        ([facts(provider="nobody")], "names the provider 'nobody'"),
        ([facts(adapter="telepathy")], "Unknown adapter 'telepathy'"),
        ([facts(), facts()], "occur more than once: openai/gpt-9.1-mini"),
    ],
)
def test_bad_facts_are_refused(made: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        curation.slim(made)


def test_claude_at_bedrock_speaks_the_protocol_of_anthropic(catalog: Catalog) -> None:
    protocols = {model.id: model.protocol for model in catalog if model.provider == "bedrock"}
    assert protocols.pop("bedrock/global.anthropic.claude-sonnet-5-5") == "anthropic_messages"
    assert set(protocols.values()) == {"openai_chat"}


def test_the_committed_catalog_is_complete_and_says_where_it_comes_from() -> None:
    document = json.loads(loader.CATALOG_PATH.read_text(encoding="utf-8"))
    assert [model["kind"] for model in document["models"]].count("chat") == 66
    assert len(document["models"]) == 66 + len(embeddings.FACTS)
    assert any("LiteLLM" in source and "MIT" in source for source in document["sources"])
    assert {model["provider"] for model in document["models"]} == set(document["providers"])
    for model in document["models"]:
        assert model["context_tokens"] > 0, model["id"]
        assert model["display_name"][0].isupper()


def test_the_command_writes_and_checks_the_catalog(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "facts.json", tmp_path / "models.json"
    source.write_text(json.dumps([facts()]))
    call_command("build_catalog", source=source, target=target)
    assert f"Wrote {1 + len(embeddings.FACTS)} models" in capsys.readouterr().out
    call_command("build_catalog", source=source, target=target, check=True)
    source.write_text(json.dumps([facts(context=2000)]))
    with pytest.raises(CommandError, match="out of date"):
        call_command("build_catalog", source=source, target=target, check=True)


def test_the_command_says_what_is_wrong_with_its_source(tmp_path: Path) -> None:
    source = tmp_path / "facts.json"
    with pytest.raises(CommandError, match="Cannot read"):
        call_command("build_catalog", source=source)
    source.write_text("{")
    with pytest.raises(CommandError, match="not a list of model facts"):
        call_command("build_catalog", source=source)
    source.write_text('{"a": 1}')
    with pytest.raises(CommandError, match="not a list of model facts"):
        call_command("build_catalog", source=source)
