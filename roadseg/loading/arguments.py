"""What the Python API is given, looked at before anything is done with it."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from roadseg.core.types import Image

_FRAME = "a (H, W, 3) uint8 BGR frame"
_BATCH = "a (N, h, w, 3) uint8 BGR batch"
_TO_UINT8 = ": scale it to 0..255 and convert with .astype(np.uint8)"


def model_text(model: object) -> str:
    """The name or path of a model.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(model, (str, os.PathLike)):
        return os.fsdecode(model)
    raise TypeError(f'model is a name such as "segnet-lite" or a path, got {_kind(model)}')


def size_pair(size_hw: Any) -> tuple[int, int]:
    """Height and width.

    Raises:
        TypeError: it is no pair of whole numbers.
    """
    try:
        height, width = size_hw
        return operator.index(height), operator.index(width)
    except (TypeError, ValueError):
        raise TypeError(
            f"size_hw is (height, width) in pixels, such as (352, 480), got {size_hw!r}"
        ) from None


def whole_number(name: str, value: Any) -> int:
    """A count.

    Args:
        name: of the argument.
        value: what was given for it.

    Raises:
        TypeError: it is no whole number.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is a whole number such as 2, got {value!r}") from None


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def check_frame(frame_bgr: Image) -> None:
    """Refuse what is no frame.

    Raises:
        TypeError: no array.
        ValueError: not (H, W, 3) uint8; what is often meant names its conversion.
    """
    if not isinstance(frame_bgr, np.ndarray):
        raise TypeError(_not_an_array(frame_bgr))
    shape, dtype = frame_bgr.shape, frame_bgr.dtype
    if dtype == np.uint8 and len(shape) == 3 and shape[2] == 3 and shape[0] and shape[1]:
        return
    hint = ""
    if dtype != np.uint8:
        hint = _TO_UINT8
    elif len(shape) == 2 or shape[2:] == (1,):
        hint = ": convert grey pictures with cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)"
    elif shape[2:] == (4,):
        hint = ": convert BGRA pictures with cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)"
    elif len(shape) == 3 and shape[0] == 3:
        hint = ": put the channels last with .transpose(1, 2, 0)"
    raise ValueError(f"expected {_FRAME}, got {shape} {dtype}{hint}")


def _not_an_array(frame: object) -> str:
    hint = ""
    if frame is None:
        hint = ": cv2.imread gives None where it cannot read a file"
    elif isinstance(frame, (str, os.PathLike)):
        hint = f": read it with cv2.imread({os.fspath(frame)!r})"
    elif isinstance(frame, (list, tuple)):
        hint = ": for several frames there is segment_batch; numpy.asarray makes a frame of numbers"
    elif hasattr(frame, "__array__"):
        hint = ": make it a NumPy array with numpy.asarray, with its channels as blue, green, red"
    return f"expected {_FRAME}, as a NumPy array, got {_kind(frame)}{hint}"


def check_batch(frames_bgr: Sequence[Image]) -> None:
    """Refuse what is no sequence of frames.

    Raises:
        TypeError, ValueError: it is none, or one of them is no frame.
    """
    if isinstance(frames_bgr, (str, bytes)) or not hasattr(frames_bgr, "__len__"):
        raise TypeError(f"expected a list of frames, {_FRAME} each, got {_kind(frames_bgr)}")
    for frame_bgr in frames_bgr:
        check_frame(frame_bgr)


def check_input_batch(batch_bgr: Image) -> None:
    """Refuse what is no batch of network inputs in one array; none at all are a batch, too.

    Raises:
        TypeError: no array.
        ValueError: not (N, h, w, 3) uint8; what is often meant names its conversion.
    """
    if not isinstance(batch_bgr, np.ndarray):
        several = isinstance(batch_bgr, (list, tuple))
        hint = ": numpy.stack makes one of frames of one size" if several else ""
        raise TypeError(f"expected {_BATCH}, as a NumPy array, got {_kind(batch_bgr)}{hint}")
    shape, dtype = batch_bgr.shape, batch_bgr.dtype
    if dtype == np.uint8 and len(shape) == 4 and shape[3] == 3 and shape[1] and shape[2]:
        return
    hint = ""
    if dtype != np.uint8:
        hint = _TO_UINT8
    elif len(shape) == 3 and shape[2] == 3:
        hint = ": a batch of one frame is frame[np.newaxis]"
    elif len(shape) == 4 and shape[1] == 3:
        hint = ": put the channels last with .transpose(0, 2, 3, 1)"
    raise ValueError(f"expected {_BATCH}, got {shape} {dtype}{hint}")
