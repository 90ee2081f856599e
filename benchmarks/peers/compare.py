"""segnet-lite beside PIDNet-S: the same input, INT8, in turns.

    pip install nncf
    python -m benchmarks.peers.compare --size 352x480 --threads 2
    ONEDNN_MAX_CPU_ISA=AVX2 python -m benchmarks.peers.compare --size 352x480 --threads 2

PIDNet-S has random weights, so this is about time alone. NNCF quantises it as its makers mean it
for OpenVINO (activations with and without sign). It is timed up to its scores, which are an eighth
of the input's size, and up to labels of full size, which is what ours give.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.pidnet import PIDNetS
from roadseg.core.labels import NUM_CLASSES
from roadseg.core.size import parse_size
from roadseg.core.types import Image
from roadseg.media.sources.opening import open_source
from roadseg.weights import resolve_model

CLIP = Path(__file__).resolve().parent.parent.parent / "samples" / "drive.mp4"


class _FromFrames(nn.Module):
    """(N, H, W, 3) uint8 BGR to scores, or to (N, H, W) labels."""

    def __init__(self, network: nn.Module, labels: bool) -> None:
        super().__init__()
        self.network, self.labels = network, labels

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.permute(0, 3, 1, 2).float() / 255
        scores: Tensor = self.network(x)
        if not self.labels:
            return scores
        whole = F.interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return whole.argmax(1)


def pidnet(frames: Sequence[Image], *, labels: bool) -> ov.Model:
    """PIDNet-S in INT8, its ranges measured on (1, H, W, 3) uint8 frames."""
    import nncf

    torch.manual_seed(0)
    network = _FromFrames(PIDNetS(NUM_CLASSES), labels).eval()
    shown = torch.from_numpy(frames[0])
    model = ov.convert_model(network, example_input=shown, input=[tuple(shown.shape)])
    return nncf.quantize(model, nncf.Dataset(frames), preset=nncf.QuantizationPreset.MIXED)


def ours(name: str, frames: Sequence[Image]) -> ov.Model:
    """A shipped network in INT8 at the size of the frames."""
    model = ov.Core().read_model(resolve_model(name, "openvino").path)
    model.reshape(list(frames[0].shape))
    return model


def frames_of(clip: Path, size_hw: tuple[int, int], count: int = 24) -> list[Image]:
    """(1, H, W, 3) uint8 BGR frames of a clip."""
    height, width = size_hw
    with open_source(str(clip), max_frames=count) as source:
        shown: Iterator[Any] = iter(source.read, None)
        return [
            cv2.resize(frame.image_bgr, (width, height), interpolation=cv2.INTER_AREA)[np.newaxis]
            for frame in shown
        ]


def milliseconds(
    models: dict[str, ov.Model], frames: Sequence[Image], threads: int, rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """By the clock and of the processor, of every model in turn, once a round."""
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # for all alike: no bfloat16 between INT8 layers
    }
    core = ov.Core()
    ready = {
        name: core.compile_model(model, "CPU", options).create_infer_request()
        for name, model in models.items()
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for turn in range(-2, rounds):
        frame = frames[turn % len(frames)]
        for name, request in ready.items():
            began = time.perf_counter(), time.process_time()
            request.infer([frame])
            spent = time.perf_counter() - began[0], time.process_time() - began[1]
            if turn >= 0:
                taken[name].append((spent[0] * 1e3, spent[1] * 1e3))
    return taken


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=parse_size, default=(352, 480), metavar="HxW")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--model", nargs="+", default=["segnet-lite"])
    arguments = parser.parse_args(argv)
    frames = frames_of(CLIP, arguments.size)
    models = {name: ours(name, frames) for name in arguments.model}
    models["PIDNet-S, scores at 1/8"] = pidnet(frames, labels=False)
    models["PIDNet-S, labels"] = pidnet(frames, labels=True)
    taken = milliseconds(models, frames, arguments.threads, arguments.rounds)
    first = next(iter(taken))
    for name, each in taken.items():
        clock, cpu = (statistics.median(times) for times in zip(*each, strict=True))
        ratios = [one[1] / base[1] for one, base in zip(each, taken[first], strict=True)]
        print(
            f"{name}: {clock:.1f} ms by the clock, {cpu:.1f} ms of the processor, "
            f"{statistics.median(ratios):.2f} of {first}'s"
        )


if __name__ == "__main__":
    main()
