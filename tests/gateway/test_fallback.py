"""What a call does after a failed attempt."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors, fallback
from gateway.fallback import Course, Traits
from gateway.preferences import NO_PREFERENCES, Preferences
from gateway.providers.protocol import Endpoint

TRAITS = {
    "a/small": Traits("x/small", "x", 8_000),
    "b/small": Traits("x/small", "x", 8_000),
    "a/large": Traits("x/large", "x", 200_000),
    "c/other": Traits("y/other", "y", 8_000),
    "d/unknown": Traits("z/unknown", "z", None),
}
SMALL_A, SMALL_B, LARGE, OTHER, UNKNOWN = (
    Endpoint(model, model[0], model, "openai_chat", "http://x") for model in TRAITS
)
OVERLOADED = errors.UpstreamOverloaded("x")
UNREACHABLE = errors.UpstreamError("x")
TOO_LONG = errors.UpstreamRejected("x", code="context_length_exceeded")
POLICY = errors.UpstreamRejected("x", code="content_policy_violation")


def course(*endpoints: Endpoint, preferences: Preferences = NO_PREFERENCES, **options: Any) -> Course:
    return Course(endpoints, preferences=preferences, **options)


def fail(course: Course, error: errors.UpstreamFailed, now: float = 0.0) -> str:
    return course.fail(error, now, traits_of=lambda model: TRAITS[model], rng=Random(1))


def test_it_goes_on_to_the_next_endpoint_and_then_to_the_next_model() -> None:
    one = course(SMALL_A, SMALL_B, LARGE)
    assert fail(one, OVERLOADED) == "next_endpoint"
    assert one.endpoint is SMALL_B
    assert fail(one, OVERLOADED) == "next_model"
    assert one.endpoint is LARGE
    assert fail(one, OVERLOADED) == ""


def test_a_lonely_endpoint_that_could_not_be_reached_is_asked_once_more() -> None:
    one = course(SMALL_A)
    assert fail(one, UNREACHABLE) == "retry"
    assert 0.0 < one.wait_s <= 2.0
    assert fail(one, UNREACHABLE) == ""


def test_a_lonely_endpoint_that_answered_is_not_asked_again_unless_the_client_wishes() -> None:
    assert fail(course(SMALL_A), OVERLOADED) == ""
    assert fail(course(SMALL_A, preferences=Preferences(retries=1)), OVERLOADED) == "retry"
    assert fail(course(SMALL_A, preferences=Preferences(retries=0)), UNREACHABLE) == ""


def test_retries_are_for_each_endpoint_and_wait_longer_each_time() -> None:
    one, waits, whys = course(SMALL_A, SMALL_B, preferences=Preferences(retries=2), max_attempts=9), [], []
    while why := fail(one, OVERLOADED):
        whys.append(why)
        waits.append(one.wait_s)
    assert whys == ["retry", "retry", "next_endpoint", "retry", "retry"]
    assert 0.0 < waits[0] <= waits[1] * 2 <= 4.0
    assert waits[2] == 0.0


@pytest.mark.parametrize(("asked_s", "why"), [(1.5, "retry"), (7.0, "next_endpoint")])
def test_a_wait_that_the_provider_asks_for_is_kept_or_the_call_goes_elsewhere(asked_s: float, why: str) -> None:
    one = course(SMALL_A, SMALL_B, preferences=Preferences(retries=1))
    assert fail(one, errors.UpstreamRateLimited("x", retry_after_s=asked_s)) == why
    assert one.wait_s == (asked_s if why == "retry" else 0.0)


def test_a_prompt_that_is_too_long_goes_to_a_larger_model_only() -> None:
    one = course(SMALL_A, SMALL_B, UNKNOWN, LARGE)
    assert fail(one, TOO_LONG) == "larger_context_window"
    assert one.endpoint is LARGE
    assert fail(course(LARGE, SMALL_A, UNKNOWN), TOO_LONG) == ""


def test_refused_content_goes_to_another_vendor_only() -> None:
    one = course(SMALL_A, SMALL_B, LARGE, OTHER)
    assert fail(one, POLICY) == "other_vendor"
    assert one.endpoint is OTHER
    assert fail(course(SMALL_A, LARGE), POLICY) == ""


def test_a_model_that_is_not_there_is_looked_for_elsewhere_other_refusals_are_not() -> None:
    assert fail(course(SMALL_A, SMALL_B), errors.UpstreamRejected("x", status=404)) == "next_endpoint"
    assert fail(course(SMALL_A, SMALL_B), errors.UpstreamRejected("x", status=422)) == ""


def test_who_wants_no_fallback_gets_none() -> None:
    one = course(SMALL_A, SMALL_B, preferences=Preferences(allows_fallbacks=False))
    assert one.endpoints == (SMALL_A,)
    assert fail(one, OVERLOADED) == ""


def test_the_budget_and_the_deadline_end_it() -> None:
    assert fail(course(SMALL_A, SMALL_B, max_attempts=1), OVERLOADED) == ""
    assert fail(course(SMALL_A, SMALL_B, deadline=5.0), OVERLOADED, now=5.0) == ""


def test_an_endpoint_that_cannot_carry_the_call_is_passed_over() -> None:
    one, what = course(SMALL_A, SMALL_B), errors.InvalidRequest("x")
    assert one.pass_over(what)
    assert one.endpoint is SMALL_B
    assert not one.pass_over(errors.InvalidRequest("y"))
    assert one.first_failure is what


ERRORS = [OVERLOADED, UNREACHABLE, TOO_LONG, POLICY, errors.UpstreamRateLimited("x", retry_after_s=1.0)]


@settings(max_examples=200, deadline=None)
@given(
    endpoints=st.lists(st.sampled_from([SMALL_A, SMALL_B, LARGE, OTHER, UNKNOWN]), min_size=1, unique=True),
    failures=st.lists(st.sampled_from(ERRORS), min_size=12, max_size=12),
    retries=st.sampled_from([None, 0, 1, 5]),
    budget=st.integers(1, 6),
)
def test_it_stays_within_its_plan_and_its_budget(
    endpoints: list[Endpoint], failures: list[errors.UpstreamFailed], retries: int | None, budget: int
) -> None:
    one = course(*endpoints, preferences=Preferences(retries=retries), max_attempts=budget)
    attempts = [one.endpoint]
    for error in failures:
        if not fail(one, error):
            break
        assert 0.0 <= one.wait_s <= fallback.MOST_WAIT_S
        attempts.append(one.endpoint)
    assert len(attempts) <= budget
    positions = [endpoints.index(endpoint) for endpoint in attempts]
    assert positions == sorted(positions)
