"""Cameras that only GStreamer reaches, such as a Jetson's own: `csi://0`.

pip's OpenCV has no GStreamer. Where that is so, the pipeline runs in a process of its own,
`gst-launch-1.0`, whose raw pictures are read from a pipe; `roadseg doctor` says which way is taken.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from functools import cache

import cv2
import numpy as np

from roadseg.core.closing import Closing
from roadseg.core.errors import SourceError
from roadseg.core.types import Frame, Image
from roadseg.media.sources.base import CameraMode, Source, SourceInfo
from roadseg.media.sources.places import Csi
from roadseg.media.sources.timeline import WALL_TIME_BASE, Timeline

GST_LAUNCH = "gst-launch-1.0"

# A pipe that holds a picture and more: with less, each takes many wake-ups.
_PIPE_BYTES = 1 << 20

_ENDS_S = 2.0

_FIX = "check that the camera is connected and that no other program uses it"


def csi_elements(place: Csi) -> str:
    """The pipeline of a Jetson's camera, up to raw pictures in memory of the processor."""
    caps = f"width={place.width},height={place.height},framerate={place.fps}/1"
    return (
        f"nvarguscamerasrc sensor-id={place.number} ! video/x-raw(memory:NVMM),{caps} ! "
        f"nvvidconv ! {_raw(place)}"
    )


def open_csi(
    place: Csi,
    *,
    mode: CameraMode | None = None,
    max_frames: int | None = None,
    timeout_s: float = 10.0,
) -> Source:
    """The camera on a Jetson's own connector.

    Args:
        place: which one, and how.
        mode: wins over `place`.
        max_frames: `read` returns None after so many.
        timeout_s: see `GstSource`.

    Raises:
        SourceError: there is neither way to it, or it does not answer.
    """
    if mode is not None and mode.size_wh is not None:
        place = replace(place, width=mode.size_wh[0], height=mode.size_wh[1])
    if mode is not None and mode.fps is not None:
        place = replace(place, fps=max(round(mode.fps), 1))
    if opencv_has_gstreamer():
        return open_pipeline(csi_elements(place), place.name, max_frames=max_frames)
    return GstSource(place, csi_elements(place), max_frames=max_frames, timeout_s=timeout_s)


def open_pipeline(elements: str, name: str, *, max_frames: int | None = None) -> Source:
    """A pipeline of GStreamer, without its sink, through OpenCV.

    Raises:
        SourceError: this OpenCV has no GStreamer, or the pipeline gives no picture.
    """
    from roadseg.media.sources.camera import CameraSource

    if not opencv_has_gstreamer():
        raise SourceError(
            "this OpenCV has no GStreamer, which pipelines with ' ! ' need",
            fix="install one that was built with it, such as the system's python3-opencv",
        )
    sink = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
    text = f"{elements.rstrip(' !')} ! {sink}"
    return CameraSource(text, name=name, api=cv2.CAP_GSTREAMER, max_frames=max_frames)


@cache
def opencv_has_gstreamer() -> bool:
    """Whether this OpenCV was built with it."""
    return re.search(r"^\s*GStreamer:\s*YES", cv2.getBuildInformation(), re.MULTILINE) is not None


def _raw(place: Csi) -> str:
    # Four bytes a pixel: rows of three would be padded, and a Jetson converts to these by itself.
    return f"video/x-raw,format=BGRx,width={place.width},height={place.height}"


class GstSource(Closing):
    """Raw pictures out of a `gst-launch-1.0` process; see `roadseg.media.sources.base.Source`.

    Args:
        place: size and rate of the pictures.
        elements: the pipeline, whose pictures are BGRx of that size.
        max_frames: `read` returns None after so many.
        timeout_s: for the first picture, and for each one after it.

    Raises (also `read`):
        SourceError: there is no GStreamer, or the camera does not answer.
    """

    def __init__(
        self,
        place: Csi,
        elements: str,
        *,
        max_frames: int | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self.frames_lost = 0
        self.warnings: list[str] = []
        self._place = place
        self._max_frames = max_frames
        self._timeout_s = timeout_s
        self._index = 0
        self._shape = (place.height, place.width, 4)
        self._buffer = np.empty(self._shape, np.uint8)
        self._timeline = Timeline(1 / place.fps / float(WALL_TIME_BASE), 90_000)
        self.info = SourceInfo(
            name=place.name,
            kind="live",
            size_hw=(place.height, place.width),
            rate=Fraction(place.fps),
            frame_count=max_frames,
            has_audio=False,
            path=None,
            time_base=WALL_TIME_BASE,
        )
        program = shutil.which(GST_LAUNCH)
        if program is None or sys.platform == "win32":
            raise SourceError(
                f"{place.name} needs GStreamer, and this OpenCV has none",
                fix="apt install gstreamer1.0-tools gstreamer1.0-plugins-base",
            )
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `close`)
        # Whoever reads too slowly gets the newest picture, and no queue.
        last = "queue leaky=downstream max-size-buffers=1 ! fdsink fd=1 sync=false"
        self._process = subprocess.Popen(
            [program, "--quiet", *shlex.split(f"{elements} ! {last}")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        with contextlib.suppress(AttributeError, OSError):
            import fcntl

            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            self._pending: tuple[Image, float] | None = self._take()
        except SourceError:
            self.close()
            raise

    def _take(self) -> tuple[Image, float]:
        """The next picture, (H, W, 3) BGR, and when it was there."""
        left = memoryview(self._buffer).cast("B")
        due_s = time.monotonic() + self._timeout_s
        while left:
            if not select.select([self._pipe], [], [], max(due_s - time.monotonic(), 0))[0]:
                raise SourceError(
                    f"{self._place.name} gives no picture for {self._timeout_s:g} s", fix=_FIX
                ) from TimeoutError()
            count = os.readv(self._pipe, [left])
            if not count:
                raise self._failure()
            left = left[count:]
        captured_s = time.monotonic()
        return np.asarray(cv2.cvtColor(self._buffer, cv2.COLOR_BGRA2BGR), np.uint8), captured_s

    def _failure(self) -> SourceError:
        """What the process said before it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDS_S)
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        wrong = [line for line in lines if re.match(r"(ERROR|WARNING: erroneous)", line)]
        text = (wrong or lines or ["it has ended"])[0].strip()
        return SourceError(f"{self._place.name}: GStreamer says: {text}", fix=_FIX)

    def read(self) -> Frame | None:
        """See `Source.read`."""
        if self._max_frames is not None and self._index >= self._max_frames:
            return None
        (image, captured_s), self._pending = self._pending or self._take(), None
        ticks = self._timeline.ticks(round(captured_s / WALL_TIME_BASE), longest=sys.maxsize)
        frame = Frame(image, self._index, float(ticks * WALL_TIME_BASE), captured_s)
        self._index += 1
        return frame

    def close(self) -> None:
        """See `Source.close`; ends the process."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_ENDS_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()
