"""`python -m tools.ladder`: what it measures, and what it writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.cli import main
from roadseg.core.types import Image, Labels
from roadseg.datasets.camvid import CamVid
from roadseg.evaluation.evaluate import evaluate_backend
from roadseg.weights import WEIGHTS_DIR, RungScores, load_manifest, resolve_model
from tools import ladder as module
from tools.ladder import HdScenes, measure_costs, measure_ladder, with_known_costs
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


def test_costs_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that becomes slower after each frame leaves the order of rungs right."""
    opened: list[str] = []
    closed: list[str] = []
    order: list[tuple[str, int]] = []
    now_s = [0.0]

    class Slowing:
        def __init__(
            self, model: Path, network_hw: tuple[int, int], *, name: str, **_: Any
        ) -> None:
            self.name, self.network_hw, self.frames = name, network_hw, 0
            opened.append(name)

        def infer(self, batch_bgr: Image) -> None:
            assert batch_bgr.shape == (1, *self.network_hw, 3)
            self.frames += 1
            order.append((self.name, self.network_hw[0]))
            cost = {"small": 1.0, "large": 2.0}[self.name] * self.network_hw[0] / 64
            now_s[0] += cost * self.frames / 1e3

        def close(self) -> None:
            closed.append(self.name)

    monkeypatch.setattr(module, "OpenVinoBackend", Slowing)
    frames = [np.zeros((64, 96, 3), np.uint8)] * 3
    costs = measure_costs(
        {"small": Path("a"), "large": Path("b")},
        frames,
        pixels=(64 * 96, 128 * 192),
        clock=lambda: now_s[0],
    )
    turn = [("small", 64), ("small", 128), ("large", 64), ("large", 128)]
    assert order == 4 * turn
    # Turns two to four count, so the median is what the third cost.
    assert costs == {"small": {6144: 3.0, 24576: 6.0}, "large": {6144: 6.0, 24576: 12.0}}
    assert sorted(opened) == sorted(closed)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[RungScores, ...]]:
    """What the command would write, of two models that ship."""
    shipped = {name: load_manifest()[name] for name in ("segnet-lite", "segnet-nano")}
    kept: dict[str, tuple[RungScores, ...]] = {}
    monkeypatch.setattr(module, "load_manifest", lambda: shipped)
    monkeypatch.setattr(module, "write_ladder", kept.__setitem__)
    monkeypatch.setattr(module, "refresh_figures", lambda entry, checkout: [])
    return kept


def test_costs_alone_leave_the_scores(
    written: dict[str, tuple[RungScores, ...]], tiny_camvid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def costs(models: dict[str, Path], images_bgr: list[Image]) -> dict[str, dict[int, float]]:
        assert list(models) == ["segnet-lite", "segnet-nano"]
        assert images_bgr
        rungs = load_manifest()["segnet-lite"].ladder
        return {name: {rung.pixels: 7.0 for rung in rungs} for name in models}

    monkeypatch.setattr(module, "measure_costs", costs)
    assert main(["--data", str(tiny_camvid), "--costs"], module.program) == 0
    for name, rungs in written.items():
        before = load_manifest()[name].ladder
        assert [rung.miou for rung in rungs] == [rung.miou for rung in before]
        assert {rung.cost_ms for rung in rungs} == {7.0}
    assert list(written) == ["segnet-lite", "segnet-nano"]


def test_costs_of_one_model_are_refused(tiny_camvid: Path, written: dict[str, Any]) -> None:
    arguments = ["--data", str(tiny_camvid), "--costs", "--model", "segnet-nano"]
    assert main(arguments, module.program) == 2
    assert not written


def test_costs_stay_those_of_the_machine_that_all_models_were_measured_on() -> None:
    before = (RungScores(6144, 41.4, {"val": 0.7}), RungScores(9999, 1.0, {"val": 0.1}))
    now = (RungScores(6144, 93.0, {"val": 0.8}), RungScores(12288, 170.0, {"val": 0.9}))
    assert with_known_costs(now, before) == (
        RungScores(6144, 41.4, {"val": 0.8}),
        RungScores(12288, 170.0, {"val": 0.9}),
    )


def test_a_ladder_is_kept_with_its_model(tmp_path: Path) -> None:
    shutil.copyfile(WEIGHTS_DIR / "manifest.json", tmp_path / "manifest.json")
    before = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    rungs = (RungScores(6144, 1.5, {"val": 0.5}),)
    write_ladder("segnet-basic", rungs, directory=tmp_path)
    assert load_manifest(tmp_path)["segnet-basic"].ladder == rungs
    after = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    before["models"]["segnet-basic"].pop("ladder", None)
    after["models"]["segnet-basic"].pop("ladder")
    assert before == after, "nothing else has changed"
