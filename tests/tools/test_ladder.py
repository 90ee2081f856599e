"""`python -m tools.ladder`: what it measures, and what it writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.cli import main
from roadseg.core.types import Image, Labels
from roadseg.datasets.camvid import CamVid
from roadseg.evaluation.evaluate import evaluate_backend
from roadseg.weights import WEIGHTS_DIR, RungScores, load_manifest, resolve_model
from tools import ladder as module
from tools.ladder import HdScenes, measure_ladder, with_known_costs
from tools.manifest import write_ladder


class Few:
    """Two frames, instead of rendered ones."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[tuple[Image, Labels]]:
        for level in (60, 200):
            yield np.full((72, 128, 3), level, np.uint8), np.full((72, 128), 3, np.uint8)


def test_each_rung_has_the_score_of_an_evaluation(tiny_camvid: Path) -> None:
    path = resolve_model("segnet-lite", "openvino").path
    val = CamVid(tiny_camvid, "val")
    ticks = iter(range(1000))
    small, large = measure_ladder(
        path,
        "segnet-lite",
        {"val": val, "720p": Few()},
        pixels=(64 * 96, 128 * 192),
        clock=lambda: next(ticks) / 1e3,
    )
    for rung, size_hw in ((small, (64, 96)), (large, (128, 192))):
        backend = OpenVinoBackend(path, size_hw, name="segnet-lite", precision="int8")
        assert rung.miou["val"] == round(evaluate_backend(backend, val).miou, 4)
        assert set(rung.miou) == {"val", "720p"}
        assert rung.cost_ms == 1.0
    assert (small.pixels, large.pixels) == (64 * 96, 128 * 192)


def test_large_scenes_are_rendered_the_same_each_time() -> None:
    image_bgr, ids = next(iter(HdScenes(1)))
    assert image_bgr.shape == (720, 1280, 3)
    assert ids.shape == (720, 1280)
    np.testing.assert_array_equal(next(iter(HdScenes(1)))[1], ids)
    assert len(HdScenes(3)) == 3


def test_the_command_writes_the_manifest(
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pixels = load_manifest()["segnet-lite"].ladder[0].pixels
    written: dict[str, tuple[RungScores, ...]] = {}
    monkeypatch.setattr(module, "write_ladder", written.__setitem__)
    monkeypatch.setattr(module, "HdScenes", Few)
    monkeypatch.setattr(module, "PIXELS", (pixels,))
    monkeypatch.setattr(module, "refresh_figures", lambda entry, checkout: [Path("page.md")])
    arguments = ["--data", str(tiny_camvid), "--model", "segnet-lite"]
    assert main(arguments, module.program) == 0
    (rung,) = written["segnet-lite"]
    lines = capsys.readouterr().out.splitlines()
    known_ms = load_manifest()["segnet-lite"].ladder[0].cost_ms
    assert rung.cost_ms == known_ms, "one model alone says nothing about the others"
    assert lines[0].startswith(f"segnet-lite {pixels} pixels: {rung.cost_ms:.1f} ms, mIoU val 0.")
    assert lines[1] == "page.md follows"


def test_costs_stay_those_of_the_machine_that_all_models_were_measured_on() -> None:
    before = (RungScores(6144, 41.4, {"val": 0.7}), RungScores(9999, 1.0, {"val": 0.1}))
    now = (RungScores(6144, 93.0, {"val": 0.8}), RungScores(12288, 170.0, {"val": 0.9}))
    assert with_known_costs(now, before) == (
        RungScores(6144, 41.4, {"val": 0.8}),
        RungScores(12288, 170.0, {"val": 0.9}),
    )


def test_a_ladder_is_kept_with_its_model(tmp_path: Path) -> None:
    shutil.copyfile(WEIGHTS_DIR / "manifest.json", tmp_path / "manifest.json")
    before = json.loads((tmp_path / "manifest.json").read_text())
    rungs = (RungScores(6144, 1.5, {"val": 0.5}),)
    write_ladder("segnet-basic", rungs, directory=tmp_path)
    assert load_manifest(tmp_path)["segnet-basic"].ladder == rungs
    after = json.loads((tmp_path / "manifest.json").read_text())
    before["models"]["segnet-basic"].pop("ladder", None)
    after["models"]["segnet-basic"].pop("ladder")
    assert before == after, "nothing else has changed"
