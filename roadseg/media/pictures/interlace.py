"""Interlaced pictures to whole ones: half of the lines of each are a moment older."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from roadseg.media.pictures.filters import FilterGraph

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from roadseg.media.pictures.picture import Picture


class Deinterlacer:
    """Passes pictures on, and from the first interlaced one through FFmpeg's filter `bwdif`.

    As many come out as go in. Whole pictures among the others stay as they are.

    Attributes:
        seen: interlaced pictures so far.
    """

    def __init__(self) -> None:
        self.seen = 0
        self._graph: FilterGraph | None = None
        # What the filter holds back; it changes the stamps of pictures and loses what else is said.
        self._inside: deque[Picture] = deque()

    def __call__(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Every picture, in order."""
        for picture in pictures:
            interlaced = picture.frame.interlaced_frame
            self.seen += interlaced
            if self._graph is not None and not self._graph.takes(picture.frame):
                yield from self._drained()
            if self._graph is None:
                if not interlaced:
                    yield picture
                    continue
                self._graph = FilterGraph(
                    picture.frame, ("bwdif", "mode=send_frame:deint=interlaced")
                )
            self._inside.append(picture)
            yield from self._replaced(self._graph(picture.frame))
        yield from self._drained()

    def _drained(self) -> Iterator[Picture]:
        if self._graph is not None:
            yield from self._replaced(self._graph(None))
            self._graph = None
        # A filter that kept one back: better with two moments in it than lost.
        while self._inside:
            yield self._inside.popleft()

    def _replaced(self, frames: list[VideoFrame]) -> Iterator[Picture]:
        for frame in frames:
            if self._inside:
                yield self._inside.popleft().with_frame(frame)
