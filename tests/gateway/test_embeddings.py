"""`POST /v1/embeddings`: through a real gateway to scripted providers, and to the simulator."""

from __future__ import annotations

import asyncio
import math
import struct
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest

from gateway.providers.simulator import vectors
from tests.factories.calls import make_key
from tests.gateway.rig import Reply, Running, Script, answering, ask, http, running
from tests.gateway.test_upstream import read_request

PATH = "/v1/embeddings"
ASKED = {"model": "text-embedding-3-small", "input": ["one", "two"]}


def listed(*found: Any, tokens: int | None = 8) -> bytes:
    items = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(found)]
    usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return http(200, orjson.dumps({"object": "list", "data": items, "model": "upstream-name", **usage}))


TWO = listed([0.5, -0.25], [1.0, 0.0])


class Provider:
    """A provider that answers the same and keeps what it was asked."""

    def __init__(self, answer: bytes) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._answer = answer

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await read_request(reader)
            self.asked.append((head.split(b" ")[1].decode(), orjson.loads(body)))
            writer.write(self._answer)


async def embed(gateway: Running, body: Any, **options: Any) -> Reply:
    return (await ask(gateway, body, path=options.pop("path", PATH), **options))[0]


async def test_texts_become_vectors_with_their_cost_and_one_record(tmp_path: Path) -> None:
    provider = Provider(TWO)
    async with running(tmp_path, provider, has_lane=True) as gateway:
        reply = await embed(gateway, ASKED)
        assert reply.status == 200
        answer = reply.json()
        assert [item["embedding"] for item in answer["data"]] == [[0.5, -0.25], [1.0, 0.0]]
        assert [item["index"] for item in answer["data"]] == [0, 1]
        assert answer["model"] == "openai/text-embedding-3-small"
        # 8 tokens at $0.02 a million
        assert answer["usage"] == {"prompt_tokens": 8, "total_tokens": 8, "cost": 1.6e-7, "is_byok": False}
        assert reply.headers["x-kairosroute-cost"] == "0.000000160"
        assert provider.asked == [("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["one", "two"]})]
        (record,) = gateway.records()
        assert (record.operation, record.input_tokens, record.output_tokens) == ("embeddings", 8, 0)
        assert (record.provider_cost_nanousd, record.billed_nanousd, record.price_state) == (160, 160, "priced")
        assert record.is_truncated is None
        assert record.is_refusal is None


async def test_vectors_come_as_base64_where_that_is_asked_for(tmp_path: Path) -> None:
    packed = b64encode(struct.pack("<2f", 0.5, -0.25)).decode()
    provider = Provider(listed(packed))
    async with running(tmp_path, provider, has_lane=False) as gateway:
        one = ASKED | {"input": "one"}
        reply = await embed(gateway, one | {"encoding_format": "base64"})
        assert reply.json()["data"][0]["embedding"] == packed
        assert provider.asked[-1][1]["encoding_format"] == "base64"
        # A provider that sends base64 unasked, or numbers where base64 was asked for, makes no difference.
        assert (await embed(gateway, one)).json()["data"][0]["embedding"] == [0.5, -0.25]


async def test_numbers_become_base64_for_a_client_that_wants_it(tmp_path: Path) -> None:
    async with running(tmp_path, Provider(listed([0.5, -0.25])), has_lane=False) as gateway:
        reply = await embed(gateway, ASKED | {"input": "one", "encoding_format": "base64"})
        assert struct.unpack("<2f", b64decode(reply.json()["data"][0]["embedding"])) == (0.5, -0.25)


async def test_gemini_is_asked_in_its_own_words(tmp_path: Path) -> None:
    gemini = Provider(http(200, b'{"embeddings":[{"values":[0.5,1]}],"usageMetadata":{"promptTokenCount":3}}'))
    async with running(tmp_path, Provider(TWO), has_lane=False, others={"GOOGLE": gemini}) as gateway:
        body = {"model": "gemini-embedding-001", "input": "hello", "dimensions": 768, "user": "u"}
        reply = await embed(gateway, body)
        assert reply.status == 200, reply.body
        assert reply.json()["data"][0]["embedding"] == [0.5, 1]
        ((path, asked),) = gemini.asked
        assert path.endswith("/models/gemini-embedding-001:batchEmbedContents")
        assert asked == {
            "requests": [
                {
                    "model": "models/gemini-embedding-001",
                    "content": {"parts": [{"text": "hello"}]},
                    "outputDimensionality": 768,
                }
            ]
        }
        (record,) = gateway.records()
        assert record.input_tokens == 3
        assert orjson.loads(record.receipt)["dropped_params"] == ["user"]


async def test_tokens_that_a_provider_did_not_count_have_no_known_cost(tmp_path: Path) -> None:
    async with running(tmp_path, Provider(listed([1.0], tokens=None)), has_lane=False) as gateway:
        reply = await embed(gateway, ASKED | {"input": "one"})
        assert "cost" not in reply.json()["usage"]
        assert gateway.records()[0].price_state == "unpriced"


@pytest.mark.parametrize("model", ["kr-auto-embed", "auto"])
async def test_the_cheapest_configured_model_embeds_for_auto(tmp_path: Path, model: str) -> None:
    provider = Provider(TWO)
    async with running(tmp_path, provider, has_lane=False) as gateway:
        reply = await embed(gateway, ASKED | {"model": model}, path="/api/v1/embeddings")
        assert reply.json()["model"] == "openai/text-embedding-3-small"
        (record,) = gateway.records()
        assert (record.route_reason, record.is_pinned, record.requested_model) == ("cheapest-capable", 0, model)


async def test_a_fallback_stays_with_the_same_model(tmp_path: Path) -> None:
    broken = answering(http(500, b"{}"))
    azure, mistral = Provider(TWO), Provider(TWO)
    others: dict[str, Script] = {"AZURE": azure, "MISTRAL": mistral}
    async with running(tmp_path, broken, has_lane=False, others=others) as gateway:
        reply = await embed(gateway, ASKED | {"models": ["mistral-embed"]})
        assert reply.status == 200, reply.body
        assert reply.json()["provider"] == "azure"
        assert not mistral.asked
        receipt = orjson.loads(gateway.records()[0].receipt)
        assert any("models" in one for one in receipt["not_applied"])


async def test_where_the_same_model_is_nowhere_else_the_call_fails(tmp_path: Path) -> None:
    mistral = Provider(TWO)
    async with running(tmp_path, answering(http(500, b"{}")), has_lane=False, others={"MISTRAL": mistral}) as gateway:
        assert (await embed(gateway, ASKED)).status == 502
        assert (await embed(gateway, ASKED | {"model": "auto"})).status in {502, 503}
        assert not mistral.asked


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"input": None}, "invalid_type"),
        ({"input": ""}, "invalid_type"),
        ({"input": []}, "invalid_type"),
        ({"input": ["a", ""]}, "invalid_type"),
        ({"input": ["a"] * 2049}, "invalid_type"),
        ({"input": [[1, 2], []]}, "invalid_type"),
        ({"input": [1, "a"]}, "invalid_type"),
        ({"input": [-1]}, "invalid_type"),
        ({"dimensions": 0}, "invalid_type"),
        ({"dimensions": True}, "invalid_type"),
        ({"encoding_format": "hex"}, "invalid_type"),
        ({"stream": True}, "unsupported_parameter"),
        ({"model": ""}, "missing_model"),
        ({"model": "gpt-5.4-mini"}, "model_kind"),
    ],
)
async def test_what_cannot_be_embedded_is_told(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    async with running(tmp_path, Provider(TWO), has_lane=False) as gateway:
        reply = await embed(gateway, ASKED | change)
        assert (reply.status, reply.json()["error"]["code"]) == (400, code)


async def test_an_unknown_model_names_the_nearest(tmp_path: Path) -> None:
    async with running(tmp_path, Provider(TWO), has_lane=False) as gateway:
        reply = await embed(gateway, ASKED | {"model": "text-embedding-3-smal"})
        assert reply.status == 404
        assert "text-embedding-3-small" in reply.json()["error"]["message"]


async def test_token_numbers_go_to_openai_and_to_nobody_else(tmp_path: Path) -> None:
    openai_provider, mistral = Provider(listed([1.0])), Provider(TWO)
    async with running(tmp_path, openai_provider, has_lane=False, others={"MISTRAL": mistral}) as gateway:
        assert (await embed(gateway, ASKED | {"input": [15339, 1917]})).status == 200
        assert openai_provider.asked[0][1]["input"] == [15339, 1917]
        refused = await embed(gateway, ASKED | {"model": "mistral-embed", "input": [[1], [2]]})
        assert (refused.status, refused.json()["error"]["param"]) == (400, "input")


async def test_another_length_is_asked_of_models_that_can_only(tmp_path: Path) -> None:
    mistral = Provider(TWO)
    async with running(tmp_path, Provider(TWO), has_lane=False, others={"MISTRAL": mistral}) as gateway:
        refused = await embed(gateway, ASKED | {"model": "mistral-embed", "dimensions": 256})
        assert refused.status == 400
        assert "dimensions" in refused.json()["error"]["message"]
        assert not mistral.asked


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense",
        b"{}",
        b'{"data":[]}',
        b'{"data":[{"embedding":null}]}',
        b'{"data":[{"embedding":[]}]}',
        b'{"data":7}',
    ],
)
async def test_an_answer_without_vectors_is_the_providers_fault(tmp_path: Path, answer: bytes) -> None:
    async with running(tmp_path, answering(http(200, answer)), has_lane=False) as gateway:
        reply = await embed(gateway, ASKED)
        assert reply.status == 502
        assert len(gateway.records()) == 1


