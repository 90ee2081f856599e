"""The loop's verbs in the middle: preprocess -> backend.infer -> postprocess, of every frame.

A backend may work on several frames of a file at once (`FrameSegmenter.depth`): while it is busy
with those, the next one is resized and handed over, and only then is the oldest one collected. A
frame never waits for the next one, though: when none is at hand, what is in flight is collected at
once. Live sources have one frame in flight.

With `reuse_labels` the network sees some frames only; see `roadseg.video.reuse`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from roadseg.core.errors import RoadsegError
from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.types import Frame, Image, Labels, Picture
from roadseg.video.channel import Channel, Closed
from roadseg.video.reuse import Between, Grey, Seen, half_grey

if TYPE_CHECKING:
    from roadseg.core.backend import BackendInfo
    from roadseg.core.labels import ClassSet
    from roadseg.core.size import SizeHW
    from roadseg.road.doubt import Scores
    from roadseg.video.meters import Meters


class FrameSegmenter(Protocol):
    """A network as the loop uses it, on one thread; see `roadseg.Segmenter`, which is one."""

    @property
    def network_hw(self) -> tuple[int, int] | None:
        """Height and width of the network's latest input; None before the first frame."""

    @property
    def backend_info(self) -> BackendInfo | None:
        """What runs and where; None before the first frame."""

    @property
    def classes(self) -> ClassSet:
        """What it tells apart."""

    @property
    def depth(self) -> int:
        """How many frames may be submitted and not yet collected."""

    def prepare(self, source_hw: SizeHW) -> None:
        """Compile the network for frames of this size now, rather than at the first frame."""

    def preprocess(self, picture: Picture) -> tuple[Image, Geometry]:
        """A frame's picture to the network's input, and the way back."""

    def submit(self, network_bgr: Image) -> None:
        """Start on an input."""

    def collect(self) -> Labels:
        """Wait for the oldest input that was submitted: its (h, w) class ids."""

    def postprocess(self, network_ids: Labels, geometry: Geometry) -> LabelMap:
        """The labels with their way back to the frame."""

    def discard(self) -> None:
        """Forget what was submitted."""


@runtime_checkable
class ScoringSegmenter(FrameSegmenter, Protocol):
    """One that may keep the scores behind its labels."""

    @property
    def scores(self) -> Scores | None:
        """(classes, h, w) float32 of the frame that was collected last; None where they are not
        kept. The caller's own."""
        ...


@dataclass(frozen=True, slots=True)
class Segmented:
    """A frame with its labels.

    Attributes:
        scores: behind the labels; None where they are not kept.
    """

    frame: Frame
    label_map: LabelMap
    scores: Scores | None = None


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
) -> Iterator[Segmented]:
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

    def collected(left: int) -> Iterator[Segmented]:
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


def reuse_labels(
    segmenter: FrameSegmenter,
    frames: Channel[Frame],
    meters: Meters,
    *,
    every: int,
    keep_error: Callable[[BaseException], None],
) -> Iterator[Segmented]:
    """Segment the first frame, the last, and every so many between; carry labels to the others.

    Frames come in order, those between two that the network sees after the second of them.

    Args:
        segmenter: used by the thread that iterates.
        frames: the frames of a source that waits for us.
        meters: get times as from `segment_frames`; carrying counts as `postprocess`.
        every: 2 for every other frame.
        keep_error: told of an error before the frames that wait are given.

    Raises:
        BackendError: the backend failed; the frames before that one have been given.
    """
    carrier = _Carrier(meters)
    in_flight = deque[_Stretch]()
    waiting: list[tuple[Frame, Grey]] = []

    def collected(left: int) -> Iterator[Segmented]:
        """The oldest stretches in flight, until only `left` of them are."""
        while len(in_flight) > left:
            stretch = in_flight.popleft()
            try:
                segmented = _collect(stretch.last, segmenter, meters)
            except RoadsegError as exc:
                keep_error(exc)
                yield from carrier.from_before(stretch.between)
                raise
            yield from carrier.to(segmented, stretch)

    def without_the_next() -> Iterator[Segmented]:
        """All frames so far, where none follows that labels could be carried back from."""
        yield from collected(left=0)
        between = waiting.copy()
        waiting.clear()
        yield from carrier.from_before(between)

    def seen(frame: Frame) -> Iterator[Segmented]:
        try:
            last = _submit(frame, segmenter, meters)
        except RoadsegError as exc:
            keep_error(exc)  # now, before collecting can fail as well
            yield from without_the_next()
            raise
        with meters.postprocess:
            grey = half_grey(frame.picture, _network_hw(segmenter))
        in_flight.append(_Stretch(waiting.copy(), last, grey))
        waiting.clear()
        yield from collected(left=segmenter.depth - 1)

    size_hw: SizeHW | None = None
    while (frame := _next(frames, wait=not in_flight)) is not None or in_flight:
        if frame is None:
            yield from collected(left=len(in_flight) - 1)
        elif frame.size_hw != size_hw:
            size_hw = frame.size_hw
            yield from without_the_next()
            yield from seen(frame)
        elif len(waiting) == every - 1:
            yield from seen(frame)
        else:
            with meters.postprocess:
                waiting.append((frame, half_grey(frame.picture, _network_hw(segmenter))))
    if waiting:
        yield from seen(waiting.pop()[0])
        yield from collected(left=0)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A frame that the backend works on, and those before it that get labels from it."""

    between: list[tuple[Frame, Grey]]
    last: _InFlight
    grey: Grey


class _Carrier:
    """Gives frames the labels of those around them that the network saw."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._between = Between()
        self._before: Seen | None = None

    def to(self, segmented: Segmented, stretch: _Stretch) -> Iterator[Segmented]:
        """The frames of a stretch, whose last one has been segmented."""
        ids = segmented.label_map.network_ids
        after = Seen(stretch.grey, ids)
        yield from self._carried(stretch.between, after)
        self._before = after
        yield segmented

    def from_before(self, frames: list[tuple[Frame, Grey]]) -> Iterator[Segmented]:
        """Frames that none follows."""
        yield from self._carried(frames, None)

    def _carried(self, frames: list[tuple[Frame, Grey]], after: Seen | None) -> Iterator[Segmented]:
        before = self._before
        for frame, grey in frames:
            assert before is not None
            if after is not None and after.ids.shape != before.ids.shape:
                after = None  # a smaller network from here on
            geometry = Geometry(frame.size_hw, before.ids.shape)
            with self._meters.postprocess:
                label_map = LabelMap(self._between.labels(grey, before, after), geometry)
            yield Segmented(frame, label_map)


def _network_hw(segmenter: FrameSegmenter) -> SizeHW:
    assert segmenter.network_hw is not None, "a frame has been submitted"
    return segmenter.network_hw


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


def _collect(oldest: _InFlight, segmenter: FrameSegmenter, meters: Meters) -> Segmented:
    started_s = meters.clock()
    network_ids = segmenter.collect()
    # What the frame costs this thread; the time between the two calls belongs to others.
    meters.infer.times_ms.add(oldest.submit_ms + (meters.clock() - started_s) * 1e3)
    with meters.postprocess:
        label_map = segmenter.postprocess(network_ids, oldest.geometry)
    scores = segmenter.scores if isinstance(segmenter, ScoringSegmenter) else None
    return Segmented(oldest.frame, label_map, scores)
