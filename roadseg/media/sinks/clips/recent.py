"""The last seconds of a stream of encoded pictures, in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from roadseg.media.sinks.clips.tap import EncodedPicture


class RecentPictures:
    """Keeps encoded pictures from a key picture on. One thread uses it."""

    def __init__(self) -> None:
        self._pictures: deque[EncodedPicture] = deque()
        self._keys: deque[EncodedPicture] = deque()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._pictures)

    def add(self, picture: EncodedPicture) -> None:
        """Keep one more."""
        if picture.is_key:
            self._keys.append(picture)
        if self._keys:
            self._pictures.append(picture)

    def since(self, time_s: float) -> Iterator[EncodedPicture]:
        """From the last key picture at or before a time; from the first one that is kept where
        that is later."""
        first = next(iter(self._keys), None)
        for key in self._keys:
            if not _is_at_or_before(key, time_s):
                break
            first = key
        begun = False
        for picture in self._pictures:
            begun = begun or picture is first
            if begun:
                yield picture

    def forget_before(self, time_s: float) -> None:
        """Drop what `since` of this time, or of a later one, does not need."""
        while len(self._keys) > 1 and _is_at_or_before(self._keys[1], time_s):
            self._keys.popleft()
            while self._pictures[0] is not self._keys[0]:
                self._pictures.popleft()

    def clear(self) -> None:
        """Drop all."""
        self._pictures.clear()
        self._keys.clear()


def _is_at_or_before(picture: EncodedPicture, time_s: float) -> bool:
    # Times of pictures are rounded to ticks.
    return picture.time_s <= time_s + picture.time_base / 2
