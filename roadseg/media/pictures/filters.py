"""A chain of FFmpeg's filters that pictures of one size and format go through."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class FilterGraph:
    """One buffer, filters in a row, one sink.

    Args:
        template: a picture like those to come.
        filters: name and arguments of each, in FFmpeg's terms.
    """

    def __init__(self, template: VideoFrame, *filters: tuple[str, str]) -> None:
        from av.filter import Graph

        self._kind = _kind(template)
        self._graph = Graph()
        nodes = [
            self._graph.add_buffer(
                width=template.width,
                height=template.height,
                format=template.format,
                time_base=template.time_base or Fraction(1, 90_000),
            ),
            *(self._graph.add(name, arguments) for name, arguments in filters),
            self._graph.add("buffersink"),
        ]
        self._graph.link_nodes(*nodes).configure()

    def takes(self, picture: VideoFrame) -> bool:
        """Whether a picture is like the template."""
        return _kind(picture) == self._kind

    def __call__(self, picture: VideoFrame | None) -> list[VideoFrame]:
        """Push a picture, or the end, and take what has come out."""
        import av

        self._graph.vpush(picture)
        out: list[VideoFrame] = []
        while True:
            try:
                out.append(self._graph.vpull())
            except (av.error.BlockingIOError, av.error.EOFError):  # noqa: PERF203
                return out


def _kind(picture: VideoFrame) -> tuple[int, int, str]:
    return picture.width, picture.height, picture.format.name
