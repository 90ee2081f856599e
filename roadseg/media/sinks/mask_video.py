"""Class ids of every frame in one file: `--save-masks FILE.mkv`.

The ids are the grey values of a lossless video (FFV1) in Matroska. FFmpeg, VLC and OpenCV read it
as it is; `roadseg.MaskVideo` also knows the times and what the ids mean. Every frame is coded by
itself and has a checksum, so that any one is read alone and damage is noticed. docs/recordings.md
has the figures that chose this format.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

import numpy as np

from roadseg.core.errors import SinkError
from roadseg.core.files import sync
from roadseg.core.types import Frame, Labels
from roadseg.core.wording import option
from roadseg.media.container import file_url
from roadseg.media.mask_video import CLASSES_TAG
from roadseg.media.sinks.targets import claim_file, closed_before, replace_file, write_failure
from roadseg.media.sources.base import SourceInfo

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["MaskVideoSink"]

_FALLBACK_RATE = Fraction(25)

# Matroska counts milliseconds.
_TIME_BASE = Fraction(1, 1000)

# Golomb-Rice codes and runs suit areas of one value: the range coder takes twice the time, and at
# 1280x720 twice the bytes. One thread: the network needs the others, and a second would hold
# pictures back.
_FFV1 = {
    "level": "3",
    "g": "1",
    "coder": "rice",
    "context": "0",
    "slices": "4",
    "slicecrc": "1",
    "threads": "1",
}

# The same ids make the same bytes: without it there are random numbers and FFmpeg's version.
# A kill costs no more than the last second.
_MATROSKA = {"fflags": "+bitexact", "flush_packets": "1", "cluster_time_limit": "1000"}


class MaskVideoSink:
    """Class ids as a lossless video of the frames' size; see `roadseg.MaskVideo`.

    It grows under a hidden name and gets its own when it is closed. What a killed run leaves under
    the hidden name can be read to the last whole frame.

    Args:
        path: the file, `.mkv`.
        source: gives the rate; must not be that file.
        classes: what the ids mean, by id.
        overwrite: whether a file that is there already may be replaced.

    Attributes:
        frames_out, warnings, path: see `roadseg.media.sinks.sink.Sink`.

    Raises:
        SinkError: it cannot be written, is the source itself, or another run's.
    """

    def __init__(
        self, path: Path, source: SourceInfo, classes: Sequence[str], *, overwrite: bool = True
    ) -> None:
        self.path: Path | None = path
        self.frames_out = 0
        self._target = path
        self._rate = source.rate or _FALLBACK_RATE
        self._classes = tuple(classes)
        self._size_hw: tuple[int, int] | None = None
        self._last_pts = -1
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._closed = False
        self._claim = claim_file(path, source, overwrite=overwrite, name="--save-masks")
        self.warnings = self._claim.warnings

    def write(self, ids: Labels, frame: Frame) -> None:
        """Write one mask: (H, W) uint8 class ids, of the same size as those before.

        Raises:
            ValueError: it is not (H, W) uint8.
            SinkError: it has another size, or could not be written, for example because the disk
                is full. The file then ends before it, under its final name.
        """
        import av

        if ids.ndim != 2 or ids.dtype != np.uint8:
            raise ValueError(f"expected (H, W) uint8 class ids, got {ids.shape} {ids.dtype}")
        if self._closed:
            raise closed_before(self._target)
        height, width = ids.shape
        try:
            if self._stream is None:
                self._stream = self._start((height, width))
            if (height, width) != self._size_hw:
                raise SinkError(
                    f"{self._target} cannot hold a mask of {width}x{height} behind those of "
                    f"{self._stream.width}x{self._stream.height}",
                    fix=f"give a folder, {option('--save-masks', self._target.with_suffix(''))}",
                )
            self._encode(self._stream, ids, frame)
        except SinkError:
            self._keep_what_is_whole()
            raise
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            self._fail(exc)
        self.frames_out += 1

    def _start(self, size_hw: tuple[int, int]) -> VideoStream:
        import av

        self._size_hw = size_hw
        self._container = av.open(
            file_url(self._claim.temporary), "w", format="matroska", options=dict(_MATROSKA)
        )
        self._container.metadata[CLASSES_TAG] = json.dumps(self._classes, ensure_ascii=False)
        stream = cast(
            "VideoStream", self._container.add_stream("ffv1", rate=self._rate, options=dict(_FFV1))
        )
        context = stream.codec_context
        context.height, context.width = size_hw
        context.pix_fmt = "gray"
        context.time_base = _TIME_BASE
        return stream

    def _encode(self, stream: VideoStream, ids: Labels, frame: Frame) -> None:
        from av.video.frame import VideoFrame

        assert self._container is not None
        grey = VideoFrame.from_ndarray(ids, format="gray")
        self._last_pts = max(round(frame.time_s / _TIME_BASE), self._last_pts + 1)
        grey.pts, grey.time_base = self._last_pts, _TIME_BASE
        for packet in stream.encode(grey):
            self._container.mux(packet)

    def sync(self) -> None:
        """Wait until the disk has what was written; any thread may call this."""
        # It is a precaution: a disk that fails is reported by what writes to it.
        with contextlib.suppress(OSError):
            sync(self._claim.temporary)

    def close(self, *, ok: bool) -> None:
        """See `Sink.close`. Without a single mask there is nothing to complete, and a file of an
        earlier run stays as it was."""
        import av

        if self._closed:
            return
        if not ok or self._stream is None or self._container is None:
            self._let_go()
            self._forget()
            return
        try:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            self._fail(exc)
        self._closed = True
        self.sync()
        try:
            replace_file(self._claim.temporary, self._target)
        finally:
            self._claim.release()

    def _fail(self, exc: BaseException) -> NoReturn:
        """Keep what can be read, and raise what `exc` means."""
        self._keep_what_is_whole()
        raise write_failure(self._target, exc) from exc

    def _keep_what_is_whole(self) -> None:
        self._let_go()
        if self.frames_out:
            with contextlib.suppress(SinkError):
                replace_file(self._claim.temporary, self._target)
                count = "one mask" if self.frames_out == 1 else f"{self.frames_out} masks"
                self.warnings.append(f"{self._target} ends early: it holds the first {count}")
        self._forget()

    def _let_go(self) -> None:
        """Close what is open, without minding what fails."""
        import av

        self._closed = True
        if self._container is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.close()

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            self._claim.temporary.unlink(missing_ok=True)
        self._claim.release()
