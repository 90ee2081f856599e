"""Networks, frames and arithmetic to measure with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gpu_steps import Settings
from roadseg.core.errors import ModelError, UsageError
from roadseg.export.trace import trace_model
from roadseg.models import build_model, load_weights
from roadseg.weights import resolve_model

__all__ = ["FrameNetwork", "Network", "frames_bgr", "gflop", "load"]

_CLIP = Path(__file__).resolve().parents[1] / "samples" / "drive.mp4"
_STATISTICS_BATCHES = 4


@dataclass(frozen=True, slots=True)
class Network:
    """A network to time.

    Attributes:
        name: in `roadseg.models`.
        module: in eval mode, FP32, on the CPU.
        trained: whether its weights ship; else they are random (speed does not depend on them).
    """

    name: str
    module: nn.Module
    trained: bool


def frames_bgr(count: int, size_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Frames of the sample clip, (N, H, W, 3) uint8 BGR; smooth noise where it cannot be read."""
    height, width = size_hw
    frames: list[npt.NDArray[np.uint8]] = []
    if _CLIP.is_file():
        import cv2

        capture = cv2.VideoCapture(str(_CLIP))
        while len(frames) < count:
            good, frame = capture.read()
            if not good:
                break
            frames.append(np.asarray(cv2.resize(frame, (width, height)), np.uint8))
        capture.release()
    if len(frames) < count:
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(count, 3, 12, 16, generator=generator)
        smooth = F.interpolate(coarse, size=size_hw, mode="bicubic").clamp(0, 1)
        return (smooth.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).contiguous().numpy()
    return np.stack(frames)


def load(name: str, settings: Settings) -> Network:
    """The shipped weights where there are any, else random ones with plausible statistics.

    Batch normalisation as it is initialised would let activations grow from layer to layer, so it
    sees a few batches of frames first, on the device.
    """
    try:
        return Network(name, load_weights(resolve_model(name, "torch").path)[0], trained=True)
    except (UsageError, ModelError):
        pass  # None ship for this network.
    torch.manual_seed(0)
    module = build_model(name).to(settings.device).train()
    frames = torch.from_numpy(frames_bgr(2 * _STATISTICS_BATCHES, settings.size_hw))
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # The plain mean over all batches.
    with torch.no_grad():
        for start in range(0, len(frames), 2):
            batch = frames[start : start + 2]
            module(batch.to(settings.device).permute(0, 3, 1, 2).float() / 255)
    return Network(name, module.eval().cpu().requires_grad_(False), trained=False)


def gflop(model: nn.Module, size_hw: tuple[int, int]) -> float:
    """Billions of multiplications and additions in the convolutions for one frame.

    A multiplication with an addition counts as two; pooling and ReLU count nothing.
    """
    trace = trace_model(model, size_hw)
    total = 0
    for node in trace.module.graph.nodes:
        if node.op != "call_module":
            continue
        layer = trace.module.get_submodule(node.target)
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            # Each weight meets each position: of the result, or of the input if transposed.
            source = node.args[0] if isinstance(layer, nn.ConvTranspose2d) else node
            positions = math.prod(trace.shapes[0][source.name][2:])
            total += 2 * layer.weight.numel() * positions
    return total / 1e9


class FrameNetwork(nn.Module):
    """A network as people write it: normalisation before it, ArgMax after it."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype

    def forward(self, frames: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 BGR to (N, H, W) uint8."""
        x = frames.permute(0, 3, 1, 2).to(self.dtype) / 255
        scores: Tensor = self.model(x)
        return scores.argmax(1).to(torch.uint8)
