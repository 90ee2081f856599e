"""The rung that is taken, by times."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from roadseg.loading.ladder.pace import (
    BESIDE_MS,
    BGR_MS_PER_MEGAPIXEL,
    CARRIED_MS,
    MARGIN,
    PLANAR_MS_PER_MEGAPIXEL,
    Pace,
)
from roadseg.loading.ladder.pick import HOLD, contenders, expected_ms, pick_rung
from roadseg.loading.ladder.rungs import Rung

Rungs = tuple[Rung, ...]


def pace(network_ms: float) -> Pace:
    """Of a source whose frames leave the network so long."""
    rate = 1e3 / MARGIN / (network_ms + BESIDE_MS / 2)
    made = Pace((0, 0), rate, cores=2)
    assert made.network_ms == pytest.approx(network_ms)
    return made


def test_what_is_left_for_the_network() -> None:
    beside_ms = BESIDE_MS + BGR_MS_PER_MEGAPIXEL * 0.5
    assert Pace((500, 1000), 25, cores=1).network_ms == pytest.approx(40 / MARGIN - beside_ms)
    assert Pace((500, 1000), 25, cores=2).network_ms == pytest.approx(40 / MARGIN - beside_ms / 2)
    # The stages are four threads: more cores are of no use to them.
    assert Pace((500, 1000), 25, cores=64).network_ms == Pace((500, 1000), 25, 4).network_ms
    assert Pace((2160, 3840), 60, cores=2).network_ms < 0
    assert Pace((500, 1000), None, 2).network_ms == Pace((500, 1000), 30, 2).network_ms
    assert math.isinf(Pace((500, 1000), 0, 2).network_ms)


def test_pictures_in_planes_leave_the_network_more() -> None:
    more_ms = Pace((500, 1000), 25, 2, planar=True).network_ms - Pace((500, 1000), 25, 2).network_ms
    assert more_ms == pytest.approx((BGR_MS_PER_MEGAPIXEL - PLANAR_MS_PER_MEGAPIXEL) * 0.5 / 2)
    assert more_ms > 0


@pytest.mark.parametrize("every", [2, 3, 4])
def test_of_frames_that_the_network_does_not_see_it_has_the_time(every: int) -> None:
    one = Pace((500, 1000), 25, 2)
    skipping = Pace((500, 1000), 25, 2, every)
    # Over `every` frames: one in the network, the others carried, all of them in the same time.
    carried_ms = (every - 1) * CARRIED_MS / 2
    assert skipping.network_ms == pytest.approx(every * one.network_ms - carried_ms)
    assert (every - 1) * one.network_ms < skipping.network_ms < every * one.network_ms


def test_with_reuse_a_better_rung_keeps_up(lite: Rungs) -> None:
    times_ms = dict(zip(lite, (70.0, 50.0, 33.0, 27.0, 15.0), strict=True))
    taken = [pick_rung(lite, times_ms, Pace((360, 480), 25, 2, every)).rung for every in (1, 2, 3)]
    assert taken == [lite[3], lite[1], lite[0]]


def test_the_best_that_keeps_up(lite: Rungs) -> None:
    times_ms = dict(zip(lite, (70.0, 50.0, 33.0, 27.0, 15.0), strict=True))
    for network_ms, position in ((100, 0), (60, 1), (33, 2), (32, 3), (20, 4)):
        pick = pick_rung(lite, times_ms, pace(network_ms))
        assert (pick.rung, pick.keeps_up) == (lite[position], True)


def test_the_fastest_where_none_keeps_up(lite: Rungs) -> None:
    times_ms = dict(zip(lite, (700.0, 500.0, 330.0, 270.0, 150.0), strict=True))
    pick = pick_rung(lite, times_ms, pace(30))
    assert (pick.rung, pick.keeps_up) == (lite[-1], False)
    assert pick.below() is None
    too_large = pick_rung(lite, times_ms, Pace((4320, 7680), 60, 2))
    assert (too_large.rung, too_large.keeps_up) == (lite[-1], False)
    assert "(150 ms of the 0 that the network has)" in too_large.reason()


def test_what_was_not_timed_is_reckoned_from_the_nearest(lite: Rungs) -> None:
    best, second, third, *_, last = lite
    assert expected_ms(second, {}) is None
    # Small inputs are slower a pixel on this machine, and only they.
    times_ms = {best: 2 * best.cost_ms, last: 3 * last.cost_ms}
    assert expected_ms(second, times_ms) == pytest.approx(2 * second.cost_ms)
    assert expected_ms(lite[3], times_ms) == pytest.approx(3 * lite[3].cost_ms)
    assert expected_ms(third, {Rung("gpu", 1, 0.5): 7.0}) is None
    assert expected_ms(Rung("gpu", 1, 0.5), times_ms) is None


def test_a_rung_that_was_taken_holds_against_times_that_waver(lite: Rungs) -> None:
    best, second, third = lite[:3]
    times_ms = {second: 40.0}
    for network_ms in (40 / (HOLD - 0.01), 40.0, 40 * (HOLD - 0.01)):
        assert pick_rung(lite, times_ms, pace(network_ms), before=second).rung == second
        assert pick_rung(lite, times_ms, pace(network_ms), before=third).rung == third
    assert pick_rung(lite, times_ms, pace(40 / (HOLD + 0.01)), before=second).rung == third
    assert pick_rung(lite, times_ms, pace(40 * (HOLD + 0.01)), before=third).rung == second
    # Without a past the limit itself decides.
    assert pick_rung(lite, times_ms, pace(40.1)).rung == second
    assert pick_rung(lite, times_ms, pace(39.0)).rung == third
    assert pick_rung(lite, times_ms, pace(40.1), before=Rung("gone", 1, 0.1)).rung == second
    assert best not in times_ms


def test_pictures_get_the_best_without_a_time(lite: Rungs) -> None:
    pick = pick_rung(lite, {}, Pace((360, 480), 0, 2))
    assert (pick.rung, pick.keeps_up, pick.network_ms) == (lite[0], True, None)
    assert pick.reason() == "the most accurate, since pictures need not be kept up with"
    assert pick.to_json() == {
        "model": "segnet-lite",
        "size_hw": [416, 576],
        "miou": 0.736,
        "keeps_up": True,
        "rate": None,
        "rate_assumed": False,
        "network_ms": None,
        "allowed_ms": None,
        "disturbed": False,
        "steps_down": 0,
    }


def test_the_reason_names_rate_and_times(lite: Rungs) -> None:
    times_ms = {lite[2]: 27.6}
    known = pick_rung(lite, times_ms, Pace((540, 960), Fraction(25), 2))
    assert known.rung == lite[3]
    assert known.reason() == (
        "the most accurate that keeps up with 25 frames a second here (22 ms of the 27 that the "
        "network has)"
    )
    assumed = pick_rung(lite, times_ms, Pace((540, 960), None, 2))
    assert assumed.to_json()["rate_assumed"] is True
    assert "keeps up with 30 frames a second (assumed: the source does not say) here" in (
        assumed.reason()
    )
    busy = pick_rung(lite, times_ms, Pace((540, 960), 25, 2), disturbed=True)
    assert busy.reason().endswith(
        "(22 ms of the 27 that the network has, as far as other programs let it be timed; the next "
        "run tries again)"
    )
    alone = pick_rung(lite[3:4], {lite[3]: 5.0}, Pace((540, 960), 25, 2))
    assert alone.reason().startswith("the only one, and it keeps up with 25 frames")


def test_a_run_that_falls_behind_goes_down_rung_by_rung(lite: Rungs) -> None:
    pick = pick_rung(lite, {lite[1]: 42.0}, pace(50))
    down = []
    while (lower := pick.stepped_down()) is not None:
        pick = lower
        down.append((pick.rung, pick.keeps_up, pick.steps_down))
    assert down == [(lite[2], False, 1), (lite[3], False, 2), (lite[4], False, 3)]


def test_down_leads_to_what_is_faster(lite: Rungs) -> None:
    # Measured, the third is as slow as the second.
    pick = pick_rung(lite, {lite[1]: 42.0, lite[2]: 41.0, lite[3]: 22.0}, pace(50))
    assert pick.below() == lite[3]
    unknown = (Rung("segnet", 1, 0.8), Rung("lite", 1, 0.7))
    assert pick_rung(unknown, {unknown[0]: 9.0}, pace(10)).below() == unknown[1]


def test_only_times_that_decide_are_wanted(lite: Rungs) -> None:
    assert contenders(lite, {}, 40.0) == (lite[2],), "from the middle the others are reckoned"
    times_ms = {lite[2]: lite[2].cost_ms}  # as fast as the reference
    # 42 ms for the second are not far from 40, 60 for the first are.
    assert contenders(lite, times_ms, 40.0) == (lite[2], lite[1])
    assert contenders(lite, times_ms, 45.0) == (lite[1],)
    assert contenders(lite, times_ms, 100.0) == (lite[0],)
    assert contenders(lite, times_ms, 1.0) == (lite[4],)
    on_gpu = (Rung("segnet", 1, 0.8), Rung("lite", 1, 0.7))
    assert contenders(on_gpu, {}, 40.0) == on_gpu[:1]
    assert contenders(on_gpu, {on_gpu[0]: 50.0}, 40.0) == on_gpu[1:]
    assert contenders(on_gpu, {on_gpu[0]: 5.0}, 40.0) == on_gpu[:1]
