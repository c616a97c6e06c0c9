"""LangChain's own standard tests of a chat model, with `langchain-openai` pointed at the gateway.

Run by `tests/conformance/test_langchain.py` with the pytest of the client's environment; KAIROSROUTE_URL and
KAIROSROUTE_KEY say where. What a subclass declares below decides which of the suite's tests apply.
"""

from __future__ import annotations

import os
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class TestKairosRoute(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "base_url": f"{os.environ['KAIROSROUTE_URL']}/v1",
            "api_key": os.environ["KAIROSROUTE_KEY"],
            "model": os.environ["KAIROSROUTE_MODEL"],
            "max_retries": 0,
            "stream_usage": True,
        }

    @property
    def model_override_value(self) -> str | None:
        return os.environ["KAIROSROUTE_MODEL"]