async def test_fewer_vectors_than_texts_are_no_answer(tmp_path: Path) -> None:
    async with running(tmp_path, Provider(listed([1.0])), has_lane=False) as gateway:
        reply = await embed(gateway, ASKED)
        assert reply.status == 502
        (record,) = gateway.records()
        # The provider counted them all the same, and will charge them.
        assert (record.error_class, record.provider_cost_nanousd) == ("UpstreamGarbage", 160)


async def test_a_test_key_gets_vectors_from_the_simulator(tmp_path: Path) -> None:
    async with running(tmp_path, answering(b""), has_lane=False, key=make_key(is_test=True)) as gateway:
        reply = await embed(gateway, ASKED | {"input": ["red apple", "red apple pie", "quarterly report"]})
        one, near, far = (item["embedding"] for item in reply.json()["data"])
        assert len(one) == 1536
        assert cosine(one, near) > 0.6 > 0.3 > cosine(one, far)
        shorter = await embed(gateway, ASKED | {"dimensions": 256})
        assert len(shorter.json()["data"][0]["embedding"]) == 256
        assert gateway.records()[0].key_source == "simulated"


async def test_openais_client_decodes_what_it_asks_for(tmp_path: Path) -> None:
    async with running(tmp_path, answering(b""), has_lane=False, key=make_key(is_test=True)) as gateway:
        client = openai.AsyncOpenAI(api_key="kr_live_test", base_url=f"http://127.0.0.1:{gateway.port}/v1")
        answer = await client.embeddings.create(model="kr-auto-embed", input="hello world")
        await client.close()
        expected = vectors.vector("hello world", len(answer.data[0].embedding))
        assert answer.data[0].embedding == pytest.approx(expected, abs=1e-6)


async def test_the_receipt_shows_where_it_went(tmp_path: Path) -> None:
    mistral = Provider(TWO)
    async with running(tmp_path, Provider(TWO), has_lane=False, others={"MISTRAL": mistral}) as gateway:
        await embed(gateway, ASKED | {"model": "kr-auto-embed"})
        kept = orjson.loads(gateway.records()[0].receipt)
        stops = {one["model"]: one.get("filtered_out_by") for one in kept["candidates"]}
        assert stops["openai/text-embedding-3-small"] is None
        assert stops["mistralai/mistral-embed"] == "model"


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one)) / math.sqrt(sum(b * b for b in other))
