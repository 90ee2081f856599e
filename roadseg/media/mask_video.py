"""Reads what `--save-masks FILE.mkv` wrote: class ids of every frame, by number or by time.

>>> with MaskVideo("drive-masks.mkv") as masks:
...     len(masks), masks.size_hw, masks.classes[10]
...     share = (masks[750] == 10).mean()      # (H, W) uint8
(5400, (1080, 1920), 'car')
"""

from __future__ import annotations

import bisect
import contextlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roadseg.core.closing import Closing
from roadseg.core.errors import SourceError
from roadseg.core.types import Labels
from roadseg.media.container import open_video_file, reason, text
from roadseg.media.sources.truncation import is_cut_off

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

__all__ = ["CLASSES_TAG", "MaskVideo"]

_SLICE_END = 8
_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

CLASSES_TAG = "ROADSEG_CLASSES"
"""Of the container: what the ids mean, a JSON list by id."""


class MaskVideo(Closing):
    """Class ids of the frames of a video, one mask each.

    A file that a killed run left or a copy that was cut off is read to its last whole mask. To
    read masks in their order costs least; any other costs hardly more. One thread at a time.

    Args:
        path: a file that `MaskVideoSink` wrote.

    Attributes:
        size_hw: height and width of every mask, in pixels.
        classes: what the ids mean, by id; empty where the file does not say.
        times_s: (n,) float64, rising: when each frame is shown, in seconds from the start of the
            source, to the millisecond.
        is_whole: the file was finished.

    Raises:
        SourceError: it cannot be read, or holds other things than masks.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._container = open_video_file(self.path)
        try:
            self._stream = _masks_of(self._container, self.path)
            self._context = self._stream.codec_context
            # Slices, not frames: a decoder that works ahead would hold masks back.
            self._context.thread_type = "SLICE"
            self._context.thread_count = 1
            self.size_hw = (self._context.height, self._context.width)
            tags = {key.upper(): value for key, value in self._container.metadata.items()}
            self.classes: tuple[str, ...] = tuple(json.loads(text(tags.get(CLASSES_TAG, "[]"))))
            self.is_whole = self._container.duration is not None and not is_cut_off(self.path)
            self._stamps = [packet.pts for packet in self._packets() if packet.pts is not None]
            self._following: Iterator[Packet[Any]] | None = None
            self._at = 0
            while self._stamps and not self._is_readable(len(self._stamps) - 1):
                self._stamps.pop()
        except BaseException:
            self._container.close()
            raise
        base = float(self._stream.time_base or 0)
        self.times_s = np.array(self._stamps, np.float64) * base

    def _packets(self) -> Iterator[Packet[Any]]:
        import av

        # What stands behind the place where the file was cut off is read by nobody.
        with contextlib.suppress(av.error.FFmpegError, OSError):
            for packet in self._container.demux(self._stream):
                if packet.size:
                    yield packet

    def _is_readable(self, number: int) -> bool:
        try:
            self._read(number)
        except SourceError:
            return False
        return True

    def __len__(self) -> int:
        return len(self._stamps)

    def __getitem__(self, number: int) -> Labels:
        """(H, W) uint8 class ids of a frame, counted from 0; from the end where it is negative.

        Raises:
            IndexError: there are not so many.
            SourceError: the file is damaged there.
        """
        count = len(self._stamps)
        if not -count <= number < count:
            raise IndexError(f"{self.path} holds {count} masks: there is none of number {number}")
        return self._read(number % count)

    def __iter__(self) -> Iterator[Labels]:
        return (self[number] for number in range(len(self)))

    def at(self, time_s: float) -> Labels:
        """(H, W) uint8 class ids of the frame that is shown at a time; the first one before it.

        Raises:
            IndexError: the file holds none.
            SourceError: the file is damaged there.
        """
        # Times are rounded to milliseconds by the file.
        return self[max(bisect.bisect_right(self.times_s, time_s + 5e-4) - 1, 0)]

    def _read(self, number: int) -> Labels:
        import av

        stamp = self._stamps[number]
        try:
            if self._following is None or number != self._at:
                self._container.seek(stamp, stream=self._stream)
                self._following = self._packets()
            packet = next((each for each in self._following if each.pts == stamp), None)
            frames = [] if packet is None else self._context.decode(packet)
        except (av.error.FFmpegError, OSError) as exc:
            self._following = None
            raise self._damaged(number, f" ({reason(exc)})") from exc
        self._at = number + 1
        if not frames or packet is None or not _is_undamaged(bytes(packet)):
            self._following = None
            raise self._damaged(number)
        return np.asarray(frames[0].to_ndarray(), np.uint8)

    def _damaged(self, number: int, why: str = "") -> SourceError:
        return SourceError(
            f"{self.path} is damaged at mask {number}{why}", fix="copy or write it again"
        )

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._container.close()


def _is_undamaged(mask: bytes) -> bool:
    """Whether the checksums of a mask, as FFV1 stores it, are right: the decoder hides what is
    damaged behind parts of other masks, and says so only in its log.

    Each slice ends with its length (3 bytes), a byte, and what makes its CRC-32 zero (4 bytes).
    """
    end = len(mask)
    while end:
        start = end - _SLICE_END - int.from_bytes(mask[end - 8 : end - 5], "big")
        if start < 0:
            return False
        # FFV1 takes the highest bit of a byte first, zlib the lowest; and it begins with zero.
        turned = mask[start:end].translate(_TURNED)
        if zlib.crc32(turned, 0xFFFFFFFF) != 0xFFFFFFFF:
            return False
        end = start
    return True


def _masks_of(container: InputContainer, path: Path) -> VideoStream:
    streams = container.streams.video
    contexts = [stream.codec_context for stream in streams]
    if [(each.name, each.pix_fmt) for each in contexts] == [("ffv1", "gray")]:
        return streams[0]
    raise SourceError(
        f"{path} holds no masks",
        fix="give a file that 'roadseg run --save-masks FILE.mkv' wrote",
    )
