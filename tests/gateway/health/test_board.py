"""The order of a call's attempts, and whose fault is whose."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.fallback import Traits
from gateway.health.board import Board, Plan
from gateway.providers.protocol import Endpoint


def at(provider: str, model: str = "m", **fields: Any) -> Endpoint:
    return Endpoint(f"{provider}/{model}", provider, model, "openai_chat", f"http://{provider}", **fields)


A, B, C = at("a"), at("b"), at("c")
OTHER = at("a", "n")
ENDPOINTS = [
    A,
    B,
    C,
    OTHER,
    at("a", credential_id="pc_1", key_source="byok"),
    at("b", credential_id="pc_2", key_source="byok"),
]


def traits(model: str) -> Traits:
    return Traits(model.rpartition("/")[2], "v")


def plan(board: Board, *endpoints: Endpoint, now: float = 1.0, is_order_fixed: bool = False) -> Plan:
    return board.plan(endpoints, now, traits_of=traits, is_order_fixed=is_order_fixed)


def fail(board: Board, endpoint: Endpoint, times: int = 3, now: float = 1.0) -> None:
    for _ in range(times):
        board.fail(endpoint, now, errors.UpstreamOverloaded("x"))


def worsen(board: Board, endpoint: Endpoint) -> None:
    """Let a third of an endpoint's attempts fail: too many for its peers, too few for its breaker."""
    for _ in range(4):
        board.succeed(endpoint, 1.0, 300_000)
        fail(board, endpoint, 1)
        board.succeed(endpoint, 1.0, 300_000)


def test_between_sound_endpoints_the_plans_order_holds() -> None:
    board = Board()
    for endpoint in (A, B, C):
        for _ in range(5):
            board.succeed(endpoint, 1.0, 300_000)
    assert plan(board, A, B, C) == Plan((A, B, C))


def test_an_endpoint_that_is_materially_worse_goes_behind_its_peers() -> None:
    board = Board()
    worsen(board, A)
    assert plan(board, A, B, C).endpoints == (B, C, A)


def test_an_open_endpoint_is_left_out_while_there_is_another() -> None:
    board = Board()
    fail(board, A)
    assert plan(board, A, B) == Plan((B,), ((A, "open"),))
    assert plan(board, A) == Plan((A,))


def test_models_keep_their_order_whatever_their_health() -> None:
    board = Board()
    worsen(board, A)
    assert plan(board, A, OTHER).endpoints == (A, OTHER)


def test_the_customers_key_stays_before_the_operators() -> None:
    board, own = Board(), at("a", credential_id="pc_1", key_source="byok")
    worsen(board, own)
    assert plan(board, own, B).endpoints == (own, B)


def test_a_probe_goes_first_once() -> None:
    board = Board()
    fail(board, A)
    probing = plan(board, B, A, now=7.0)
    assert (probing.endpoints, probing.is_probing) == ((A, B), True)
    board.begin(A, 7.0)
    assert plan(board, B, A, now=7.1) == Plan((B,), ((A, "open"),))


def test_a_providers_wait_is_kept_and_binds_even_a_lonely_endpoint() -> None:
    board = Board()
    board.fail(A, 1.0, errors.UpstreamRateLimited("x", retry_after_s=7.0))
    assert plan(board, A, B).endpoints == (B,)
    alone = plan(board, A, now=3.0)
    assert (alone.endpoints, alone.retry_after_s) == ((), 5.0)
    assert plan(board, A, now=8.0).endpoints == (A,)


def test_a_limit_without_a_wait_backs_off_but_does_not_bind() -> None:
    board = Board()
    board.fail(A, 1.0, errors.UpstreamRateLimited("x"))
    assert plan(board, A, B, now=1.5).endpoints == (B,)
    assert plan(board, A, now=1.5).endpoints == (A,)
    board.fail(A, 2.5, errors.UpstreamRateLimited("x"))
    assert plan(board, A, B, now=4.4).endpoints == (B,)  # twice as long as before


def test_an_overloaded_endpoint_that_says_when_is_left_out_until_then_but_tried_when_alone() -> None:
    board = Board()
    board.fail(A, 1.0, errors.UpstreamOverloaded("x", retry_after_s=7.0))
    assert plan(board, A, B, now=7.9).endpoints == (B,)
    assert plan(board, A, now=7.9).endpoints == (A,)
    assert plan(board, A, B, now=8.0).endpoints == (A, B)


def test_an_answer_to_an_older_call_does_not_end_a_providers_wait() -> None:
    board = Board()
    board.fail(A, 1.0, errors.UpstreamRateLimited("x", retry_after_s=7.0))
    board.succeed(A, 1.2, None)
    assert plan(board, A, now=2.0).endpoints == ()


@pytest.mark.parametrize(
    "error",
    [
        errors.UpstreamRateLimited("x", retry_after_s=9.0),
        errors.UpstreamError("x", code="upstream_account"),
        errors.UpstreamError("x", code="upstream_access"),
    ],
)
def test_a_customers_refused_key_does_not_darken_the_operators_endpoint(error: errors.UpstreamFailed) -> None:
    board, own = Board(), at("a", credential_id="pc_1", key_source="byok")
    for _ in range(20):
        board.fail(own, 1.0, error)
    assert plan(board, A, B).endpoints == (A, B)
    assert plan(board, own, B).endpoints == (B,)


