"""Every second frame is enough where that is the better choice."""

from __future__ import annotations

from fractions import Fraction

import pytest

from roadseg.loading.ladder.carrying import EVERY, LOSS, may_carry, or_all_frames
from roadseg.loading.ladder.pace import Pace
from roadseg.loading.ladder.pick import Pick, pick_rung
from roadseg.loading.ladder.rungs import Rung

Rungs = tuple[Rung, ...]


def carried(rungs: Rungs, slowness: float, cores: int = 2, rate: float = 25) -> Pick:
    """What is taken for every second frame, where a rung takes `slowness` times its cost."""
    times_ms = {rung: (rung.cost_ms or 1) * slowness for rung in rungs}
    return pick_rung(rungs, times_ms, Pace((360, 480), rate, cores, EVERY))


@pytest.mark.parametrize(
    ("rate", "may"),
    [(None, False), (10, False), (12.5, False), (15, True), (Fraction(15000, 1001), True)],
)
def test_frames_have_to_be_near_each_other(rate: float | None, may: bool) -> None:
    assert may_carry(rate) is may


def test_a_better_network_on_half_of_the_frames_beats_a_lesser_one_on_all(lite: Rungs) -> None:
    # 42 ms at 352x480, where all frames leave 30 and every second one leaves 58.
    pick = carried(lite, 1.0)
    assert (pick.rung, pick.keeps_up) == (lite[1], True)
    assert or_all_frames(pick) is pick


def test_where_the_best_sees_all_frames_half_of_the_time_is_worth_the_loss(lite: Rungs) -> None:
    pick = carried(lite, 0.4)
    assert pick.rung == lite[0]
    seeing_all = pick_rung(pick.rungs, pick.times_ms, Pace((360, 480), 25, 2))
    assert seeing_all.rung == lite[0]
    assert or_all_frames(pick) is pick


def test_a_network_as_quick_as_carrying_sees_all_frames(lite: Rungs) -> None:
    pick = carried(lite, 0.02)
    chosen = or_all_frames(pick)
    assert (chosen.pace.every, chosen.rung, chosen.keeps_up) == (1, pick.rung, True)


@pytest.mark.parametrize(("gain", "pays"), [(LOSS / 2, False), (LOSS * 2, True)])
def test_a_gain_below_the_loss_is_none(gain: float, pays: bool) -> None:
    # As slow on half of the frames as the lesser one is on all, so that accuracy decides.
    rungs = (Rung("a", 40000, 0.7 + gain, 56.0), Rung("b", 30000, 0.7, 29.0))
    pick = carried(rungs, 1.0)
    assert pick.rung == rungs[0]
    assert (or_all_frames(pick) is pick) is pays


def test_where_nothing_keeps_up_half_of_the_frames_come_nearest(lite: Rungs) -> None:
    pick = carried(lite, 50.0)
    assert not pick.keeps_up
    assert or_all_frames(pick) is pick
