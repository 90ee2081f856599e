"""Proposes an ignore mask for the bonnet that a clip shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2

from roadseg.core.errors import SourceError, UsageError
from roadseg.core.files import claim_file, with_ending, write_bytes
from roadseg.core.types import Image
from roadseg.core.wording import option
from roadseg.media.sources.base import Source
from roadseg.media.sources.opening import open_source
from roadseg.road import IgnoreMask, find_bonnet

_FRAMES = 64
_LEAST_STEP_S, _MOST_STEP_S = 0.3, 5.0


def write_bonnet_mask(source: str, output: Path) -> IgnoreMask:
    """Write the proposal of `roadseg.road.find_bonnet` as a PNG, white where it is to be ignored.

    Of a clip 64 frames are read, over its whole length but at most five seconds apart.

    Args:
        source: see `roadseg.media.sources.opening.open_source`.
        output: the `.png`; its folder is created.

    Raises:
        UsageError: `output` is another kind of file.
        SourceError: the source cannot be read, or shows no bonnet.
        SinkError: the mask cannot be written.
    """
    if output.suffix.lower() != ".png":
        raise UsageError(
            f"a mask cannot be written to {output}",
            fix=f"use {option('--output', with_ending(output, '.png', 'mask'))}",
        )
    claim_file(output)
    size_hw = None
    with open_source(source) as opened:
        frames = []
        for frame_bgr in _some(opened):
            size_hw = size_hw or frame_bgr.shape[:2]
            if frame_bgr.shape[:2] == size_hw:
                frames.append(frame_bgr)
        name = opened.info.name
    mask = find_bonnet(frames)
    if mask is None or size_hw is None:
        raise SourceError(
            f"{name} shows no bonnet, as far as {len(frames)} frames tell",
            fix="take ten seconds or more in which the car drives, or paint a mask yourself",
        )
    picture = cv2.bitwise_not(mask.counts((size_hw[0], size_hw[1])))
    encoded = cv2.imencode(".png", picture)[1]
    write_bytes(output, encoded.tobytes(), fix="give another name or free the space it needs")
    return mask


def _some(source: Source) -> Iterator[Image]:
    """Some frames, far enough apart for the world to have moved."""
    info = source.info
    step_s, stride = _LEAST_STEP_S, 1
    if info.kind == "images":
        step_s, stride = 0.0, max((info.frame_count or 0) // _FRAMES, 1)
    elif info.frame_count and info.rate:
        step_s = min(max(info.frame_count / float(info.rate) / _FRAMES, step_s), _MOST_STEP_S)
    next_s, count = 0.0, 0
    while count < _FRAMES and (frame := source.read()) is not None:
        if frame.time_s >= next_s - 1e-6 and frame.index % stride == 0:
            next_s = frame.time_s + step_s
            count += 1
            yield frame.image_bgr
