"""Which rungs there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadseg.core.geometry import PIXEL_BUDGET
from roadseg.loading.ladder.rungs import Rung, cpu_rungs, gpu_rungs
from roadseg.weights import ManifestEntry, RungScores, load_manifest
from roadseg.weights.manifest import FilePart, RuntimeFile

FILES = {
    runtime: RuntimeFile("int8", (FilePart(Path("x"), "0", 1),))
    for runtime in ("openvino", "torch")
}


def entry(name: str, *ladder: RungScores, fp32: float | None = None) -> ManifestEntry:
    validation = {} if fp32 is None else {"fp32 on val": {"miou": fp32}}
    return ManifestEntry(name, (), "camvid", FILES, {}, validation, ladder=ladder, name=name)


def scores(pixels: int, cost_ms: float, **miou: float) -> RungScores:
    return RungScores(pixels, cost_ms, {key.replace("p720", "720p"): v for key, v in miou.items()})


def test_the_most_accurate_comes_first_and_what_costs_more_for_less_is_left_out() -> None:
    lite = entry("lite", scores(100, 10, val=0.6), scores(200, 20, val=0.7))
    heavy = entry("heavy", scores(100, 60, val=0.65), scores(200, 120, val=0.75))
    assert cpu_rungs([lite, heavy], (360, 480)) == (
        Rung("heavy", 200, 0.75, 120),
        Rung("lite", 200, 0.7, 20),
        Rung("lite", 100, 0.6, 10),
    )


def test_where_costs_do_not_compare_another_network_has_to_cost_half_as_much() -> None:
    lite = entry("lite", scores(100, 10, val=0.6), scores(150, 15, val=0.6))
    heavy = entry("heavy", scores(100, 19, val=0.55), scores(200, 60, val=0.58))
    found = cpu_rungs([lite, heavy], (360, 480), costs_compare=False)
    assert [(rung.model, rung.pixels) for rung in found] == [("lite", 100), ("heavy", 100)]
    assert [rung.model for rung in cpu_rungs([lite, heavy], (360, 480))] == ["lite"]


def test_a_larger_input_without_more_accuracy_is_left_out() -> None:
    lite = entry("lite", scores(100, 10, val=0.7), scores(200, 20, val=0.7))
    assert [rung.pixels for rung in cpu_rungs([lite], (360, 480))] == [100]


@pytest.mark.parametrize(
    ("source_hw", "found"),
    [
        ((360, 480), [(PIXEL_BUDGET, 0.73)]),
        ((540, 960), [(PIXEL_BUDGET, 0.73)]),
        ((720, 1280), [(2 * PIXEL_BUDGET, 0.76), (PIXEL_BUDGET, 0.74)]),
        ((1920, 1080), [(2 * PIXEL_BUDGET, 0.76), (PIXEL_BUDGET, 0.74)]),
    ],
)
def test_large_frames_get_larger_inputs_and_have_scores_of_their_own(
    source_hw: tuple[int, int], found: list[tuple[int, float]]
) -> None:
    lite = entry(
        "lite",
        scores(PIXEL_BUDGET, 20, val=0.73, p720=0.74),
        scores(2 * PIXEL_BUDGET, 40, val=0.75, p720=0.76),
    )
    assert [(rung.pixels, rung.miou) for rung in cpu_rungs([lite], source_hw)] == found


def test_a_model_without_a_ladder_has_no_rungs() -> None:
    assert cpu_rungs([entry("mine")], (360, 480)) == ()


def test_on_a_gpu_networks_are_rungs() -> None:
    rungs = gpu_rungs([entry("lite", fp32=0.73), entry("segnet", fp32=0.8), entry("unscored")])
    assert [(rung.model, rung.miou) for rung in rungs] == [("segnet", 0.8), ("lite", 0.73)]
    assert {rung.network_hw((360, 480)) for rung in rungs} == {(352, 480)}


def test_the_shipped_ladder_leads_down_from_the_best() -> None:
    rungs = cpu_rungs(load_manifest().values(), (540, 960))
    assert len(rungs) >= 5
    mious = [rung.miou for rung in rungs]
    costs = [rung.cost_ms or 0 for rung in rungs]
    assert mious == sorted(mious, reverse=True)
    assert costs == sorted(costs, reverse=True), "more accuracy always costs more"
    assert rungs[0].model == "segnet-edge"
    assert rungs[-1].model == "segnet-nano"
    every = cpu_rungs(load_manifest().values(), (540, 960), costs_compare=False)
    assert {rung.model for rung in every} == {"segnet-lite", "segnet-edge", "segnet-nano"}
    assert set(rungs) < set(every)
    large = cpu_rungs(load_manifest().values(), (720, 1280))
    assert large[0].pixels > PIXEL_BUDGET == rungs[0].pixels
