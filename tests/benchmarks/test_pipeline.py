"""The comparison is one of equals: the plain loop computes what roadseg computes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from benchmarks import pipeline
from roadseg.cli import main as roadseg

SIZE_HW = (32, 64)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Untrained weights, the FP32 network of them, and a clip."""
    import torch

    from roadseg.export.ir import finish_ir, from_onnx, save_ir
    from roadseg.export.onnx import build_onnx
    from roadseg.models import build_model, load_weights, save_weights

    folder = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    save_weights(folder / "lite.safetensors", build_model("segnet-lite"), "segnet-lite")
    model, _ = load_weights(folder / "lite.safetensors")
    network = from_onnx(build_onnx(model, "segnet-lite"))
    finish_ir(network)
    save_ir(network, folder / "lite.xml", precision="fp32")
    images = folder / "images"
    images.mkdir()
    random = np.random.default_rng(0)
    for index in range(4):
        coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(images / f"{index}.png"), cv2.resize(coarse, (96, 48)))
    clip = folder / "clip.mp4"
    options = ["--backend", "fake", "--output", str(clip), "--no-show"]
    assert roadseg(["run", "--source", str(images), *options]) == 0
    return folder


def test_the_plain_network_gives_the_labels_of_the_backend(files):
    from roadseg.loading.segmenter import Segmenter

    plain = pipeline.PlainNetwork(str(files / "lite.safetensors"), SIZE_HW)
    frame = cv2.imread(str(files / "images" / "0.png"))
    with Segmenter(str(files / "lite.xml"), size_hw=SIZE_HW) as segmenter:
        ours = segmenter(frame).network_ids
    # Where two scores of an untrained network all but tie, rounding may decide.
    assert (plain.labels(frame) == ours).mean() > 0.999


@pytest.mark.parametrize("writer", ["same", "mp4v"])
def test_a_whole_comparison(files, tmp_path, capsys, writer):
    path = tmp_path / "result.json"
    arguments = ["--source", str(files / "clip.mp4"), "--model", str(files / "lite.xml")]
    arguments += ["--weights", str(files / "lite.safetensors"), "--size", "32x64", "--rounds", "2"]
    assert pipeline.main([*arguments, "--writer", writer, "--json", str(path)]) == 0
    result = json.loads(path.read_text(encoding="utf-8"))
    assert len(result["rounds"]) == 2
    ratios = [each["roadseg_fps"] / each["plain_fps"] for each in result["rounds"]]
    assert result["ratio"] == pytest.approx(sum(ratios) / 2, abs=1e-3)
    assert result["label_agreement"] > 0.99
    assert (result["network_hw"], result["writer"]) == ([32, 64], writer)
    assert "median: plain " in capsys.readouterr().out


def test_a_missing_clip(tmp_path, capsys):
    assert pipeline.main(["--source", str(tmp_path / "none.mp4")]) == 3
    assert capsys.readouterr().out.startswith("error: no such file: ")


def test_the_plain_loop_runs_what_auto_has_chosen(files, tmp_path, capsys, monkeypatch):
    chosen = {"model": "segnet-lite", "size_hw": SIZE_HW}
    asked = []

    class Loop:
        def __init__(self, options):
            asked.append((options.model, options.size_hw, options.max_frames))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run(self):
            return SimpleNamespace(**chosen, frames_out=4, fps=8.0)

    monkeypatch.setattr(pipeline, "open_loop", Loop)
    path = tmp_path / "result.json"
    arguments = ["--source", str(files / "clip.mp4"), "--model", "auto", "--json", str(path)]
    assert pipeline.main([*arguments, "--rounds", "1"]) == 0
    assert "segnet-lite, input 32x64" in capsys.readouterr().out
    assert asked == [("auto", None, 1), ("auto", None, None)]
    result = json.loads(path.read_text(encoding="utf-8"))
    assert (result["model"], result["network_hw"]) == ("segnet-lite", list(SIZE_HW))
