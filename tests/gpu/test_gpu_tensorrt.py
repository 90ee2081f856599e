"""An engine with the plugin, built and run where TensorRT is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.gpu_latency import agreement, reference_labels
from benchmarks.gpu_networks import frames_bgr, load
from benchmarks.gpu_steps import Settings
from roadseg.errors import BackendError

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]

SETTINGS = Settings(size_hw=(352, 480))


@pytest.mark.parametrize("lowering", ["plugin", "native"])
def test_an_engine_gives_pytorchs_labels(lowering: str, tmp_path: Path) -> None:
    from roadseg.engine.runtime import load_runtime

    try:
        runtime = load_runtime("auto")
    except BackendError as exc:
        pytest.skip(f"needs TensorRT: {exc}")
    if lowering == "plugin" and runtime.target == "tensorrt-rtx":
        pytest.skip("TensorRT-RTX has no Python plugins")
    from roadseg.backends.tensorrt import TensorRtBackend
    from roadseg.cuda import load_cuda
    from roadseg.engine.build import build_engine
    from roadseg.engine.spec import EngineSpec

    spec = EngineSpec(
        model="segnet-lite",
        precision="fp16",
        size_hw=SETTINGS.size_hw,
        batch=(1, 1, 4),
        target=runtime.target,
        lowering=lowering,
    )
    engine = build_engine(spec, output=tmp_path / "engine.plan")
    cuda = load_cuda()
    backend = TensorRtBackend(engine, runtime=runtime, cuda=cuda)
    try:
        frames = frames_bgr(4, SETTINGS.size_hw)
        reference = reference_labels(load("segnet-lite", SETTINGS), frames, "cuda")
        for count in (1, 4, 1):
            assert agreement(backend.infer(frames[:count]), reference[:count]) >= 0.99
    finally:
        backend.close()
        cuda.close()
