"""Networks and runners that the export tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from roadseg.core.labels import NUM_CLASSES
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices

Array = npt.NDArray[Any]


class TinySegNet(nn.Module):
    """Two pools, two unpools, one skip connection, batch normalisation: SegNet in miniature."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.third = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.fourth = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.classifier = nn.Conv2d(8, NUM_CLASSES, 3, padding=1)
        self.pool = MaxPoolIndices()
        self.unpool = IndexUnpool()

    def forward(self, x: Tensor) -> Tensor:
        full = self.first(x)
        pooled, place_full = self.pool(full)
        half = self.second(pooled)
        pooled, place_half = self.pool(half)
        y = self.third(self.unpool(pooled, place_half, half) + half)
        scores: Tensor = self.classifier(self.fourth(self.unpool(y, place_full, full)))
        return scores


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Inference mode with batch statistics unlike those of a fresh network."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            layer.weight.data.uniform_(0.5, 1.5, generator=generator)
            layer.bias.data.normal_(0, 0.1, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def tiny() -> nn.Module:
    torch.manual_seed(0)
    return randomise(TinySegNet())


@pytest.fixture(scope="session")
def frames() -> Callable[..., Array]:
    """Makes (N, h, w, 3) uint8 frames: smooth shapes under noise, the same each time."""

    def make(size_hw: tuple[int, int], count: int = 1, seed: int = 0) -> Array:
        rng = np.random.default_rng(seed)
        h, w = size_hw
        coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 5, 6)).astype(np.float32))
        smooth = nn.functional.interpolate(coarse, size=(h, w), mode="bilinear")
        noisy = smooth.permute(0, 2, 3, 1).numpy() + rng.normal(0, 25, (count, h, w, 3))
        return np.asarray(noisy.clip(0, 255), dtype=np.uint8)

    return make


@pytest.fixture(scope="session")
def run_torch() -> Callable[[nn.Module, Array], Array]:
    """Scores (N, classes, h, w) of a network on uint8 frames, by PyTorch."""

    def run(model: nn.Module, batch_bgr: Array) -> Array:
        with torch.inference_mode():
            x = torch.from_numpy(batch_bgr.copy()).permute(0, 3, 1, 2).float() / 255
            return np.asarray(model(x).numpy())

    return run


@pytest.fixture(scope="session")
def run_onnx() -> Callable[[Any, Array], Array]:
    """The output of an `onnx.ModelProto`, by ONNX Runtime."""
    import onnxruntime

    def run(model: Any, batch: Array) -> Array:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        (result,) = session.run(None, {session.get_inputs()[0].name: batch})
        return np.asarray(result)

    return run


@pytest.fixture(scope="session")
def run_openvino() -> Callable[[Any, Array], Array]:
    """The output of an `onnx.ModelProto` or `openvino.Model`, by OpenVINO in FP32."""
    import openvino as ov

    core = ov.Core()

    def run(model: Any, batch: Array) -> Array:
        is_openvino = isinstance(model, ov.Model)
        copy = model.clone() if is_openvino else core.read_model(model.SerializeToString())
        copy.reshape(list(batch.shape))
        compiled = core.compile_model(copy, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return np.array(compiled([batch])[0])

    return run
