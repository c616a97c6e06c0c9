"""Budgets and windows that processes share over a real Redis: exact together, and honest when it is gone."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from redis import asyncio as redis

from analytics import stored_records
from billing import ledger
from gateway import errors, periods
from gateway.catalog import loader
from gateway.draft import Draft
from gateway.leased_window import LeasedWindow
from gateway.leases import RedisBank
from gateway.spend import Spend
from tests.factories.calls import make_key as any_key
from tests.factories.records import make_record
from tests.gateway.limits import CENT, NOW, Desk, make_limit

URL = os.environ.get("KAIROS_TEST_REDIS_URL", "redis://127.0.0.1:6379/2")
# Several test processes may use the same Redis.
ORGANIZATION = f"org_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the prices stand, flattened once: processes that are started do not each do it again."""
    directory = tmp_path_factory.mktemp("leases")
    loader.load(directory / "prices")
    return directory


@pytest.fixture
async def store() -> AsyncIterator[Any]:
    """A Redis with nothing of ours in it."""
    client = redis.Redis.from_url(URL, socket_connect_timeout=1, socket_timeout=1)
    try:
        # Leases are tested over a real Redis, which the embedded profile does not have.
        await client.ping()
    except OSError:
        await client.aclose()
        pytest.skip(f"no Redis answers at {URL}")
    except redis.RedisError:
        await client.aclose()
        pytest.skip(f"no Redis answers at {URL}")

    async def forget() -> None:
        async for name in client.scan_iter(f"kairosroute:*{{{ORGANIZATION}}}*"):
            await client.delete(name)

    await forget()
    yield client
    await forget()
    await client.aclose()


@pytest.fixture
async def process(prices: Path) -> AsyncIterator[Callable[..., Desk]]:
    """Return a function that makes a gateway process, as far as limits go."""
    made: list[tuple[Desk, RedisBank]] = []

    def make(url: str = URL, *, spend: Spend | None = None, **options: Any) -> Desk:
        bank = RedisBank(url, spend, **options)
        desk = Desk(prices, bank=bank, window=LeasedWindow)
        made.append((desk, bank))
        return desk

    yield make
    for desk, bank in made:
        await bank.close(desk.admission.meters())


def make_key(**fields: Any) -> Any:
    return any_key(**{"organization_id": ORGANIZATION, **fields})


async def report(desk: Desk) -> None:
    """Do what the background task does twice a second."""
    bank: Any = desk.admission.bank
    for meter in desk.admission.meters():
        await bank._report(meter)


async def call(desk: Desk, key: Any, *, cost: int | None = None, **body: Any) -> Draft | None:
    draft = desk.draft(key, **body)
    try:
        await desk.admission.admit(draft)
    except (errors.BudgetExceeded, errors.BudgetInFlight, errors.RateLimited):
        return None
    await asyncio.sleep(0)
    desk.end(draft, draft.reserved_nanousd if cost is None else cost)
    return draft


async def test_two_processes_together_never_overspend(store: Any, process: Callable[..., Desk]) -> None:
    key = make_key(limits=(make_limit(limit_id="lim_two", amount=20_000_000),))
    desks, rng = [process(), process()], random.Random(7)
    booked = []

    async def one(number: int) -> None:
        draft = await call(desks[number % 2], key, max_tokens=rng.randrange(1, 2000))
        if draft is not None:
            booked.append(draft.booked_nanousd)

    for _ in range(4):
        await asyncio.gather(*(one(number) for number in range(200)))
        for desk in desks:
            await report(desk)
    assert 0 < sum(booked) <= 20_000_000
    # what is left is less than any of the calls needs: nothing lies idle in a process that has stopped spending
    for _ in range(30):
        for desk in desks:
            await report(desk)
    purses = [desk.only_purse() for desk in desks]
    assert [purse.spent for purse in purses] == [sum(booked)] * 2
    assert [purse.room for purse in purses] == [0, 0]
    assert [purse.reserved for purse in purses] == [0, 0]


async def test_what_one_process_holds_another_cannot_spend(store: Any, process: Callable[..., Desk]) -> None:
    key = make_key(limits=(make_limit(limit_id="lim_hold", amount=1_000_000),))
    first, second = process(), process()
    held = first.draft(key)
    await first.admission.admit(held)
    with pytest.raises(errors.BudgetInFlight):
        await second.admission.admit(second.draft(key))
    first.end(held, 1000)
    await report(first)
    for _ in range(20):
        await report(first)
    await second.admission.admit(second.draft(key))


async def test_requests_a_minute_are_exact_over_two_processes(store: Any, process: Callable[..., Desk]) -> None:
    key = make_key(limits=(make_limit(limit_id="lim_rpm", kind="requests", amount=100),))
    desks = [process(), process()]
    drafts = await asyncio.gather(*(call(desks[number % 2], key, cost=0) for number in range(300)))
    admitted = sum(draft is not None for draft in drafts)
    assert 95 <= admitted <= 100  # a process may hold a few that the other could have used
    for desk in desks:
        for _ in range(10):
            await call(desk, key, cost=0)  # what is left of the hundred
    with pytest.raises(errors.RateLimited) as caught:
        await desks[0].admission.admit(desks[0].draft(key))
    assert 1 <= (caught.value.retry_after_s or 0) <= 61


async def test_tokens_that_were_not_used_come_back_to_the_shared_minute(
    store: Any, process: Callable[..., Desk]
) -> None:
    key = make_key(limits=(make_limit(limit_id="lim_tpm", kind="tokens", amount=3000),))
    first, second = process(), process()
    for _ in range(6):
        draft = first.draft(key)
        await first.admission.admit(draft)
        first.end(draft, 5, tokens=10)
        await report(first)
    for _ in range(20):
        await report(first)
    await second.admission.admit(second.draft(key))


