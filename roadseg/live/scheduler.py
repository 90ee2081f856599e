"""One network for many sources: the source that has waited longest is served first.

A source's place in the queue is the moment since which it has had a frame to give; newer frames
take the place of older ones without losing it. So every source with a frame is served once before
any is served twice, whatever their rates: nobody starves. Files, whose frames are never dropped,
wait in the same queue: beside busy cameras they get their turn, and without them all the time.

One thread, which alone uses the network. Frames of several sources go together where that is
faster: as one batch (`Batch`), or handed over one after the other to a backend that works beside
the host (`FrameSegmenter.depth`). Nothing waits for a batch to fill.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.types import Frame
from roadseg.live.clock import SYSTEM_CLOCK, Clock
from roadseg.live.mailbox import Bell, Mailbox
from roadseg.live.rates import Ages, Rate
from roadseg.video.inference import FrameSegmenter, ScoringSegmenter, Segmented
from roadseg.video.keeping_up import AdaptiveSegmenter, KeepingUp

if TYPE_CHECKING:
    from roadseg.road.doubt import Scores


@dataclass(frozen=True)
class Batch:
    """How frames of several sources go through the network together.

    Attributes:
        size: at most so many.
        infer: (N, h, w, 3) uint8 BGR to (N, h, w) uint8 class ids; see `Backend.infer`.
    """

    size: int
    infer: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


class Lane(Protocol):
    """One source, as the scheduler sees it."""

    @property
    def mailbox(self) -> Mailbox:
        """Where its frames come from; on the scheduler's bell."""

    @property
    def ready(self) -> bool:
        """Whether what follows can take a result at once. It rings the bell when that changes."""

    def show(self, frame: Frame, label_map: LabelMap, scores: Scores | None = None) -> None:
        """Take a result, with the scores behind its labels where they are kept; must not block."""


