"""The loop's verbs in the middle: preprocess -> backend.infer -> postprocess, of every frame.

A backend on a GPU works beside the thread that feeds it. While it is busy with one frame, the next
one of a file is resized and handed over, and only then is the first one collected. A frame never
waits for the next one, though: when none is at hand, what is in flight is collected at once. Live
sources, and backends on the CPU, have one frame in flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from roadseg.core.errors import RoadsegError
from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.types import Frame, Image, Labels, Picture
from roadseg.video.channel import Channel, Closed

if TYPE_CHECKING:
    from roadseg.core.backend import BackendInfo
    from roadseg.core.labels import ClassSet
    from roadseg.core.size import SizeHW
    from roadseg.video.meters import Meters

__all__ = ["FrameSegmenter", "segment_frames"]


class FrameSegmenter(Protocol):
    """A network as the loop uses it, on one thread; see `roadseg.Segmenter`, which is one."""

    @property
    def network_hw(self) -> tuple[int, int] | None:
        """Height and width of the network's latest input; None before the first frame."""
        ...

    @property
    def backend_info(self) -> BackendInfo | None:
        """What runs and where; None before the first frame."""
        ...

    @property
    def classes(self) -> ClassSet:
        """What it tells apart."""
        ...

    @property
    def depth(self) -> int:
        """How many frames may be submitted and not yet collected."""
        ...

    def prepare(self, source_hw: SizeHW) -> None:
        """Compile the network for frames of this size now, rather than at the first frame."""
        ...

    def preprocess(self, picture: Picture) -> tuple[Image, Geometry]:
        """A frame's picture to the network's input, and the way back."""
        ...

    def submit(self, network_bgr: Image) -> None:
        """Start on an input."""
        ...

    def collect(self) -> Labels:
        """Wait for the oldest input that was submitted: its (h, w) class ids."""
        ...

    def postprocess(self, network_ids: Labels, geometry: Geometry) -> LabelMap:
        """The labels with their way back to the frame."""
        ...

    def discard(self) -> None:
        """Forget what was submitted."""
        ...


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A frame that the backend works on."""

    frame: Frame
    geometry: Geometry
    submit_ms: float


def segment_frames(
    segmenter: FrameSegmenter,
    frames: Channel[Frame],
    meters: Meters,
    *,
    live: bool,
    keep_error: Callable[[BaseException], None],
) -> Iterator[tuple[Frame, LabelMap]]:
    """Segment every frame that `frames` gives until it is closed, in order.

    Args:
        segmenter: used by the thread that iterates.
        frames: the frames.
        meters: get a time of `preprocess`, `infer` and `postprocess` for each frame.
        live: the newest frame is wanted soon, rather than all of them fast.
        keep_error: told of an error before the frames in flight are waited for.

    Raises:
        BackendError: the backend failed; the frames before that one have been given.
    """
    in_flight = deque[_InFlight]()

    def collected(left: int) -> Iterator[tuple[Frame, LabelMap]]:
        """The oldest frames in flight, until only `left` of them are."""
        while len(in_flight) > left:
            yield _collect(in_flight.popleft(), segmenter, meters)

    while (frame := _next(frames, wait=not in_flight)) is not None or in_flight:
        if frame is None:
            yield from collected(left=len(in_flight) - 1)
            continue
        if in_flight and frame.size_hw != in_flight[-1].frame.size_hw:
            # Another network may have to be compiled: let nobody wait for that.
            yield from collected(left=0)
        try:
            in_flight.append(_submit(frame, segmenter, meters))
        except RoadsegError as exc:
            keep_error(exc)  # now, before collecting can fail as well
            yield from collected(left=0)
            raise
        depth = 1 if live else segmenter.depth
        yield from collected(left=depth - 1)


def _next(frames: Channel[Frame], *, wait: bool) -> Frame | None:
    """The next frame; None at the end, or if it is not there yet and `wait` is false."""
    try:
        return frames.get(None if wait else 0.0)
    except (Closed, TimeoutError):
        return None


def _submit(frame: Frame, segmenter: FrameSegmenter, meters: Meters) -> _InFlight:
    with meters.preprocess:
        network_bgr, geometry = segmenter.preprocess(frame.picture)
    started_s = meters.clock()
    segmenter.submit(network_bgr)
    return _InFlight(frame, geometry, (meters.clock() - started_s) * 1e3)


def _collect(
    oldest: _InFlight, segmenter: FrameSegmenter, meters: Meters
) -> tuple[Frame, LabelMap]:
    started_s = meters.clock()
    network_ids = segmenter.collect()
    # What the frame costs this thread; the time between the two calls belongs to others.
    meters.infer.times_ms.add(oldest.submit_ms + (meters.clock() - started_s) * 1e3)
    with meters.postprocess:
        label_map = segmenter.postprocess(network_ids, oldest.geometry)
    return oldest.frame, label_map
