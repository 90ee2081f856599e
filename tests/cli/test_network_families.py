"""Every kind of network of the paper's comparisons, through the commands that a user types."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from roadseg import cli
from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.backends.torch.backend import TorchBackend
from roadseg.models import load_weights
from roadseg.training import loop

# One of each kind: pool indices, depthwise decoders, deconvolutions and skips, interpolation,
# dilations. The other large ones are minutes of work; their graphs are compared in tests/models.
FAMILIES = [
    "segnet-basic",
    "segnet-basic-single-channel-decoder",
    "fcn-basic",
    "bilinear-interpolation",
    "deeplab-largefov",
    pytest.param("unet", marks=pytest.mark.slow),
    pytest.param("segnet", marks=pytest.mark.slow),
    pytest.param("fcn-8s", marks=pytest.mark.slow),
    pytest.param("deconvnet", marks=pytest.mark.slow),
]


def run(*command: str) -> None:
    assert cli.main([*command, "--threads", "1"]) == 0


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("name", FAMILIES)
def test_trained_scored_exported_and_timed_by_the_same_commands(
    tiny_camvid: Path, tmp_path: Path, name: str
) -> None:
    # DeconvNet's dense layers need 7x7 positions of 1/32 resolution.
    side, size_hw = ("224", (224, 256)) if name == "deconvnet" else ("32", (64, 96))
    recipe = (Path(loop.__file__).parent / "recipes" / "lite.toml").read_text(encoding="utf-8")
    recipe = recipe.replace("crop_hw = [256, 320]", f"crop_hw = [{side}, {side}]")
    (tmp_path / "tiny.toml").write_text(recipe.replace("batch_size = 8", "batch_size = 2"))
    data, size = ["--data", str(tiny_camvid)], ["--size", f"{size_hw[0]}x{size_hw[1]}"]
    folder = tmp_path / "run"
    weights, network = folder / "best.safetensors", tmp_path / "net.onnx"
    run(
        *("train", *data, "--model", name, "--recipe", str(tmp_path / "tiny.toml")),
        *("--epochs", "1", "--output", str(folder)),
    )
    torch_json, openvino_json = tmp_path / "torch.json", tmp_path / "openvino.json"
    evaluate = ["eval", *data, *size]
    run(
        *(*evaluate, "--model", str(weights), "--backend", "torch", "--json", str(torch_json)),
    )
    command = ["export", "--model", str(weights), "--output", str(network)]
    assert cli.main([*command, *size]) == 0
    run(
        *(*evaluate, "--model", str(network), "--backend", "openvino"),
        *("--json", str(openvino_json)),
    )
    reference, scores = (
        json.loads(p.read_text(encoding="utf-8")) for p in (torch_json, openvino_json)
    )
    # Where a pool went the other way (see below), half a hundredth of a frame's labels differs.
    for key in ("global_accuracy", "class_accuracy", "miou", "bf"):
        assert scores[key] == pytest.approx(reference[key], abs=1e-2)

    labels_and_scores_agree(weights, tmp_path, size_hw)

    report = tmp_path / "bench.json"
    run(
        *("bench", "--source", str(tiny_camvid / "val/0.png"), "--model", str(network), *size),
        *("--backend", "openvino", "--frames", "2", "--no-output", "--json", str(report)),
    )
    assert json.loads(report.read_text(encoding="utf-8"))["model_ms"] > 0


def labels_and_scores_agree(weights: Path, folder: Path, size_hw: tuple[int, int]) -> None:
    """Both runtimes say the same of frames in which no pool hung on the last bit of a sum.

    Every kind of processor adds in an order of its own. Of values of a pool that are equal but for
    rounding, another one is then the largest, it is unpooled elsewhere, and up to a tenth of the
    frame's scores differ. On noise that is so in one or two frames of nine, on smooth pictures in
    most. A graph that is wrong is so on all.
    """
    frames = np.random.default_rng(0).integers(0, 256, (9, 1, *size_hw, 3), dtype=np.uint8)
    network = folder / "net.onnx"
    labels = []
    for backend in (
        TorchBackend(weights, size_hw, threads=1),
        OpenVinoBackend(network, size_hw, name="net", precision="fp32", threads=1),
    ):
        labels.append(np.stack([backend.infer(frame) for frame in frames]))
        backend.close()
    same = (labels[0] == labels[1]).reshape(len(frames), -1).mean(axis=1)
    assert np.median(same) >= 0.999, same
    # Labels of a hardly trained network may all be one: its scores are not.
    import openvino

    path = folder / "logits.onnx"
    command = ["export", "--model", str(weights), "--output", str(path), "--result", "logits"]
    assert cli.main([*command, "--size", f"{size_hw[0]}x{size_hw[1]}"]) == 0
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    model = load_weights(weights)[0]
    close = []
    for frame in frames:
        got = compiled(frame)[0]
        with torch.inference_mode():
            expected = model(torch.from_numpy(frame).permute(0, 3, 1, 2) / 255.0).numpy()
        assert np.ptp(expected) > 0
        close.append(np.isclose(got, expected, rtol=1e-3, atol=1e-3 * np.ptp(expected)).mean())
    assert close.count(1.0) >= 3, close
