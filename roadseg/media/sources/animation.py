"""Animated pictures as videos: GIF and APNG through FFmpeg, WebP and AVIF through OpenCV, since
FFmpeg decodes only the first picture of a WebP and finds only the cover of an AVIF."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from roadseg.core.closing import Closing
from roadseg.core.cv2_check import quiet_opencv
from roadseg.core.errors import SourceError, unreadable
from roadseg.core.types import Frame, Image
from roadseg.media.picture_file import PNG_SIGNATURE, is_cut_off
from roadseg.media.sources.base import Source, SourceInfo

_TIME_BASE = Fraction(1, 1000)

# What browsers take for a picture that states no time of its own.
_DEFAULT_MS = 100

# OpenCV decodes from the start each time it is asked, and all at once if it may.
_CHUNK_BYTES = 256 * 2**20


def open_animation(path: Path, *, loop: bool, max_frames: int | None) -> Source:
    """Open an animated picture: every picture in it, with its own times.

    Raises:
        SourceError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
    if head.startswith((PNG_SIGNATURE, b"GIF8")):
        from roadseg.media.sources.file import open_file

        return open_file(path, loop=loop, max_frames=max_frames)
    return AnimationSource(path, loop=loop, max_frames=max_frames)


class AnimationSource(Closing):
    """An animated WebP or AVIF; see `roadseg.media.sources.base.Source`.

    Raises:
        SourceError: it cannot be decoded.
    """

    def __init__(self, path: Path, *, loop: bool = False, max_frames: int | None = None) -> None:
        self.frames_lost = 0
        self.warnings: list[str] = []
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise unreadable(SourceError, path, exc) from exc
        if is_cut_off(data):
            raise SourceError(f"cannot read {path}: it was cut off", fix="copy it again")
        # One row: OpenCV 4 takes no column here.
        self._data = np.frombuffer(data, np.uint8).reshape(1, -1)
        self._path = path
        self._declared = _webp_count(data)
        self._loop = loop
        self._max_frames = max_frames
        self._index = 0
        self._time_ms = 0
        self._pictures = self._decode()
        first = next(self._pictures, None)
        if first is None:
            raise SourceError(
                f"cannot read {path}: it is damaged or not an image", fix="replace or remove it"
            )
        self._pending: tuple[Image, int] | None = first
        image, first_ms = first
        count = None if loop else self._declared
        if max_frames is not None and (loop or count is not None):
            count = max_frames if count is None else min(count, max_frames)
        self.info = SourceInfo(
            name=str(path),
            kind="file",
            size_hw=(image.shape[0], image.shape[1]),
            rate=Fraction(1000, first_ms),
            frame_count=count,
            has_audio=False,
            path=path,
            time_base=_TIME_BASE,
        )

    def _decode(self) -> Iterator[tuple[Image, int]]:
        """Pictures and how long each is shown, in ms: one pass."""
        start, count = 0, 1
        one_by_one = False
        while True:
            found = self._chunk(start, count)
            if found is None and count > 1:
                # One of them is damaged; those before it are not.
                count, one_by_one = 1, True
                continue
            if found is None:
                self._account(start)
            if found is None or not found.frames:
                return
            for stored, stated_ms in zip(found.frames, found.durations, strict=False):
                image = np.asarray(stored, dtype=np.uint8)
                if image.ndim == 2:
                    image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
                yield np.ascontiguousarray(image[:, :, :3]), int(stated_ms) or _DEFAULT_MS
            start += len(found.frames)
            if not one_by_one:
                count = max(1, _CHUNK_BYTES // found.frames[0].nbytes)

    def _chunk(self, start: int, count: int) -> cv2.Animation | None:
        """So many pictures, fewer at the end; None where one of them cannot be decoded."""
        with quiet_opencv():
            try:
                good, found = cv2.imdecodeanimation(self._data, start=start, count=count)
            except cv2.error:
                return None
        return found if good else None

    def _account(self, decoded: int) -> None:
        """It ends before its end."""
        if self.warnings or not decoded:
            return
        lost = ""
        if self._declared is not None:
            self.frames_lost = max(self._declared - decoded, 0)
            lost = f", {self.frames_lost} lost"
        self.warnings.append(f"{self._path} is damaged: {decoded} frames decoded{lost}")

    def read(self) -> Frame | None:
        """See `Source.read`."""
        if self._max_frames is not None and self._index >= self._max_frames:
            return None
        shown, self._pending = self._pending or next(self._pictures, None), None
        if shown is None and self._loop:
            self._pictures = self._decode()
            shown = next(self._pictures, None)
        if shown is None:
            return None
        image, duration_ms = shown
        frame = Frame(
            image,
            self._index,
            self._time_ms / 1000,
            time.monotonic(),
            duration_s=duration_ms / 1000,
        )
        self._index += 1
        self._time_ms += duration_ms
        return frame

    def close(self) -> None:
        """See `Source.close`."""
        self._loop = False
        self._pending = None
        self._pictures = iter(())


def _webp_count(data: bytes) -> int | None:
    """Pictures in an animated WebP, None for every other kind."""
    if not data.startswith(b"RIFF"):
        return None
    at, count = 12, 0
    while at + 8 <= len(data):
        count += data[at : at + 4] == b"ANMF"
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return count or None
