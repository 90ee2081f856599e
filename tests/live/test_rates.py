"""Rates are counts over spans, ages are percentiles of a window."""

from __future__ import annotations

import pytest

from roadseg.live.rates import Ages, Rate, Tally
from tests.support.live import FakeClock


def run(clock: FakeClock, rate: Rate, gaps_s: list[float], times: int) -> None:
    for i in range(times):
        clock.advance(gaps_s[i % len(gaps_s)])
        rate.count()


@pytest.mark.parametrize(
    "gaps_s",
    [
        [0.04],
        # Twelve at once, then a pause: a camera around its key frames, 25 a second.
        [0.48 - 11 * 0.002, *[0.002] * 11],
    ],
)
def test_steady_and_bursting_cameras_of_one_rate_measure_the_same(
    clock: FakeClock, gaps_s: list[float]
) -> None:
    rate = Rate(clock)
    run(clock, rate, gaps_s, 1200)
    assert rate.per_s() == pytest.approx(25, rel=0.06)
    assert rate.total == 1200


def test_a_rate_falls_to_zero_when_nothing_comes(clock: FakeClock) -> None:
    rate = Rate(clock, span_s=5)
    run(clock, rate, [0.1], 100)
    clock.advance(2.5)
    assert rate.per_s() == pytest.approx(5, rel=0.05)
    clock.advance(2.6)
    assert rate.per_s() == 0


def test_a_young_rate_counts_over_the_time_there_was(clock: FakeClock) -> None:
    rate = Rate(clock, span_s=5)
    run(clock, rate, [0.1], 10)
    assert rate.per_s() == pytest.approx(10)


def test_one_frame_after_a_moment_is_no_thousand_a_second(clock: FakeClock) -> None:
    rate = Rate(clock, span_s=5, bins=50)
    clock.advance(0.001)
    rate.count()
    assert rate.per_s() == pytest.approx(10)


def test_a_new_connection_begins_a_new_span(clock: FakeClock) -> None:
    rate = Rate(clock)
    run(clock, rate, [0.1], 50)
    rate.restart()
    run(clock, rate, [0.5], 4)
    assert rate.per_s() == pytest.approx(2, rel=0.01)


def test_ages_are_those_of_the_window(clock: FakeClock) -> None:
    ages = Ages(clock, window_s=10)
    ages.add(9.0)
    clock.advance(11)
    for i in range(1, 101):
        ages.add(i / 100)
    found = ages.summary()
    assert (found.p50, found.p95, found.p99) == pytest.approx((0.505, 0.9505, 0.9901))
    assert found.newest == 1.0


def test_ages_without_a_value_are_none_and_old_ones_make_room(clock: FakeClock) -> None:
    ages = Ages(clock, capacity=4)
    assert ages.summary().p99 is None
    for age_s in (1.0, 1.0, 2.0, 2.0, 2.0, 2.0):
        ages.add(age_s)
    assert ages.summary().p50 == 2.0
    clock.advance(60)
    assert ages.summary().newest is None


def test_a_tally_accounts_for_every_frame() -> None:
    tally = Tally()
    tally.read, tally.shown = 10, 6
    tally.drop("late", 3)
    assert tally.pending == 1
