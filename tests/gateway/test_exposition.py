"""What Prometheus reads of a gateway that serves."""

from __future__ import annotations

import time
from pathlib import Path

import orjson

from gateway import exposition
from tests.gateway.rig import ANSWER, ASKED, Running, answering, ask, http, running

ANSWERED = http(200, orjson.dumps(ANSWER))


def samples(gateway: Running) -> dict[str, float]:
    lines = list(exposition.render(gateway.state, now=time.perf_counter()))
    declared = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(declared) == len(set(declared))
    found = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    assert len(found) == len({name for name, _ in found}), "a series stands twice"
    return {name: float(value) for name, value in found}


async def test_a_failed_attempt_is_counted_though_another_endpoint_served(tmp_path: Path) -> None:
    async with running(
        tmp_path, answering(http(500, b"{}")), has_lane=False, others={"AZURE": answering(ANSWERED)}
    ) as gateway:
        (reply,) = await ask(gateway, ASKED)
        assert reply.status == 200
        found = samples(gateway)
        assert found['kairosroute_upstream_errors_total{provider="openai",error="UpstreamError"}'] >= 1
        assert 'kairosroute_endpoint_state{provider="azure",model="azure/gpt-4o-mini",state="neutral"}' in found
        assert found['kairosroute_endpoint_error_ratio{provider="openai",model="openai/gpt-4o-mini"}'] > 0


async def test_a_call_that_asks_no_provider_is_counted_as_refused(tmp_path: Path) -> None:
    async with running(tmp_path, answering(ANSWERED), has_lane=False) as gateway:
        await ask(gateway, ASKED | {"model": "no-such-model"})
        assert samples(gateway)['kairosroute_refused_total{error="ModelNotFound"}'] == 1


async def test_calls_that_ask_for_a_kept_answer_are_counted_by_what_came_of_it(tmp_path: Path) -> None:
    async with running(tmp_path, answering(ANSWERED), has_lane=False) as gateway:
        for _ in range(2):
            await ask(gateway, ASKED, extra="x-openrouter-cache: true\r\n")
        found = samples(gateway)
        outcomes = {name: value for name, value in found.items() if name.startswith("kairosroute_response_cache_total")}
        assert outcomes == {
            'kairosroute_response_cache_total{outcome="miss"}': 1,
            'kairosroute_response_cache_total{outcome="hit"}': 1,
        }


async def test_nothing_stays_reserved_when_no_call_is_under_way(tmp_path: Path) -> None:
    async with running(tmp_path, answering(ANSWERED), has_lane=False) as gateway:
        await ask(gateway, ASKED)
        assert samples(gateway)["kairosroute_reserved_usd"] == 0
