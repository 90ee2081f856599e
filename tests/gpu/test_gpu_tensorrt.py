"""An engine with the plugin, built and run where TensorRT is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.gpu_latency import agreement, reference_labels
from benchmarks.gpu_networks import frames_bgr, load
from benchmarks.gpu_steps import Settings, SkippedError
from benchmarks.gpu_tensorrt import usable_runtime
from tests.support import ROOT

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]

SETTINGS = Settings(size_hw=(352, 480))
# Of PyTorch's labels in FP32; on CamVid's validation frames INT8 keeps 99% in OpenVINO.
MIN_AGREEMENT = {"fp16": 0.99, "int8": 0.95}


CALIBRATION = ROOT / "calibration" / "segnet-lite.json"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("lowering", ["plugin", "native"])
def test_an_engine_gives_pytorchs_labels(lowering: str, precision: str, tmp_path: Path) -> None:
    try:
        runtime = usable_runtime()
    except SkippedError as exc:
        pytest.skip(f"needs TensorRT: {exc}")
    if lowering == "plugin" and runtime.target == "tensorrt-rtx":
        pytest.skip("TensorRT-RTX has no Python plugins")
    from roadseg.backends.tensorrt.backend import TensorRtBackend
    from roadseg.backends.tensorrt.builder.build_engine import build_engine
    from roadseg.cuda.load import load_cuda
    from roadseg.engine.spec import EngineSpec

    spec = EngineSpec(
        model="segnet-lite",
        precision=precision,
        size_hw=SETTINGS.size_hw,
        batch=(1, 1, 4),
        target=runtime.target,
        lowering=lowering,
    )
    int8 = precision == "int8"
    engine = build_engine(
        spec,
        output=tmp_path / "engine.plan",
        calibration=CALIBRATION if int8 else None,
        force=int8,  # what INT8 costs is another matter; here it is compared with PyTorch
        runtime=runtime,
    )
    cuda = load_cuda()
    backend = TensorRtBackend(engine, runtime=runtime, cuda=cuda)
    try:
        frames = frames_bgr(4, SETTINGS.size_hw)
        reference = reference_labels(load("segnet-lite", SETTINGS), frames, "cuda")
        for count in (1, 4, 1):
            labels = backend.infer(frames[:count])
            assert agreement(labels, reference[:count]) >= MIN_AGREEMENT[precision]
    finally:
        backend.close()
        cuda.close()