def test_a_key_that_comes_with_a_call_is_remembered_by_nobody() -> None:
    board, passing = Board(), at("a", credential_id="request", key_source="byok")
    board.fail(passing, 1.0, errors.UpstreamRateLimited("x", retry_after_s=9.0))
    assert plan(board, passing, B).endpoints == (passing, B)


def test_a_refused_account_closes_all_models_of_the_credential_a_denied_model_only_itself() -> None:
    board = Board()
    board.fail(A, 1.0, errors.UpstreamError("x", code="upstream_access"))
    assert plan(board, OTHER, C).endpoints == (OTHER, C)
    board.fail(A, 1.0, errors.UpstreamError("x", code="upstream_account"))
    assert plan(board, OTHER, C).endpoints == (C,)


def test_the_clients_own_mistakes_never_count() -> None:
    board = Board()
    for _ in range(50):
        board.fail(A, 1.0, errors.UpstreamRejected("x"))
    assert not board.rows
    assert plan(board, A, B).endpoints == (A, B)


def test_the_simulator_is_not_kept() -> None:
    board, simulated = Board(), at("simulator", is_simulated=True)
    fail(board, simulated)
    board.succeed(simulated, 1.0, 1)
    assert not board.rows


def test_a_wished_order_is_kept_but_for_what_is_out() -> None:
    board = Board()
    worsen(board, A)
    assert plan(board, A, B, is_order_fixed=True).endpoints == (A, B)
    fail(board, A, 20)
    assert plan(board, A, B, is_order_fixed=True).endpoints == (B,)


def test_the_speed_of_an_endpoint_is_known_from_three_samples_on() -> None:
    board = Board()
    for number in range(3):
        assert board.speed(A, 1.0) is None, number
        board.succeed(A, 1.0, 900_000)
        board.note_rate(A, 30.0)
    assert board.speed(A, 1.0) == (pytest.approx(900, rel=0.13), pytest.approx(30, rel=0.13), "closed")


def test_a_conversation_stays_while_its_endpoint_is_sound() -> None:
    board = Board()

    def stays(endpoint: Endpoint) -> bool:
        return endpoint is C

    def found() -> tuple[Endpoint, ...]:
        return board.plan((A, B, C), 1.0, traits_of=traits, stays_at=stays).endpoints

    assert found() == (C, A, B)
    fail(board, C)
    assert found() == (A, B)


def test_openings_and_closings_are_told() -> None:
    board = Board()
    fail(board, A, 5)
    board.succeed(A, 9.0, None)
    assert [(event.is_open, event.provider, event.at) for event in board.events] == [
        (True, "a", 1.0),
        (False, "a", 9.0),
    ]


def test_endpoints_that_nobody_calls_are_forgotten() -> None:
    board = Board()
    for number in range(2000):
        board.succeed(at("a", f"m{number}"), 1.0, None)
    assert len(board.rows) == 1024
    board.forget_idle(2000.0)
    assert not board.rows


ERRORS = [
    errors.UpstreamOverloaded("x"),
    errors.UpstreamTimeout("x"),
    errors.UpstreamRateLimited("x"),
    errors.UpstreamRateLimited("x", retry_after_s=4.0),
    errors.UpstreamError("x", code="upstream_account"),
    errors.UpstreamRejected("x"),
    None,
]


@settings(max_examples=200, deadline=None)
@given(
    history=st.lists(st.tuples(st.sampled_from(ENDPOINTS), st.sampled_from(ERRORS), st.floats(0, 30)), max_size=60),
    decided=st.lists(st.sampled_from(ENDPOINTS), min_size=1, max_size=6, unique=True),
    is_order_fixed=st.booleans(),
    seat=st.sampled_from([*ENDPOINTS, None]),
)
def test_no_attempt_goes_where_the_decision_did_not_allow_it(
    history: list[tuple[Endpoint, errors.UpstreamFailed | None, float]],
    decided: list[Endpoint],
    is_order_fixed: bool,
    seat: Endpoint | None,
) -> None:
    board, now = Board(), 0.0
    for endpoint, error, wait in history:
        now += wait
        if error is None:
            board.succeed(endpoint, now, 200_000)
        else:
            board.fail(endpoint, now, error)
    stays = None if seat is None else (lambda endpoint: endpoint is seat)
    found = board.plan(tuple(decided), now, traits_of=traits, is_order_fixed=is_order_fixed, stays_at=stays)
    left_out = [endpoint for endpoint, _ in found.skipped]
    assert len(found.endpoints) == len(set(found.endpoints))
    assert {*found.endpoints, *left_out} <= set(decided)
    assert not set(found.endpoints) & set(left_out)
    if not found.endpoints:
        assert found.retry_after_s > 0


def test_a_customers_server_that_answers_to_any_name_makes_nobody_forget_an_outage() -> None:
    board = Board()
    fail(board, A, times=10)
    board.fail(B, 1.0, errors.UpstreamRateLimited("x", retry_after_s=60.0))
    for number in range(5000):
        theirs = Endpoint(f"own/{number}", "own", f"m{number}", "openai_chat", "guarded+https://own.example")
        board.succeed(theirs, 1.0, None)
        board.fail(theirs, 1.0, errors.UpstreamRateLimited("x"))

    assert len(board.rows) <= 1024
    assert len(board.gates) <= 4096
    found = plan(board, A, B, C)
    assert [endpoint.provider for endpoint in found.endpoints] == ["c"]
    assert {why for _, why in found.skipped} == {"open", "limited"}
