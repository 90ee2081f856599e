"""The kernels at the two ends of a network that runs without TensorRT, and how to launch them.

Frames to the first convolution's input, and class scores to labels; see `frame.cu`. They are no
part of engines, and so no part of `kernels.source()`.
"""

from __future__ import annotations

from ctypes import _SimpleCData, c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from roadseg.kernels.kernels import Launch

Arguments = tuple["_SimpleCData[Any]", ...]

FRAME_SYMBOLS = ("roadseg_frame_fp16", "roadseg_labels_fp16")

_SOURCES = ("lanes.cuh", "layouts.cuh", "frame.cu")
# Short threads: small blocks spread the few of a single frame over all multiprocessors.
_BLOCK = 128
_MAX_GRID = 2**31 - 1


def frame_launch(
    pixels: int,
    frames: int,
    out: int,
    *,
    scale: float,
    norm: tuple[float, float, float] | None = None,
) -> Launch:
    """How to turn frames into FP16.

    Args:
        pixels: of all frames together.
        frames: device address, (pixels, 3) uint8.
        out: device address, (pixels, 8) fp16, at a multiple of 16 bytes; all of it is written.
        scale: what values are multiplied with.
        norm: (k, alpha, beta): then divided by (k + alpha * sum of the three squares) ** beta, the
            squares being those of the unscaled values; beta is not 0.
    """
    k, alpha, beta = (0.0, 0.0, 0.0) if norm is None else norm
    factors = [c_float(scale), c_float(k), c_float(alpha), c_float(beta)]
    args: Arguments = (c_void_p(frames), c_int64(pixels), *factors, c_void_p(out))
    return Launch(FRAME_SYMBOLS[0], _grid(pixels), (_BLOCK, 1, 1), args)


def labels_launch(
    nhwc: tuple[int, int, int, int],
    scores: int,
    labels: int,
    *,
    classes: int,
    block: int,
    out_hw: tuple[int, int],
) -> Launch:
    """How to turn class scores into labels.

    Args:
        nhwc: images, height, width and channels of the scores.
        scores: device address, `nhwc` fp16, at a multiple of 16 bytes. Channel
            (i * block + j) * classes + c holds the score for class c of the pixel i rows and j
            columns into the position's square.
        labels: device address, (images, *out_hw) uint8.
        classes: how many scores a pixel has.
        block: side of the square of pixels that belongs to a position.
        out_hw: height and width of the labels, at most `block` times those of the scores.

    Raises:
        ValueError: the channels are no multiple of 8, or too few; or the labels are too large, or
            so small that positions hold no pixel of theirs.
    """
    n, h, w, channels = nhwc
    if channels % 8 or channels < block * block * classes:
        raise ValueError(
            f"{classes} classes of {block}x{block} pixels need {block * block * classes} channels "
            f"in a multiple of 8: got {channels}"
        )
    if not all((s - 1) * block < out <= s * block for s, out in zip((h, w), out_hw, strict=True)):
        raise ValueError(f"{h}x{w} positions of {block}x{block} pixels do not make {out_hw} labels")
    numbers = [c_int32(number) for number in (n, h, w, channels, classes, block, *out_hw)]
    args: Arguments = (c_void_p(scores), *numbers, c_void_p(labels))
    return Launch(FRAME_SYMBOLS[1], _grid(n * h * w), (_BLOCK, 1, 1), args)


@cache
def frame_source() -> str:
    """The kernels as a translation unit of CUDA C++, without includes."""
    folder = Path(__file__).parent
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in _SOURCES)


def _grid(pieces: int) -> tuple[int, int, int]:
    return min(-(-pieces // _BLOCK), _MAX_GRID), 1, 1