@pytest.mark.django_db(transaction=True)
async def test_counters_that_redis_lost_are_read_from_the_ledger(
    store: Any, process: Callable[..., Desk], tmp_path: Path
) -> None:
    key = make_key(limits=(make_limit(limit_id="lim_lost", amount=100 * CENT),))
    records = [
        make_record(organization_id=ORGANIZATION, booked_nanousd=97 * CENT, started_us=int(NOW * 1e6)),
    ]
    await asyncio.to_thread(
        ledger.post_segment,
        segment_id="one",
        sha256="0" * 64,
        records=[stored_records.account_of(record) for record in records],
    )
    desks = [process(spend=Spend(tmp_path)), process(spend=Spend(tmp_path))]
    for desk in desks:
        assert await call(desk, key, cost=1000) is not None
        await report(desk)
    assert desks[1].only_purse().spent == 97 * CENT + 2000
    held = desks[0].draft(key)
    await desks[0].admission.admit(held)
    for name in [name async for name in store.scan_iter(f"kairosroute:budget:{{{ORGANIZATION}}}*")]:
        await store.delete(name)
    for _ in range(3):
        for desk in desks:
            await report(desk)
    purse = desks[1].only_purse()
    assert purse.spent == 97 * CENT  # the two calls of this test have no records
    assert purse.held_elsewhere >= held.reserved_nanousd
    desks[0].end(held, 500)
    await report(desks[0])
    await report(desks[1])
    assert desks[1].only_purse().spent == 97 * CENT + 500


async def test_a_report_whose_answer_is_lost_is_not_counted_twice(store: Any, process: Callable[..., Desk]) -> None:
    key = make_key(limits=(make_limit(limit_id="lim_twice"),))
    desk = process()
    assert await call(desk, key, cost=1000)
    meter = desk.admission.meters()[0]
    await report(desk)
    lease = meter.lease
    # the answer did not arrive: the same report is sent again
    lease.pending = meter.purse.unreported = 1000  # type: ignore[union-attr]
    await report(desk)
    assert int(await store.hget(lease.key, "spent")) == 1000


async def test_without_redis_windows_count_by_process_and_budgets_stop(process: Callable[..., Desk]) -> None:
    desk = process(NOWHERE)
    rated = make_key(limits=(make_limit(kind="requests", amount=3),))
    outcomes = [await call(desk, rated, cost=0) for _ in range(5)]
    assert [outcome is not None for outcome in outcomes] == [True, True, True, False, False]
    with pytest.raises(errors.Unavailable) as caught:
        await desk.admission.admit(desk.draft(make_key(api_key_id="key_2", limits=(make_limit(),))))
    assert caught.value.code == "limits_unavailable"


async def test_without_redis_a_deployment_may_let_calls_through(process: Callable[..., Desk]) -> None:
    desk = process(NOWHERE, allows_without=True)
    key = make_key(limits=(make_limit(amount=1_000_000),))
    assert await call(desk, key, cost=600_000) is not None


async def test_what_is_leased_can_be_spent_while_redis_is_away(store: Any, process: Callable[..., Desk]) -> None:
    key = make_key(limits=(make_limit(limit_id="lim_away", amount=100 * CENT),))
    desk = process()
    for _ in range(3):
        await asyncio.gather(*(call(desk, key) for _ in range(20)))
        await report(desk)
    bank: Any = desk.admission.bank
    bank._away_until = float("inf")
    drafts = [desk.draft(key) for _ in range(200)]
    outcomes = await asyncio.gather(*(desk.admission.admit(draft) for draft in drafts), return_exceptions=True)
    assert 10 <= sum(outcome is None for outcome in outcomes) < 200
    assert all(outcome is None or isinstance(outcome, errors.Unavailable) for outcome in outcomes)
    bank._away_until = 0.0


_CLIENT = """
import asyncio, os, random, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
import django
django.setup()
from pathlib import Path
from gateway import errors
from gateway.leased_window import LeasedWindow
from gateway.leases import RedisBank
from tests.gateway.limits import Desk, make_key, make_limit

async def main(url, directory, seed, organization_id):
    bank = RedisBank(url, None)
    desk = Desk(Path(directory), bank=bank, window=LeasedWindow)
    bank.start(desk.admission.meters)
    key = make_key(organization_id=organization_id, limits=(make_limit(limit_id="lim_proc", amount=30_000_000),))
    rng, booked = random.Random(int(seed)), 0
    async def one():
        nonlocal booked
        await asyncio.sleep(rng.random() * 0.8)  # more than one report of the background task
        draft = desk.draft(key, max_tokens=rng.randrange(1, 1000))
        try:
            await desk.admission.admit(draft)
        except errors.GatewayError:
            return
        await asyncio.sleep(rng.random() / 20)
        desk.end(draft, draft.reserved_nanousd)
        booked += draft.booked_nanousd
    await asyncio.gather(*(one() for _ in range(200)))
    await bank.close(desk.admission.meters())
    print(booked)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_of_their_own_never_overspend_together(store: Any, prices: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "KAIROS_DATA_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _CLIENT,
            URL,
            str(prices),
            str(seed),
            ORGANIZATION,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
        )
        for seed in (1, 2)
    ]
    try:
        async with asyncio.timeout(90):
            booked = [int((await one.communicate())[0]) for one in running]
    finally:
        for one in running:
            if one.returncode is None:  # it hangs: the test says so, and leaves nothing behind
                one.kill()
                await one.wait()
    assert 0 < sum(booked) <= 30_000_000
    starts_at = int(periods.containing(NOW, "month", "UTC")[0])
    key = f"kairosroute:budget:{{{ORGANIZATION}}}:lim_proc::{starts_at}"
    assert int(await store.hget(key, "spent")) == sum(booked)
