"""Which frames are wanted, and how long to wait before the next attempt."""

from __future__ import annotations

import random

import pytest

from roadseg.live.pace import Admission, Backoff
from tests.support.live import make_frame


def admitted(admission: Admission, count: int) -> list[int]:
    """Of frames at 25 a second."""
    return [i for i in range(count) if admission(make_frame(i))]


def test_a_stride_takes_every_third() -> None:
    assert admitted(Admission(stride=3), 10) == [0, 3, 6, 9]


@pytest.mark.parametrize("max_fps", [1.0, 7.0, 10.0, 24.0, 25.0, 60.0])
def test_the_highest_rate_is_reached_and_not_passed(max_fps: float) -> None:
    seconds = 20
    count = len(admitted(Admission(max_fps=max_fps), 25 * seconds))
    assert count == pytest.approx(min(max_fps, 25) * seconds, abs=2)


def test_a_long_pause_saves_nothing_up() -> None:
    admission = Admission(max_fps=5)
    assert admission(make_frame(0))
    burst = [admission(make_frame(i)) for i in range(2500, 2504)]
    assert burst == [True, True, False, False]


def test_waits_double_up_to_the_limit_and_begin_anew() -> None:
    backoff = Backoff(1, 30, jitter=0)
    assert [backoff.next_s() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next_s() == 1


def test_jitter_shortens_waits_and_never_lengthens_them() -> None:
    backoff = Backoff(8, 8, jitter=0.3, chance=random.Random(1))
    waits = [backoff.next_s() for _ in range(200)]
    assert 5.6 <= min(waits) < 6
    assert 7.8 < max(waits) <= 8