class Scheduler:
    """Takes frames from lanes until all their mailboxes are closed and empty.

    Args:
        segmenter: used by the scheduler's thread only, from `start` until `join` returns.
        lanes: their order does not matter.
        bell: of all their mailboxes.
        batch: None sends frames one by one.
        on_error: gets the error that ended the thread.
        rate: frames a second, of all sources together, that the network was chosen for; where it
            stays below that though it is always busy, a faster one takes its place. None or 0:
            the network stays.
        clock: for meters.

    Attributes:
        ended: set when the thread has ended.
        frames: a rate of all frames that were segmented.
        infer_s: seconds in the network for each turn.
    """

    def __init__(
        self,
        segmenter: FrameSegmenter,
        lanes: Sequence[Lane],
        bell: Bell,
        *,
        batch: Batch | None = None,
        on_error: Callable[[BaseException], None] | None = None,
        rate: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.ended = threading.Event()
        self.frames = Rate(clock)
        self.infer_s = Ages(clock)
        self._segmenter = segmenter
        self._lanes = lanes
        self._bell = bell
        self._batch = batch
        self._on_error = on_error
        self._clock = clock
        # Looked up once: a protocol is asked for all of its members each time.
        self._scoring = segmenter if isinstance(segmenter, ScoringSegmenter) else None
        self._keeping_up: KeepingUp | None = None
        if rate and isinstance(segmenter, AdaptiveSegmenter):
            self._keeping_up = KeepingUp(segmenter, rate, clock)
        self._owed: list[Lane] = []  # whose frame is in the network
        self._thread = threading.Thread(target=self._run, name="roadseg-schedule", daemon=True)

    def start(self) -> None:
        """Begin to take frames."""
        self._thread.start()

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._thread.ident is not None

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end, which closing or cancelling all mailboxes brings about."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            ended_s = self._clock()
            while (turn := self._next_turn()) is not None:
                started_s = self._clock()
                idle_s = started_s - ended_s
                self._owed = [lane for lane, _ in turn]
                for lane, each in self._segment(turn):
                    self._owed.remove(lane)
                    self.frames.count()
                    lane.show(each.frame, each.label_map, each.scores)
                ended_s = self._clock()
                self.infer_s.add(ended_s - started_s)
                if self._keeping_up is not None:
                    self._keeping_up.after_frame(frames=len(turn), idle_s=idle_s)
        except BaseException as exc:  # noqa: BLE001  (`LiveRun.run` raises it)
            for lane in self._owed:
                lane.mailbox.tally.drop("stopped")
            for lane in self._lanes:
                lane.mailbox.cancel()
            if self._on_error is not None:
                self._on_error(exc)
        finally:
            self._segmenter.discard()
            self.ended.set()

    def _next_turn(self) -> list[tuple[Lane, Frame]] | None:
        """Wait for frames, at most one a source, to segment next; None at the end."""
        most = self._batch.size if self._batch is not None else max(self._segmenter.depth, 1)
        with self._bell.lock:
            while True:
                turn: list[tuple[Lane, Frame]] = []
                for lane in self._queue():
                    frame = lane.mailbox.take()
                    if frame is not None:
                        turn.append((lane, frame))
                    if len(turn) == most:
                        break
                if turn:
                    return turn
                # What was late is gone; what is closed and empty brings nothing more.
                if all(each.mailbox.finished for each in self._lanes):
                    return None
                if not self._queue():
                    self._bell.rung.wait()

    def _queue(self) -> list[Lane]:
        """Lanes with a frame, the one that has waited longest first."""
        waiting = [
            (since_s, i)
            for i, lane in enumerate(self._lanes)
            if (since_s := lane.mailbox.waiting_since_s) is not None and lane.ready
        ]
        return [self._lanes[i] for _, i in sorted(waiting)]

    def _segment(self, turn: list[tuple[Lane, Frame]]) -> Iterator[tuple[Lane, Segmented]]:
        """The labels of every frame of a turn, in order, each as soon as it is there."""
        todo = list(turn)
        while todo:
            # Frames of one size share a network; another may have to be compiled first.
            size_hw = todo[0][1].size_hw
            group = [each for each in todo if each[1].size_hw == size_hw]
            todo = [each for each in todo if each[1].size_hw != size_hw]
            if self._batch is not None and len(group) > 1:
                yield from self._together(group, self._batch)
            else:
                yield from self._one_by_one(group)

    def _together(
        self, group: list[tuple[Lane, Frame]], batch: Batch
    ) -> Iterator[tuple[Lane, Segmented]]:
        inputs: npt.NDArray[np.uint8] | None = None
        geometries: list[Geometry] = []
        for i, (_, frame) in enumerate(group):
            network_bgr, geometry = self._segmenter.preprocess(frame.image_bgr)
            if inputs is None:
                inputs = np.empty((len(group), *network_bgr.shape), np.uint8)
            inputs[i] = network_bgr
            geometries.append(geometry)
        assert inputs is not None
        outputs = batch.infer(inputs)
        for (lane, frame), ids, geometry in zip(group, outputs, geometries, strict=True):
            yield lane, Segmented(frame, self._segmenter.postprocess(ids, geometry))

    def _one_by_one(self, group: list[tuple[Lane, Frame]]) -> Iterator[tuple[Lane, Segmented]]:
        depth = max(self._segmenter.depth, 1)
        for begin in range(0, len(group), depth):
            part = group[begin : begin + depth]
            geometries: list[Geometry] = []
            for _, frame in part:
                network_bgr, geometry = self._segmenter.preprocess(frame.image_bgr)
                self._segmenter.submit(network_bgr)
                geometries.append(geometry)
            for (lane, frame), geometry in zip(part, geometries, strict=True):
                ids = self._segmenter.collect()
                label_map = self._segmenter.postprocess(ids, geometry)
                scores = None if self._scoring is None else self._scoring.scores
                yield lane, Segmented(frame, label_map, scores)
