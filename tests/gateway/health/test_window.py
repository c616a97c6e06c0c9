"""One endpoint's five minutes: what is counted, what it weighs, when the breaker opens and closes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.health.window import CLASSES, CLOSED, FAULTS, HALF_OPEN, OPEN, Window


def tried(window: Window, now: float, successes: int = 0, faults: int = 0) -> Window:
    for _ in range(successes):
        window.succeed(now, 400_000)
    for _ in range(faults):
        window.fail(now, "UpstreamOverloaded")
    return window


def test_fewer_than_three_samples_are_taken_as_fine() -> None:
    assert tried(Window(0.0), 1.0, faults=2).weight(1.0) == 1.0


def test_faults_weigh_and_fade_when_nobody_tries() -> None:
    window = tried(Window(0.0), 1.0, successes=10, faults=2)
    first, later = window.weight(1.0), window.weight(121.0)
    assert first == pytest.approx(1 - 2 / 14)
    assert first < later < 1.0
    assert window.weight(400.0) == 1.0


def test_a_slow_endpoint_weighs_less_but_more_than_one_that_fails() -> None:
    slow, failing = Window(0.0), tried(Window(0.0), 1.0, faults=12)
    for _ in range(5):
        slow.succeed(1.0, 60_000_000)
        slow.note_rate(2.0)
    assert slow.weight(1.0) == 0.25
    assert failing.weight(1.0) < 0.25


def test_quantiles_are_right_to_an_eighth() -> None:
    window = Window(0.0)
    for milliseconds in range(100, 1100, 10):
        window.succeed(1.0, milliseconds * 1000)
        window.note_rate(milliseconds / 10)
    figures = window.figures(1.0)
    assert figures.samples == 100
    assert figures.first_token_p50_ms == pytest.approx(600, rel=0.13)
    assert figures.first_token_p75_ms == pytest.approx(850, rel=0.13)
    assert figures.first_token_p95_ms == pytest.approx(1050, rel=0.13)
    assert figures.tokens_per_s_p50 == pytest.approx(60, rel=0.13)


def test_five_minutes_are_remembered_and_not_more() -> None:
    window = tried(Window(0.0), 1.0, successes=7)
    assert window.figures(200.0).samples == 7
    assert window.figures(330.0).samples == 0
    assert window.figures(5000.0).samples == 0


def test_what_was_the_credentials_shows_and_weighs_nothing() -> None:
    window = tried(Window(0.0), 1.0, successes=5)
    for _ in range(20):
        window.note_credential_failure(1.0, "UpstreamRateLimited")
    figures = window.figures(1.0)
    assert (figures.error_ratio, figures.failures) == (0.0, {"UpstreamRateLimited": 20})
    assert window.weight(1.0) == 1.0
    assert window.is_closed


def test_three_faults_in_a_row_open_the_breaker_of_an_endpoint_with_few_calls() -> None:
    window = tried(Window(0.0), 1.0, faults=3)
    assert window.state(1.0) == OPEN
    assert window.open_for(1.0) == 5.0


def test_three_faults_among_many_successes_do_not() -> None:
    assert tried(Window(0.0), 1.0, successes=500, faults=3).is_closed


def test_ten_faults_in_a_row_open_it_whatever_went_before() -> None:
    assert not tried(Window(0.0), 1.0, successes=5000, faults=10).is_closed


def test_half_of_the_attempts_failing_opens_it_without_any_row() -> None:
    window = Window(0.0)
    for _ in range(3):
        window.succeed(1.0)
        window.fail(1.0, "UpstreamError")
    assert not window.is_closed


def test_one_probe_at_a_time_decides_after_an_outage() -> None:
    window = tried(Window(0.0), 1.0, faults=3)
    assert not window.wants_probe(5.9)
    assert window.state(6.0) == HALF_OPEN
    assert window.wants_probe(6.0)
    window.begin_probe(6.0)
    assert not window.wants_probe(6.1)
    window.succeed(6.5, 100_000)
    assert window.state(6.5) == CLOSED


def test_a_failed_probe_doubles_the_wait_up_to_a_minute() -> None:
    window, now, waits = tried(Window(0.0), 1.0, faults=3), 1.0, []
    for _ in range(6):
        waits.append(window.open_for(now))
        now += window.open_for(now)
        window.begin_probe(now)
        window.fail(now, "UpstreamTimeout")
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_a_probe_that_never_reports_back_is_replaced() -> None:
    window = tried(Window(0.0), 1.0, faults=3)
    window.begin_probe(6.0)
    assert not window.wants_probe(35.9)
    assert window.wants_probe(36.0)


def test_a_stream_that_breaks_after_its_first_token_is_one_attempt() -> None:
    window = Window(0.0)
    window.succeed(1.0, 100_000)
    window.fail(2.0, "UpstreamCut", was_success=True)
    figures = window.figures(2.0)
    assert (figures.samples, figures.successes, figures.failures) == (1, 0, {"UpstreamCut": 1})


def test_what_another_process_saw_counts_as_ones_own() -> None:
    window = Window(0.0)
    window.merge(1.0, [(0, 2), (2, 8)])
    figures = window.figures(1.0)
    assert (figures.samples, figures.failures) == (10, {"UpstreamOverloaded": 8})
    assert not window.is_closed


EVENTS = st.tuples(
    st.sampled_from(["succeed", "fail", "break", "limit", "probe", "weigh", "figures"]),
    st.floats(0.0, 400.0),
    st.sampled_from(CLASSES[:FAULTS]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_whatever_happens_the_weight_is_a_weight_and_the_breaker_ends(events: list[tuple[str, float, str]]) -> None:
    window, now = Window(0.0), 0.0
    for kind, wait, error_class in events:
        now += wait
        if kind == "succeed":
            window.succeed(now, int(wait * 1000))
            assert window.is_closed  # an answer is proof
        elif kind in ("fail", "break"):
            window.fail(now, error_class, was_success=kind == "break")
        elif kind == "limit":
            window.note_credential_failure(now, "UpstreamAccount")
        elif kind == "probe":
            window.begin_probe(now)
        assert 0.0 <= window.weight(now) <= 1.0
        figures = window.figures(now)
        assert 0.0 <= figures.error_ratio <= 1.0
        assert window.open_for(now) <= 60.0 + 1e-6  # a difference of moments, which floats round
    assert window.state(now + 60.0) != OPEN
    assert window.figures(now + 1000.0).samples == 0
