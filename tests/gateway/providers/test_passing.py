"""An answer that passes through says exactly what the decoded and completed one says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.providers.openai_chat import ADAPTER, passing, response
from tests.fixtures.providers import cases, endpoint

OPENAI = endpoint("openai_chat", provider="openai", upstream_model="gpt-5.4")
_RECEIPT = {"receipt_id": "rcpt_1", "billed_usd": 0.5}
_PASSING = ("cached_tokens", "json_schema", "length", "normal", "refusal", "thinking")


def _said(completion: Any) -> Any:
    written = completion.answer(provider="openai", cost_usd=0.0125, is_byok=False, x_kairosroute=_RECEIPT)
    return orjson.loads(written)


def _body(**more: Any) -> dict[str, Any]:
    case = next(case for case in cases("body") if str(case) == "openai-normal")
    body: dict[str, Any] = orjson.loads(case.body)
    return body | more


@pytest.mark.parametrize("case", [case for case in cases("body") if case.endpoint.provider == "openai"], ids=str)
def test_passed_and_completed_answers_agree(case: Any) -> None:
    passed = passing.read(case.body, endpoint=case.endpoint)
    completed = response.read(case.body, endpoint=case.endpoint)
    assert (passed is not None) == (case.name in _PASSING)
    if passed is not None:
        expected = _said(completed)
        assert passed.usage == completed.usage
        assert (passed.finish_reason, passed.service_tier) == (completed.finish_reason, completed.service_tier)
        answer = _said(passed)
        expected["usage"] = {**expected["usage"], **answer["usage"]}
        assert answer == expected


@settings(max_examples=80, deadline=None)
@given(content=st.text(max_size=60) | st.sampled_from(['"model":"x"', '"usage":{}', "}}", '\\"usage\\":{']))
def test_no_content_leads_the_splice_astray(content: str) -> None:
    content = content.encode("utf-8", "ignore").decode()
    body = _body()
    body["choices"][0]["message"]["content"] = content
    written = ADAPTER.completion(orjson.dumps(body), endpoint=OPENAI).answer(
        provider="openai", cost_usd=None, is_byok=True, x_kairosroute=_RECEIPT
    )
    answer = orjson.loads(written)
    assert answer["choices"][0]["message"]["content"] == content
    assert answer["model"] == OPENAI.model
    assert (answer["usage"].get("cost", "left out"), answer["usage"]["is_byok"]) == ("left out", True)
    assert answer["x_kairosroute"] == _RECEIPT


@pytest.mark.parametrize("model", ['a"b', "a\\b", "é", ""])
def test_a_strange_model_name_is_replaced_whole(model: str) -> None:
    written = ADAPTER.completion(orjson.dumps(_body(model=model)), endpoint=OPENAI).answer(
        provider="openai", cost_usd=1, is_byok=False, x_kairosroute={}
    )
    assert orjson.loads(written)["model"] == OPENAI.model


def test_an_answer_without_usage_or_with_tool_calls_is_completed() -> None:
    body = _body()
    del body["usage"]
    assert passing.read(orjson.dumps(body), endpoint=OPENAI) is None
    priced = _body()
    priced["usage"]["cost"] = 0.25  # the provider's word on its own price is not ours
    assert passing.read(orjson.dumps(priced), endpoint=OPENAI) is None
    nested = _body(extra={"model": "x", "usage": {}})
    assert passing.read(orjson.dumps(nested), endpoint=OPENAI) is None


def test_an_answer_takes_the_id_that_its_dialect_gives_it() -> None:
    plain, nested = _body(), _body(extra={"id": "inner"})
    for body in (plain, nested):
        written = ADAPTER.completion(orjson.dumps(body), endpoint=OPENAI).answer(
            provider="openai", cost_usd=1, is_byok=False, x_kairosroute=_RECEIPT, answer_id="gen_1"
        )
        expected = _said(ADAPTER.completion(orjson.dumps(body), endpoint=OPENAI)) | {"id": "gen_1"}
        answer = orjson.loads(written)
        assert answer["id"] == "gen_1"
        assert answer["choices"] == expected["choices"]
        assert answer.get("extra") == body.get("extra")
