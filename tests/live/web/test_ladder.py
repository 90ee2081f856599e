"""Which rung a viewer gets."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="needs the extra web")

from roadseg.live.web.ladder import Ladder

DUE_S = 0.04


def send(ladder: Ladder, took_s: float, times: int, round_trip_s: float = 0.0) -> int:
    for _ in range(times):
        ladder.acknowledged(took_s, round_trip_s, DUE_S)
    return ladder.rung


def climb(ladder: Ladder) -> int:
    """Quick messages until it is at the top."""
    count = 0
    while ladder.rung:
        count += 1
        send(ladder, 0.001, 1)
    return count


def test_a_viewer_that_keeps_up_has_the_best() -> None:
    assert send(Ladder(), 0.03, 1000) == 0


def test_one_that_is_slow_gets_less_soon_and_not_at_once() -> None:
    ladder = Ladder()
    assert send(ladder, 0.1, 5) == 0
    assert send(ladder, 0.1, 1) == 1
    assert send(ladder, 0.1, 100) == 1


def test_a_hiccup_changes_nothing() -> None:
    ladder = Ladder()
    for _ in range(100):
        send(ladder, 0.5, 2)
        send(ladder, 0.01, 4)
    assert ladder.rung == 0


def test_distance_is_not_slowness() -> None:
    assert send(Ladder(), 0.23, 1000, round_trip_s=0.2) == 0


def test_it_comes_back_when_there_is_plenty_of_room() -> None:
    ladder = Ladder()
    send(ladder, 0.1, 6)
    assert send(ladder, 0.03, 1000) == 1  # in time, but four times as much would not be
    assert climb(ladder) == 50


def test_a_relapse_makes_it_more_careful() -> None:
    ladder = Ladder()
    counts = []
    for _ in range(8):
        send(ladder, 0.1, 6)
        counts.append(climb(ladder))
    assert counts == [50, 100, 200, 400, 800, 800, 800, 800]
