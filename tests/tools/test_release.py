"""A run becomes shipped files whose manifest tells the truth."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.core.errors import DataError, QualityGateError, UsageError
from roadseg.core.geometry import network_size
from roadseg.core.weights_file import read_header
from roadseg.datasets.camvid import CamVid
from roadseg.evaluation.evaluate import evaluate_backend
from roadseg.quantize.search import calibrate_network
from roadseg.training.loop import train
from roadseg.training.recipes import load_recipe
from roadseg.training.spec import RunSpec
from roadseg.weights import load_manifest
from roadseg.weights.calibration import Calibration, read_calibration
from tests.support.datasets import write_tiny_camvid
from tools import ladder
from tools import release as module
from tools.figures import figures_of
from tools.manifest import write_leave_one_drive_out
from tools.temperature import fit_temperature


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, which tests take copies of."""
    recipe = dataclasses.replace(load_recipe("lite"), epochs=2, crop_hw=(64, 64), batch_size=2)
    folder = tmp_path_factory.mktemp("trained")
    data = write_tiny_camvid(folder)
    train(RunSpec.opening(data, recipe=recipe, output=folder / "run"))
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "frames.txt"
    path.write_text("train/0.png\ntrain/1.png\n")
    return path


def test_what_ships_scores_what_its_manifest_says(
    tiny_camvid: Path,
    run: Path,
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipped = tmp_path / "weights"
    shipped.mkdir()
    monkeypatch.setattr(ladder, "PIXELS", (64 * 96, 128 * 192))
    result = module.release(
        run,
        tiny_camvid,
        calibration,
        scenes=CamVid(tiny_camvid, "val"),
        directory=shipped,
        max_drop_points=100.0,
        note="a test",
    )
    assert sorted(p.name for p in shipped.iterdir()) == [
        "manifest.json",
        "segnet-lite-int8.bin",
        "segnet-lite-int8.xml",
        "segnet-lite.safetensors",
    ]
    entry = load_manifest(shipped)["segnet-lite"]
    assert entry.training["command"] == (
        "roadseg train --model segnet-lite --data CamVid --recipe lite --epochs 2 --seed 0"
    )
    assert entry.training["epochs"] == 2
    assert entry.training["note"] == "a test"
    int8 = result.scores["int8", "val"]
    assert entry.validation["int8 on val"]["miou"] == round(int8.miou, 4)
    assert entry.temperature != 1
    assert entry.temperature == fit_temperature(
        shipped / "segnet-lite-int8.xml", "segnet-lite", CamVid(tiny_camvid, "val")
    )
    assert [rung.pixels for rung in entry.ladder] == [64 * 96, 128 * 192]
    assert all(rung.miou["val"] == rung.miou["720p"] for rung in entry.ladder)
    # The file itself, loaded again, scores the same.
    image = cv2.imread(str(tiny_camvid / "val/0.png"))
    backend = OpenVinoBackend(
        shipped / "segnet-lite-int8.xml",
        network_size(image.shape[:2]),
        name="segnet-lite",
        precision="int8",
    )
    again = evaluate_backend(backend, CamVid(tiny_camvid, "val"))
    np.testing.assert_allclose(again.per_class_iou, int8.per_class_iou)


def test_fp16_weights_ship_alone_where_int8_is_not_wanted(
    tiny_camvid: Path,
    run: Path,
    calibration: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "tools")
    shipped = tmp_path / "weights"
    shipped.mkdir()
    result = module.release(run, tiny_camvid, calibration, int8=False, directory=shipped)
    assert sorted(p.name for p in shipped.iterdir()) == ["manifest.json", "segnet-lite.safetensors"]
    entry = load_manifest(shipped)["segnet-lite"]
    assert set(entry.files) == {"torch"}
    made, own = shipped / "segnet-lite.safetensors", run / "best.safetensors"
    weights = load_file(own)
    assert all(torch.equal(value, weights.pop(key)) for key, value in load_file(made).items())
    assert weights == {}
    assert read_header(made).meta == {**read_header(own).meta, "training": entry.training}
    assert set(result.scores) == {("fp32", "val")}
    assert entry.validation == {
        "fp32 on val": {**entry.validation["fp32 on val"], "miou": figure(result, "fp32")}
    }
    assert caplog.messages == [f"fp32: mIoU {100 * result.scores['fp32', 'val'].miou:.2f}"]
    # The documentation's figures are then those of FP32, and nothing is said of INT8's cost.
    stated = figures_of(entry)
    assert stated["miou"] == f"{figure(result, 'fp32'):.3f}"
    assert set(stated) == {"miou", "table", "classes"}


def test_the_command_in_the_manifest_names_every_file_that_was_learnt_from(
    tiny_camvid: Path, run: Path, calibration: Path, tmp_path: Path
) -> None:
    path = run / "config.json"
    used = {f"{role}_sha256": "a" * 64 for role in ("init", "encoder", "teacher")}
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | used | {"extra_frames": 5})
    )
    shipped = tmp_path / "weights"
    shipped.mkdir()
    module.release(run, tiny_camvid, calibration, int8=False, directory=shipped)
    training = load_manifest(shipped)["segnet-lite"].training
    assert training["command"] == (
        "roadseg train --model segnet-lite --data CamVid --recipe lite --extra SCENES "
        "--init WEIGHTS --encoder-weights IMAGENET --teacher TEACHER --epochs 2 --seed 0"
    )
    assert used.items() <= training.items()


