"""Which classes a model knows: in every kind of file, and what a run makes of them."""

from __future__ import annotations

import builtins
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadseg.cli import main
from roadseg.core.errors import BackendError, ModelError
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.export.ir import finish_ir, from_onnx, save_ir
from roadseg.export.onnx import build_onnx, save_onnx
from roadseg.loading.choice import choose
from roadseg.loading.classes import classes_of_file
from roadseg.loading.segmenter import Segmenter
from roadseg.models import build_model, save_weights
from roadseg.weights import WEIGHTS_DIR, model_names

FARM = ClassSet("farm", ("track", "field", "sky"), ((90, 60, 30), (60, 140, 40), (0, 0, 255)))
SHOWN = "the 3 classes of its own data set (track, field, sky)"
CAMVIDS = "the 11 classes of CamVid (sky, building, pole, ...)"


@pytest.fixture(scope="module")
def farm_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`farm.safetensors`, `farm.onnx` and `farm.xml`, of an untrained network."""
    folder = tmp_path_factory.mktemp("models")
    network = build_model("segnet-lite", 3).eval()
    save_weights(folder / "farm.safetensors", network, "segnet-lite", classes=FARM)
    graph = build_onnx(network, "segnet-lite", classes=FARM)
    save_onnx(graph, folder / "farm.onnx")
    ir = from_onnx(graph)
    finish_ir(ir)
    save_ir(ir, folder / "farm.xml", precision="fp32")
    return folder


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx", ".xml"])
def test_every_kind_of_file_says(farm_models: Path, suffix: str) -> None:
    classes = classes_of_file(farm_models / f"farm{suffix}")
    assert (classes.names, classes.colours_rgb) == (FARM.names, FARM.colours_rgb)


@pytest.mark.parametrize("model", ["segnet-lite", str(WEIGHTS_DIR / "segnet-lite-int8.xml")])
def test_what_ships_knows_camvid(model: str) -> None:
    assert choose(model, "openvino").classes is CAMVID


def test_an_engine_says_it_in_its_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Manifest:
        classes = FARM.names
        palette_rgb = (*FARM.colours_rgb, (0, 0, 0))
        precision = "fp16"
        size_hw = (64, 96)

    monkeypatch.setattr("roadseg.engine.store.read_manifest", lambda path: Manifest)
    (tmp_path / "farm.engine").write_bytes(b"")
    classes = choose(str(tmp_path / "farm.engine")).classes
    assert (classes.names, classes.colours_rgb) == (FARM.names, FARM.colours_rgb)


@pytest.mark.parametrize("name", ["nothing.onnx", "unknown-name", "other.bin"])
def test_what_is_no_file_of_ours_counts_as_camvid(name: str, tmp_path: Path) -> None:
    (tmp_path / "other.bin").write_bytes(b"")
    assert classes_of_file(tmp_path / name) is CAMVID


def test_damaged_files(farm_models: Path, tmp_path: Path) -> None:
    whole = (farm_models / "farm.onnx").read_bytes()
    path = tmp_path / "farm.onnx"
    path.write_bytes(whole.replace(b'["track", "field", "sky"]', b'["track", "field", "sky"!'))
    with pytest.raises(ModelError) as error:
        classes_of_file(path)
    assert str(error.value) == (
        f"{path} does not say which classes it knows (Expecting ',' delimiter: line 1 column 25 "
        "(char 24)): write it again with 'roadseg export'"
    )
    for keep in (0, 1, 100, len(whole) // 2):
        path.write_bytes(whole[:keep])  # the runtime says what is wrong
        assert classes_of_file(path) is CAMVID
    (tmp_path / "farm.xml").write_text("<net><layer>")
    assert classes_of_file(tmp_path / "farm.xml") is CAMVID


def test_weights_without_pytorch(
    farm_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.partition(".")[0] == "torch" or name == "roadseg.models":
            raise ImportError("No module named 'torch'")
        return original(name, *args)

    monkeypatch.delitem(sys.modules, "roadseg.models", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    assert classes_of_file(farm_models / "farm.safetensors") == FARM
    # What earlier versions wrote is PyTorch's own.
    (tmp_path / "farm.pt").touch()
    with pytest.raises(BackendError) as error:
        classes_of_file(tmp_path / "farm.pt")
    assert str(error.value) == (
        f"{tmp_path}/farm.pt needs PyTorch, which is not installed: pip install 'roadseg[train]', "
        "or turn it into a file for OpenVINO where PyTorch is: 'roadseg export --model "
        f"{tmp_path}/farm.pt --output farm.onnx'"
    )


def test_a_segmenter_knows_the_classes_of_its_model(farm_models: Path) -> None:
    assert Segmenter("anything", "fake").classes is CAMVID
    with Segmenter(str(farm_models / "farm.xml"), "openvino", threads=1) as segmenter:
        assert segmenter.classes.names == FARM.names
        label_map = segmenter(np.zeros((64, 96, 3), np.uint8))
    assert label_map.ids.max() < 3


def test_a_run_shows_the_colours_of_the_model(
    farm_models: Path, tmp_path: Path, tiny_farm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    command = ["run", "--source", str(tiny_farm / "val/images"), "--output", str(tmp_path / "out")]
    command += ["--model", str(farm_models / "farm.xml"), "--backend", "openvino"]
    command += ["--view", "mask", "--no-hud", "--no-legend"]
    assert main(command) == 0, capsys.readouterr().err
    colours = {tuple(reversed(colour)) for colour in FARM.colours_rgb}
    for path in (tmp_path / "out").glob("*.png"):
        shown = {tuple(c) for c in cv2.imread(str(path)).reshape(-1, 3).tolist()}
        assert shown <= colours
    capsys.readouterr()
    assert main([*command, "--palette", "colorblind"]) == 2
    assert capsys.readouterr().err == (
        "error: palette 'colorblind' has colours for CamVid's classes only, and the model knows "
        f"{SHOWN}: leave --palette out\n"
    )


@pytest.mark.parametrize("suffix", [".safetensors", ".xml"])
def test_eval_on_data_of_the_same_classes(
    farm_models: Path,
    tiny_farm: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    suffix: str,
) -> None:
    report = tmp_path / "scores.json"
    command = ["eval", "--data", str(tiny_farm), "--model", str(farm_models / f"farm{suffix}")]
    command += [
        "--backend",
        "torch" if suffix == ".safetensors" else "openvino",
        "--json",
        str(report),
    ]
    assert main(command) == 0, capsys.readouterr().err
    scores = json.loads(report.read_text(encoding="utf-8"))
    assert list(scores["per_class_iou"]) == ["track", "field", "sky"]
    assert "track" in capsys.readouterr().out


def test_eval_on_data_of_other_classes(
    farm_models: Path, tiny_camvid: Path, tiny_farm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(farm_models / "farm.xml")
    assert main(["eval", "--data", str(tiny_camvid), "--model", model]) == 5
    assert capsys.readouterr().err == (
        f"error: {model} knows {SHOWN}, and {tiny_camvid} is labelled with {CAMVIDS}: use a model "
        "that was trained on such data\n"
    )
    assert main(["eval", "--data", str(tiny_farm), "--backend", "fake"]) == 5
    assert capsys.readouterr().err == (
        f"error: segnet-lite knows {CAMVIDS}, and {tiny_farm} is labelled with the 3 classes of "
        "farm (track, field, sky): use a model that was trained on such data\n"
    )


def test_eval_of_a_model_that_is_not_there(
    tiny_farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", "--data", str(tiny_farm), "--backend", "openvino", "--model"]
    assert main([*command, str(tmp_path / "farm.xml")]) == 5
    assert capsys.readouterr().err == (
        f"error: no model file at {tmp_path}/farm.xml: check the path given with --model\n"
    )
    assert main([*command, "farmnet"]) == 2
    assert capsys.readouterr().err == (
        f"error: unknown model 'farmnet': use --model {'|'.join(model_names())}, or a .xml, .onnx, "
        ".safetensors or .engine file\n"
    )


def test_export_hands_the_classes_on(
    farm_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx

    shutil.copy(farm_models / "farm.safetensors", tmp_path / "farm.safetensors")
    command = [
        "export",
        "--model",
        str(tmp_path / "farm.safetensors"),
        "--output",
        str(tmp_path / "f.onnx"),
    ]
    assert main(command) == 0, capsys.readouterr().err
    facts = {p.key: p.value for p in onnx.load(tmp_path / "f.onnx").metadata_props}
    assert json.loads(facts["classes"]) == ["track", "field", "sky"]
    assert json.loads(facts["palette_rgb"]) == [
        [90, 60, 30],
        [60, 140, 40],
        [0, 0, 255],
        [0, 0, 0],
    ]
