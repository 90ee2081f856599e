"""Whether an engine labels frames as PyTorch does.

The comparison knows nothing of engines: it takes two functions from frames to labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roadseg.core.errors import DataError, EngineError
from roadseg.core.progress import ShowProgress, StageClock
from roadseg.core.shipped import shipped_file
from roadseg.core.wording import option
from roadseg.engine.manifest import ParityFacts
from roadseg.engine.spec import Precision

MIN_AGREEMENT = 0.99
"""Share of pixels that must keep their label in FP16 and FP32. INT8 has a gate of its own: mIoU."""

_FRAMES = 8

Labeller = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]
"""(N, h, w, 3) uint8 BGR frames to (N, h, w) uint8 class ids."""


def parity_frames(
    data: Path | None,
    size_hw: tuple[int, int],
    *,
    count: int = _FRAMES,
    progress: ShowProgress | None = None,
) -> tuple[npt.NDArray[np.uint8], str]:
    """Frames to compare labels on, and what they are called.

    Args:
        data: a folder of images or a video; None: the sample clip that comes with roadseg, or
            rendered scenes where roadseg was installed without it.
        size_hw: the network's input.
        count: how many, at most.
        progress: shows how many have been read.

    Returns:
        (N, h, w, 3) uint8 BGR.

    Raises:
        DataError: `data` holds no frames, or unreadable ones.
        SourceError: it is not a readable video.
    """
    from roadseg.datasets.frames import collect_frames

    if data is None:
        data = shipped_file("samples/drive.mp4")
        if not data.is_file():
            return _rendered(size_hw, count), "rendered scenes"
    frames = collect_frames(
        data,
        count=count,
        network_hw=size_hw,
        progress=progress,
        stage="reading",
        purpose="compare labels on",
    )
    if not frames.batches:
        raise DataError(
            f"no frames at {data} to compare labels on", fix=f"give another {option('--data')}"
        )
    return np.concatenate(frames.batches), frames.described


def compare(
    labels_of: Labeller,
    reference_of: Labeller,
    frames_bgr: npt.NDArray[np.uint8],
    *,
    batch: int = 1,
    progress: ShowProgress | None = None,
) -> float:
    """Share of pixels, 0..1, that have the same label in both.

    Args:
        labels_of: what is to be judged.
        reference_of: what it should give.
        frames_bgr: (N, h, w, 3) uint8 BGR.
        batch: how many to hand over at a time.
        progress: shows how many are done.

    Raises:
        ValueError: one of them gives labels of another shape than (N, h, w), or of another type.
    """
    same = done = 0
    clock = StageClock("comparing", progress)
    clock.at(0.0)
    for part in _parts(frames_bgr, batch):
        labels, reference = labels_of(part), reference_of(part)
        for given in (labels, reference):
            if given.shape != part.shape[:3] or given.dtype != np.uint8:
                raise ValueError(
                    f"expected {part.shape[:3]} uint8, got {given.shape} {given.dtype}"
                )
        same += int(np.count_nonzero(labels == reference))
        done += len(part)
        clock.step(done, len(frames_bgr))
    return same / frames_bgr[..., 0].size


def check_parity(parity: ParityFacts, precision: Precision, *, name: str) -> None:
    """Refuse an engine whose labels are not the network's.

    Args:
        parity: what was measured.
        precision: of the engine; INT8 is judged elsewhere.
        name: what built it: `TensorRT 10.13.0.35`.

    Raises:
        EngineError: fewer than 99% of the pixels agree.
    """
    # A NaN compares false and is refused, as it should be.
    if precision == "int8" or parity.agreement >= MIN_AGREEMENT:
        return
    fp32 = option("--fp32", parameter='precision="fp32"')
    raise EngineError(
        f"the engine that {name} built gives {100 * parity.agreement:.2f}% of the labels of "
        f"{parity.reference} on {parity.frames} frames of {parity.measured_on} "
        f"({100 * MIN_AGREEMENT:g}% are needed), so it was not kept",
        fix=f"use {fp32}, or {option('--data')} with frames like yours"
        if precision == "fp16"
        else f"report it with this line, and use {option('--backend', 'torch')}",
    )


def _parts(frames_bgr: npt.NDArray[np.uint8], batch: int) -> Iterator[npt.NDArray[np.uint8]]:
    for first in range(0, len(frames_bgr), batch):
        yield frames_bgr[first : first + batch]


def _rendered(size_hw: tuple[int, int], count: int) -> npt.NDArray[np.uint8]:
    from roadseg.synth.drive import random_scene

    scenes: Sequence[npt.NDArray[np.uint8]] = [
        random_scene(seed, size_hw)[0] for seed in range(count)
    ]
    return np.stack(scenes)
