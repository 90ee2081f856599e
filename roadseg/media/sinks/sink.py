"""Where results go: an H.264 file, PNGs, masks in a folder or a file, or nowhere.

Sinks are synchronous and start no thread of their own; one thread at a time uses a sink.
Everything that can be refused is refused when a sink is opened, before any work is done.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from roadseg.core.errors import UsageError
from roadseg.core.types import Frame, Labels, Picture
from roadseg.core.wording import option
from roadseg.media.sinks.png import PngFileSink, PngFolderSink, PngMaskSink
from roadseg.media.sources.base import SourceInfo
from roadseg.media.sources.images import is_image

__all__ = ["MaskSink", "NullSink", "Sink", "open_mask_sink", "open_sink"]


@runtime_checkable
class Sink(Protocol):
    """Takes rendered frames, in order.

    Attributes:
        frames_out: frames written so far.
        warnings: one line each, for people; complete after `close`.
        path: what is written: a file or a folder; None for a sink that writes nothing.
    """

    frames_out: int
    warnings: list[str]
    path: Path | None

    def write(self, picture: Picture, frame: Frame) -> None:
        """Write one picture, in BGR or planes; `frame` gives its time and number.

        Raises:
            SinkError: it could not be written, for example because the disk is full. A video
                then ends before it, under its final name.
        """
        ...

    def close(self, *, ok: bool) -> None:
        """Finish; a second call does nothing.

        With `ok` what was written so far becomes a complete, playable result (also the right
        call after Ctrl-C or a lost camera). Without it, an unfinished file is removed, but what
        a failed `write` has put under the final name stays.

        Raises:
            SinkError: the result could not be completed; `warnings` say what is left of it.
        """
        ...


class MaskSink(Protocol):
    """Takes class ids, in order: a folder of PNGs or one file.

    Attributes:
        frames_out, warnings, path: see `Sink`.
    """

    frames_out: int
    warnings: list[str]
    path: Path | None

    def write(self, ids: Labels, frame: Frame) -> None:
        """Write one mask: (H, W) uint8 class ids.

        Raises:
            SinkError: it could not be written, for example because the disk is full.
        """
        ...

    def close(self, *, ok: bool) -> None:
        """See `Sink.close`."""
        ...


class NullSink:
    """Counts frames and writes nothing."""

    def __init__(self) -> None:
        self.frames_out = 0
        self.warnings: list[str] = []
        self.path: Path | None = None

    def write(self, picture: Picture, frame: Frame) -> None:  # noqa: ARG002
        """See `Sink.write`."""
        self.frames_out += 1

    def close(self, *, ok: bool) -> None:
        """See `Sink.close`."""


_OTHER_VIDEOS = frozenset([".avi", ".mkv", ".mov", ".webm", ".m4v", ".ts", ".gif", ".flv", ".wmv"])


_OTHER_MASKS = frozenset([".mp4", ".npz", ".npy", ".zip", ".h5", ".zarr", ".png"])


def open_sink(
    output: Path | None,
    source_info: SourceInfo,
    size_hw: tuple[int, int] | None = None,
    *,
    overwrite: bool = True,
    threads: int | None = None,
) -> Sink:
    """Open the sink that `output` names, making sure that it can be written.

    Args:
        output: a path that ends in `.mp4` for a video, in `.png` for the one picture of a source
            of one frame, a name without a suffix or a folder for PNGs, None for nothing. Missing
            folders are created.
        source_info: gives the video its rate, clock and sound; must not be what is written.
        size_hw: size of the pictures to come; that of the first one when None.
        overwrite: replace what is there already; otherwise refuse.
        threads: that encode a video; see `add_video_stream`.

    Raises:
        UsageError: another kind of file is asked for.
        SinkError: it cannot be written, or is the source itself.
    """
    if output is None:
        return NullSink()
    if output.suffix.lower() == ".mp4":
        from roadseg.media.sinks.mp4 import Mp4Sink

        return Mp4Sink(output, source_info, size_hw, overwrite=overwrite, threads=threads)
    # A folder may be called anything; `run.2` and `2024.11.26` name one as well.
    if not os.path.isdir(output) and re.search("[a-z]", output.suffix, re.IGNORECASE):
        if output.suffix.lower() == ".png" and source_info.frame_count == 1:
            return PngFileSink(output, source_info, overwrite=overwrite)
        raise _refusal(output, source_info)
    return PngFolderSink(output, source_info, overwrite=overwrite)


def open_mask_sink(
    path: Path,
    source_info: SourceInfo,
    classes: Sequence[str],
    *,
    output: Path | None = None,
    overwrite: bool = True,
) -> MaskSink:
    """Open the sink for class ids that `path` names, making sure that it can be written.

    Args:
        path: a path that ends in `.mkv` for one file, see `roadseg.MaskVideo`; else a folder for
            PNGs.
        source_info: must not be what is written.
        classes: what the ids mean, by id.
        output: what the picture sink writes; must not be the same folder.
        overwrite: replace what is there already; otherwise refuse.

    Raises:
        UsageError: another kind of file is asked for.
        SinkError: it cannot be written, or is the source's or the output's.
    """
    suffix = path.suffix.lower()
    if not os.path.isdir(path):
        if suffix == ".mkv":
            from roadseg.media.sinks.mask_video import MaskVideoSink

            return MaskVideoSink(path, source_info, classes, overwrite=overwrite)
        if suffix in _OTHER_VIDEOS | _OTHER_MASKS:
            mkv = option("--save-masks", path.with_suffix(".mkv"))
            folder = option("--save-masks", path.with_suffix(""))
            raise UsageError(
                f"cannot write masks as {path.suffix}",
                fix=f"use {mkv}, or a folder for PNGs, {folder}",
            )
    return PngMaskSink(path, source_info, output=output, overwrite=overwrite)


def _refusal(output: Path, source_info: SourceInfo) -> UsageError:
    if is_image(output) and source_info.frame_count != 1:
        return UsageError(
            "cannot write several frames into a single image",
            fix=f"give a folder, {_named(output, '')}",
        )
    if is_image(output):
        fix = f"use {_named(output, '.png')}"
    else:
        fix = f"use {_named(output, '.mp4')}"
        if output.suffix.lower() not in _OTHER_VIDEOS:
            fix += f", or a folder for PNGs, {_named(output, '')}"
    return UsageError(f"cannot write {output.suffix} files", fix=fix)


def _named(output: Path, suffix: str) -> str:
    return option("--output", output.with_suffix(suffix))
