"""Webcams, through OpenCV, which knows every system's camera API."""

from __future__ import annotations

import os
import re
import sys
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from roadseg.core.closing import Closing
from roadseg.core.cv2_check import quiet_opencv
from roadseg.core.errors import SourceError
from roadseg.core.types import Frame, Image
from roadseg.core.wording import option
from roadseg.media.sources.backlog import newest
from roadseg.media.sources.base import CameraMode, SourceInfo
from roadseg.media.sources.timeline import WALL_TIME_BASE, Timeline

__all__ = ["CameraSource"]

_FALLBACK_RATE = Fraction(25)
_FIX = "check that it is plugged in and that no other program uses it"


class CameraSource(Closing):
    """A webcam by its index; see `roadseg.media.sources.base.Source`.

    Args:
        index: of the webcam; or a pipeline of GStreamer, with its name and `api`.
        name: for people; that of the webcam by default.
        api: of OpenCV; by default that of webcams.
        mode: what it is asked for; what it does not do becomes a warning.
        max_frames: `read` returns None after so many.

    Raises (also `read`):
        SourceError: there is no such camera, another program holds it, or it was unplugged.
    """

    def __init__(
        self,
        index: int | str,
        *,
        name: str | None = None,
        api: int | None = None,
        mode: CameraMode | None = None,
        max_frames: int | None = None,
    ) -> None:
        self.frames_lost = 0
        self.warnings: list[str] = []
        self._name = name or f"webcam {index}"
        self._max_frames = max_frames
        self._index = 0
        # The other capture APIs that OpenCV would try on Linux take files for cameras.
        if api is None:
            api = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
        with quiet_opencv():
            try:
                self._capture = cv2.VideoCapture(index, api)
            except cv2.error as exc:
                raise self._none(index) from exc
            if not self._capture.isOpened():
                self._capture.release()
                raise self._none(index)
        self._pending: tuple[Image, float] | None = None
        if mode is not None:
            self._ask_for(mode)
        try:
            self._pending = self._grab()
        except SourceError:
            self._capture.release()
            raise
        image = self._pending[0]
        if mode is not None and mode.size_wh not in (None, (image.shape[1], image.shape[0])):
            self.warnings.append(
                f"{self._name} gives {image.shape[1]}x{image.shape[0]} pictures, not "
                f"{mode.size_wh[0]}x{mode.size_wh[1]}"
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._step_s = 1 / fps if 0 < fps <= 1000 else float(1 / _FALLBACK_RATE)
        self._timeline = Timeline(self._step_s / float(WALL_TIME_BASE), 90_000)
        self.info = SourceInfo(
            name=self._name,
            kind="live",
            size_hw=(image.shape[0], image.shape[1]),
            rate=Fraction(fps).limit_denominator(1001) if 0 < fps <= 1000 else None,
            frame_count=max_frames,
            has_audio=False,
            path=None,
            time_base=WALL_TIME_BASE,
        )

    def _ask_for(self, mode: CameraMode) -> None:
        # Uncompressed, USB carries large pictures at a few a second.
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        if mode.size_wh is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, mode.size_wh[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, mode.size_wh[1])
        if mode.fps is not None:
            self._capture.set(cv2.CAP_PROP_FPS, mode.fps)

    def _none(self, index: int | str) -> SourceError:
        if isinstance(index, int):
            return _no_camera(index)
        return SourceError(f"{self._name} does not start", fix="try it with gst-launch-1.0")

    def _grab(self) -> tuple[Image, float]:
        with quiet_opencv():
            try:
                good = self._capture.grab()
                captured_s = time.monotonic()
                good, image = self._capture.retrieve() if good else (False, None)
            except cv2.error as exc:
                raise SourceError(f"{self._name} failed ({exc.err})", fix=_FIX) from exc
        if not good or image is None:
            raise SourceError(f"{self._name} gives no picture", fix=_FIX)
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        return np.asarray(image, dtype=np.uint8), captured_s

    def read(self) -> Frame | None:
        """See `Source.read`."""
        if self._max_frames is not None and self._index >= self._max_frames:
            return None
        if self._index == 0 and self._pending is not None:
            # The driver has kept some while the network was compiled.
            self._pending = newest(self._pending, self._grab, self._step_s, time.monotonic)
        (image, captured_s), self._pending = self._pending or self._grab(), None
        # A clock of our own, so that every gap is real.
        ticks = self._timeline.ticks(round(captured_s / WALL_TIME_BASE), longest=sys.maxsize)
        frame = Frame(image, self._index, float(ticks * WALL_TIME_BASE), captured_s)
        self._index += 1
        return frame

    def close(self) -> None:
        """See `Source.close`."""
        self._capture.release()


def _devices() -> list[int]:
    """Indices of the video devices that Linux lists; empty elsewhere."""
    names = (re.fullmatch(r"video(\d+)", p.name) for p in Path("/dev").glob("video*"))
    return sorted(int(m[1]) for m in names if m)


def _no_camera(index: int) -> SourceError:
    if not sys.platform.startswith("linux"):
        return SourceError(
            f"no webcam {index}", fix="check that it is plugged in and that this program may use it"
        )
    devices = _devices()
    if not devices:
        return SourceError(
            f"no webcam {index}: no /dev/video* device found",
            fix="plug one in, or give a file or URL",
        )
    if index not in devices:
        return SourceError(
            f"no webcam {index}: found {', '.join(f'/dev/video{i}' for i in devices)}",
            fix=f"use {option('--source', str(devices[0]))}",
        )
    if not os.access(f"/dev/video{index}", os.R_OK | os.W_OK):
        return SourceError(
            f"no permission to use webcam {index} (/dev/video{index})",
            fix="add yourself to the group video and log in again",
        )
    return SourceError(
        f"webcam {index} (/dev/video{index}) cannot be opened",
        fix="close the program that uses it, or name another one: this may not be a camera",
    )
