"""One picture that lies elsewhere, as a source."""

from __future__ import annotations

import time

from roadseg.core.closing import Closing
from roadseg.core.types import Frame
from roadseg.media.sources.base import SourceInfo
from roadseg.media.sources.images import IMAGE_RATE, decode_image


class FetchedImage(Closing):
    """See `roadseg.media.sources.base.Source`. The same picture, read as a file's would be.

    Args:
        data: all of its file.
        name: where it comes from, for people; without passwords.
        loop: give it again and again.
        max_frames: stop after so many frames.

    Raises:
        SourceError: it is damaged, cut off or no image.
    """

    def __init__(self, data: bytes, name: str, *, loop: bool, max_frames: int | None) -> None:
        self.frames_lost = 0
        self.warnings: list[str] = []
        self._image = decode_image(data, name)
        self._next = 0
        # None: there is no end.
        self._count = max_frames if loop else 1
        self.info = SourceInfo(
            name=name,
            kind="images",
            size_hw=(self._image.shape[0], self._image.shape[1]),
            rate=IMAGE_RATE,
            frame_count=self._count,
            has_audio=False,
            path=None,
            time_base=1 / IMAGE_RATE,
        )

    def read(self) -> Frame | None:
        """See `Source.read`."""
        index = self._next
        if self._count is not None and index >= self._count:
            return None
        self._next += 1
        return Frame(self._image.copy(), index, float(index / IMAGE_RATE), time.monotonic())

    def close(self) -> None:
        """See `Source.close`."""
        self._count = 0