def figure(result: module.Release, precision: str) -> float:
    return round(result.scores[precision, "val"].miou, 4)


def test_a_refused_network_leaves_the_folder_alone(
    tiny_camvid: Path,
    run: Path,
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise QualityGateError("too much")

    monkeypatch.setattr(module, "calibrate_network", refuse)
    shipped = tmp_path / "weights"
    shipped.mkdir()
    with pytest.raises(QualityGateError, match="too much"):
        module.release(run, tiny_camvid, calibration, directory=shipped)
    assert list(shipped.iterdir()) == []


def test_scales_for_tensorrt_come_with_the_weights_or_neither_does(
    tiny_camvid: Path,
    run: Path,
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipped, scales = tmp_path / "weights", tmp_path / "scales"
    shipped.mkdir()

    def refuse(*given: Any, unsigned: bool = False, **options: Any) -> Calibration:
        if unsigned:
            return calibrate_network(*given, unsigned=True, **options)
        raise QualityGateError("too much")

    def go() -> None:
        module.release(
            run,
            tiny_camvid,
            calibration,
            directory=shipped,
            scales_dir=scales,
            max_drop_points=100.0,
        )

    with monkeypatch.context() as patch:
        patch.setattr(module, "calibrate_network", refuse)
        with pytest.raises(QualityGateError, match="too much"):
            go()
    assert list(shipped.iterdir()) == list(scales.iterdir()) == []
    go()
    written = read_calibration(scales / "segnet-lite.json")
    entry = load_manifest(shipped)["segnet-lite"]
    assert written.weights_sha256 == entry.files["torch"].parts[0].sha256
    assert written.gate is not None
    assert written.gate.measured_on == "val.txt"
    assert [frame.name for frame in written.frames] == ["train/0.png", "train/1.png"]


def test_int8_is_made_again_of_the_weights_that_ship(
    tiny_camvid: Path, run: Path, calibration: Path, tmp_path: Path
) -> None:
    shipped = tmp_path / "weights"
    shipped.mkdir()
    module.release(run, tiny_camvid, calibration, int8=False, directory=shipped, note="a test")
    elsewhere = [{"recipe": "lite", "miou": 0.4}]
    write_leave_one_drive_out("segnet-lite", elsewhere, directory=shipped)
    before = load_manifest(shipped)["segnet-lite"]
    weights = (shipped / "segnet-lite.safetensors").read_bytes()
    result = module.requantize(
        "segnet-lite", tiny_camvid, calibration, directory=shipped, max_drop_points=100.0
    )
    after = load_manifest(shipped)["segnet-lite"]
    assert after.training == before.training
    assert [dict(each) for each in after.leave_one_drive_out] == elsewhere
    assert after.files["torch"] == before.files["torch"]
    assert (shipped / "segnet-lite.safetensors").read_bytes() == weights
    assert after.files["openvino"].precision == "int8"
    assert set(result.scores) == {("int8", "val")}
    assert after.validation["fp32 on val"] == before.validation["fp32 on val"]
    assert after.validation["int8 on val"]["miou"] == figure(result, "int8")
    with pytest.raises(UsageError) as caught:
        module.requantize("segnet", tiny_camvid, directory=shipped)
    assert str(caught.value) == (
        f"there is no model 'segnet' in {shipped}: use model=\"segnet-lite\""
    )


def test_a_folder_that_is_no_run(tiny_camvid: Path, calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not the folder of a training run"):
        module.release(tmp_path, tiny_camvid, calibration, directory=tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({}))
    with pytest.raises(DataError, match="is not the folder of a training run"):
        module.release(tmp_path, tiny_camvid, calibration, directory=tmp_path)
