"""The network on frames: what `roadseg run` uses, for your own programs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from roadseg.core.backend import PipelinedBackend, ScoringBackend
from roadseg.core.closing import Closing
from roadseg.core.errors import BackendError, UsageError
from roadseg.core.geometry import Geometry, LabelMap, postprocess, preprocess
from roadseg.core.planes import Planes
from roadseg.core.scores import best_of_each
from roadseg.core.types import Image, Labels, Picture, size_of
from roadseg.core.wording import option
from roadseg.loading.arguments import (
    check_batch,
    check_frame,
    check_input_batch,
    model_text,
    size_pair,
    whole_number,
)
from roadseg.loading.auto import choose_below, choose_for
from roadseg.loading.choice import choose

if TYPE_CHECKING:
    from fractions import Fraction

    from roadseg.backends.openvino.reading import ReadAhead
    from roadseg.core.backend import Backend, BackendInfo
    from roadseg.core.progress import ShowProgress
    from roadseg.loading.choice import Choice


_ADVICE = "give each thread one of its own, or let them take turns with a lock"


class Segmenter(Closing):
    """Labels the pixels of road scenes: with the 11 CamVid classes, or those of your own model.

    >>> import cv2
    >>> from roadseg import Segmenter
    >>> from roadseg.core.labels import class_id
    >>> with Segmenter() as segmenter:
    ...     label_map = segmenter(cv2.imread("street.jpg"))
    >>> label_map.ids                                 # (H, W) uint8, the size of the picture
    >>> (label_map.ids == class_id("road")).mean()    # share of the picture that is road

    Frames may have any size, and may change size: the network's input follows the aspect ratio
    of the frame, and networks compiled for earlier sizes are kept. An instance is for one thread
    at a time, and says so when a second one comes; threads of your own need one each.

    Args:
        model: a name from `roadseg.weights`, or a path to `.xml`, `.onnx`, `.safetensors` or
            `.engine`; or `auto`: the network and input that keep up, chosen at the first frame, see
            `fit`.
        backend: `auto` (see `roadseg.loading.choice.choose_backend`), `tensorrt`, `openvino`,
            `torch` or `fake`.
        size_hw: height and width of the network's input; default: the only one that the file takes,
            or chosen for each frame size.
        threads: CPU threads of the backend; default: the backend's choice.
        keep: compiled networks to keep, one for each input size; each costs tens of megabytes. A
            stream that switches between portrait and landscape needs two.
        scores: keep the scores behind the labels as well; costs time, and PyTorch runs in FP32.
        progress: shows how far the building of an engine is: a GPU's first one takes minutes. What
            takes long, and why, is logged.

    Attributes:
        choice: the model and what runs it.
        size_hw: as given, or the only size that an engine or a file takes.
        classes: what the model tells apart, a `roadseg.core.labels.ClassSet`.
        backend_info: what runs; None before the first frame.
        network_hw: input size of the network in use; None before the first frame.
        scores: (classes, h, w) float32, before softmax, of the frame whose labels came last, of a
            batch its last one; None where they are not kept.

    Raises:
        TypeError: an argument is of another kind.
        UsageError: unknown model or backend, a size the network cannot take, `threads` or `keep`
            below 1, or scores of TensorRT, which gives none.
        ModelError: the model file is damaged or has the wrong checksum.
        EngineError: the model is an engine without a usable manifest.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "segnet-lite",
        backend: str = "auto",
        *,
        size_hw: tuple[int, int] | None = None,
        threads: int | None = None,
        keep: int = 3,
        scores: bool = False,
        progress: ShowProgress | None = None,
    ) -> None:
        model = model_text(model)
        if size_hw is not None:
            size_hw = size_pair(size_hw)
        choice = choose(model, backend, size_hw=size_hw, threads=threads)
        self._begin(choice, keep, scores, progress)

    @classmethod
    def of(
        cls,
        choice: Choice,
        *,
        keep: int = 3,
        scores: bool = False,
        progress: ShowProgress | None = None,
    ) -> Segmenter:
        """One for what is decided already, as by another process; nothing is looked up again.

        Args:
            choice: of `roadseg.loading.choice.choose`.
            keep, scores, progress: see `Segmenter`.

        Raises:
            TypeError: `keep` is no whole number.
            UsageError: `keep` is below 1, or scores of TensorRT, which gives none.
        """
        segmenter = cls.__new__(cls)
        segmenter._begin(choice, keep, scores, progress)
        return segmenter

    def _begin(
        self, choice: Choice, keep: int, scores: bool, progress: ShowProgress | None
    ) -> None:
        if whole_number("keep", keep) < 1:
            raise UsageError(f"cannot keep {keep} compiled networks", fix="use keep=1 or more")
        self.choice = choice
        self.size_hw = self.choice.size_hw
        self.classes = self.choice.classes
        if scores and self.choice.backend == "tensorrt":
            raise UsageError(
                "TensorRT's engines give labels alone, and doubt needs scores",
                fix=f"use {option('--backend', 'openvino', 'torch')}",
            )
        self.scores: npt.NDArray[np.float32] | None = None
        self._wants_scores = scores
        self._progress = progress
        self._keep = keep
        self._ahead: ReadAhead | None = None
        self.backend_info: BackendInfo | None = None
        self.network_hw: tuple[int, int] | None = None
        # By model, which `auto` may change, size, and whether throughput counts.
        self._backends: OrderedDict[tuple[str, tuple[int, int], bool], Backend] = OrderedDict()
        self._pipelined: PipelinedBackend | None = None
        # A backend: it owes the result. Labels: they are the result.
        self._in_flight: deque[PipelinedBackend | Labels] = deque()
        self._submitter: int | None = None
        self._one_at_a_time = _OneAtATime()
        self._own = _Buffers()
        self._batch: Image | None = None

    def __call__(self, frame_bgr: Image) -> LabelMap:
        """Segment one picture.

        Args:
            frame_bgr: (H, W, 3) uint8 BGR, as `cv2.imread` returns it.

        Returns:
            The labels; `.ids` is (H, W) uint8 at the size of the picture.

        Raises:
            TypeError: no array.
            ValueError: not (H, W, 3) uint8; grey and BGRA pictures name their conversion.
            RuntimeError: another thread uses this instance right now.
            BackendError: the runtime is missing or failed.
        """
        with self._one_at_a_time:
            network_bgr, geometry = self.preprocess(frame_bgr)
            network_ids = self.infer(network_bgr)
        return self.postprocess(network_ids, geometry)

    def fit(
        self,
        source_hw: tuple[int, int],
        rate: Fraction | float | None,
        *,
        waits: bool = False,
        every: int | None = 1,
        planar: bool = False,
    ) -> int:
        """Choose how the network runs for a source; where `model` is `auto`, which one, too.

        Without it the network is chosen at the first frame, for a source that does not say its
        rate, and runs so that each frame takes as little time as can be.

        Args:
            source_hw: size of the frames.
            rate: frames a second; None: not known; 0: they need not be kept up with.
            waits: the source waits for its frames to be taken, as a file does. Frames a second
                count then: `depth` of them may be in flight, see `submit`.
            every: the network is to see every so many frames; None: all, or every second one where
                `model` is `auto` and that is the better choice.
            planar: pictures stay as `Planes` from the decoder to the encoder, which takes less time
                beside the network.

        Returns:
            The network is to see every so many frames.

        Raises:
            RuntimeError: another thread uses this instance right now.
            BackendError, EngineError, ModelError: a network cannot be opened, or fails.
        """
        with self._one_at_a_time:
            choice = replace(self.choice, throughput=waits)
            self.choice = choose_for(
                choice, source_hw, rate, every=every, planar=planar, scores=self._wants_scores
            )
            if every is None:
                every = 1 if self.choice.pick is None else self.choice.pick.pace.every
            return every

    def step_down(self) -> str | None:
        """Go on with the next faster network or input, where `model` is `auto`.

        Frames in flight are waited for; `collect` gives their labels as before.

        Returns:
            What runs from the next frame on, for people; None: nothing has changed, since there is
            none.

        Raises:
            RuntimeError: another thread uses this instance right now.
            BackendError: the runtime failed; frames in flight are lost.
        """
        with self._one_at_a_time:
            below = choose_below(self.choice)
            if below is None or below.pick is None:
                return None
            in_flight = len(self._in_flight)
            self._in_flight.extend([self.collect() for _ in range(in_flight)])
            self.choice = below
            height, width = below.network_hw(below.pick.pace.source_hw)
            return f"{below.model} at {height}x{width}"

    def how_chosen(self) -> dict[str, object] | None:
        """How network and input were chosen where `model` is `auto`, as plain values; else None."""
        pick = self.choice.pick
        return None if pick is None else pick.to_json()

    def read_ahead(self) -> None:
        """Begin to read the network's file, in a thread, where OpenVINO runs it.

        For programs that have something else to do before the first frame. What is wrong with the
        file is raised where the network is compiled.

        Raises:
            RuntimeError: another thread uses this instance right now.
        """
        with self._one_at_a_time:
            if self._ahead is None and not self._backends:
                self._ahead = self.choice.read_ahead()

    def prepare(self, source_hw: tuple[int, int]) -> None:
        """Compile the network for frames of this size now, rather than at the first frame.

        Raises:
            ModelError: the model file cannot be used.
            RuntimeError: another thread uses this instance right now.
            BackendError: the runtime is missing or failed.
        """
        with self._one_at_a_time:
            self._backend(self._network_hw(source_hw))

    def preprocess(self, picture: Picture) -> tuple[Image, Geometry]:
        """The network's input, (h, w, 3) uint8 BGR, and the way back.

        The array may be overwritten by this thread's next call.

        Args:
            picture: (H, W, 3) uint8 BGR, or planes.

        Raises:
            TypeError, ValueError: see `__call__`.
        """
        if not isinstance(picture, Planes):
            check_frame(picture)
        network_hw = self._network_hw(size_of(picture))
        if size_of(picture) == network_hw:
            return preprocess(picture, network_hw)
        out = self._own.resized
        if out is None or out.shape[:2] != network_hw:
            out = self._own.resized = np.empty((*network_hw, 3), np.uint8)
        return preprocess(picture, network_hw, out=out)

    def infer(self, network_bgr: Image) -> Labels:
        """(h, w, 3) uint8 BGR at the network's size to (h, w) uint8 class ids.

        Raises:
            TypeError, ValueError, RuntimeError: see `__call__`.
            BackendError: the runtime is missing or failed.
        """
        check_frame(network_bgr)
        with self._one_at_a_time:
            ids: Labels = self._labels(network_bgr[np.newaxis])[0]
        return ids

    def infer_batch(self, batch_bgr: Image) -> Labels:
        """(N, h, w, 3) uint8 BGR at the network's size to (N, h, w) uint8 class ids.

        Raises:
            TypeError: no array.
            ValueError: the batch has another shape or dtype.
            RuntimeError: another thread uses this instance, or frames are in flight.
            BackendError: the runtime is missing or failed.
        """
        check_input_batch(batch_bgr)
        with self._one_at_a_time:
            return self._labels(batch_bgr)

    def _labels(self, batch_bgr: Image) -> Labels:
        """(N, h, w) class ids of (N, h, w, 3) inputs; the last one's scores, where they count."""
        count, *network_hw, _ = batch_bgr.shape
        if not count:
            return np.empty((0, *network_hw), np.uint8)
        backend = self._backend((network_hw[0], network_hw[1]))
        if not (self._wants_scores and isinstance(backend, ScoringBackend)):
            return backend.infer(batch_bgr)
        scores = backend.infer_scores(batch_bgr)
        # Not a view, which would keep the scores of all.
        self.scores = scores[0] if count == 1 else scores[-1].copy()
        return best_of_each(scores)

    @property
    def depth(self) -> int:
        """How many frames may be in flight at once; 1 where the backend is not pipelined."""
        return 1 if self._pipelined is None else self._pipelined.depth

    def submit(self, network_bgr: Image) -> None:
        """Start on a frame: `infer` in two halves, for several frames at once.

        `collect` returns the labels in the order of submission.

        Args:
            network_bgr: see `infer`; may be overwritten once this returns.

        Raises:
            TypeError, ValueError: see `__call__`.
            RuntimeError: `depth` frames are in flight already, or frames of another size or thread
                are, or another thread uses this instance right now.
            BackendError: the runtime is missing or failed. The frame is not in flight.
        """
        check_frame(network_bgr)
        with self._one_at_a_time:
            self._submit(network_bgr)

    def _submit(self, network_bgr: Image) -> None:
        network_hw = (network_bgr.shape[0], network_bgr.shape[1])
        if self._in_flight and self._submitter != threading.get_ident():
            # It would collect the labels of the other one's frames.
            raise RuntimeError(f"frames of another thread are in flight: {_ADVICE}")
        working = any(not isinstance(each, np.ndarray) for each in self._in_flight)
        if self._in_flight and (
            len(self._in_flight) >= self.depth or (working and network_hw != self.network_hw)
        ):
            raise RuntimeError(f"{len(self._in_flight)} frames are in flight: collect them first")
        self._backend(network_hw)
        if self._pipelined is None:
            self._in_flight.append(self.infer(network_bgr))
        else:
            self._pipelined.submit(network_bgr[np.newaxis])
            self._in_flight.append(self._pipelined)
        self._submitter = threading.get_ident()

    def collect(self) -> Labels:
        """(h, w) uint8 class ids of the oldest frame in flight; waits for them.

        Raises:
            RuntimeError: nothing is in flight, or another thread uses this instance right now.
            BackendError: the runtime failed. The frame is lost, and no longer in flight.
        """
        with self._one_at_a_time:
            if not self._in_flight:
                raise RuntimeError("no frame is in flight: submit one first")
            oldest = self._in_flight.popleft()
            if isinstance(oldest, np.ndarray):
                return oldest
            ids: Labels = oldest.collect()[0]
            return ids

    def discard(self) -> None:
        """Wait for the frames in flight and throw their labels away, and their errors."""
        with self._one_at_a_time:
            while self._in_flight:
                with contextlib.suppress(BackendError):
                    self.collect()

    def segment_batch(self, frames_bgr: Sequence[Image]) -> list[LabelMap]:
        """Segment several pictures in one call of the backend, as from several cameras.

        Worth its while on a GPU; on a CPU it takes as long as one picture after the other.

        Args:
            frames_bgr: (H, W, 3) uint8 BGR each. Their sizes may differ if the network's input is
                the same for all: that of frames with one aspect ratio is, and so is `size_hw`.

        Returns:
            The labels of each picture, in order.

        Raises:
            TypeError, RuntimeError: see `__call__`.
            ValueError: see `__call__`; or the pictures need networks of different sizes.
            BackendError: the runtime is missing or failed.
        """
        check_batch(frames_bgr)
        with self._one_at_a_time:
            return self._segment_batch(frames_bgr) if len(frames_bgr) else []

    def _segment_batch(self, frames_bgr: Sequence[Image]) -> list[LabelMap]:
        sizes_hw = [self._network_hw((f.shape[0], f.shape[1])) for f in frames_bgr]
        for position, size_hw in enumerate(sizes_hw):
            if size_hw != sizes_hw[0]:
                raise ValueError(
                    f"frame 0 needs a {sizes_hw[0][0]}x{sizes_hw[0][1]} network and frame "
                    f"{position} a {size_hw[0]}x{size_hw[1]} one: give Segmenter a size_hw for all"
                )
        shape = (len(frames_bgr), *sizes_hw[0], 3)
        if self._batch is None or self._batch.shape != shape:
            self._batch = np.empty(shape, np.uint8)
        geometries = [
            preprocess(frame_bgr, sizes_hw[0], out=out)[1]
            for frame_bgr, out in zip(frames_bgr, self._batch, strict=True)
        ]
        batch_ids = self._labels(self._batch)
        return [postprocess(ids, geo) for ids, geo in zip(batch_ids, geometries, strict=True)]

    def postprocess(self, network_ids: Labels, geometry: Geometry) -> LabelMap:
        """Network labels with the way back to the frame."""
        return postprocess(network_ids, geometry)

    def close(self) -> None:
        """Give all compiled networks back; a second call does nothing.

        Raises:
            RuntimeError: another thread uses this instance right now.
        """
        with self._one_at_a_time:
            self._in_flight.clear()
            self._pipelined = None
            if self._ahead is not None:
                self._ahead.wait()
                self._ahead = None
            with contextlib.ExitStack() as stack:  # one that fails leaves none of the others open
                while self._backends:
                    stack.callback(self._backends.popitem()[1].close)

    def _network_hw(self, source_hw: tuple[int, int]) -> tuple[int, int]:
        if self.choice.auto:
            self.fit(source_hw, None)
        return self.choice.network_hw(source_hw)

    def _backend(self, network_hw: tuple[int, int]) -> Backend:
        key = (self.choice.model, network_hw, self.choice.throughput)
        backend = self._backends.get(key)
        is_new = backend is None
        if backend is None:
            if len(self._backends) >= self._keep:
                self._backends.popitem(last=False)[1].close()
            ahead, self._ahead = self._ahead, None
            backend = self.choice.open(
                network_hw, scores=self._wants_scores, progress=self._progress, ahead=ahead
            )
            self._backends[key] = backend
        if is_new or key != next(reversed(self._backends)):
            self._backends.move_to_end(key)
            self.network_hw = network_hw
            self.backend_info = backend.info
            is_pipelined = isinstance(backend, PipelinedBackend) and not self._wants_scores
            self._pipelined = cast("PipelinedBackend", backend) if is_pipelined else None
        return backend


class _OneAtATime:
    """Refuses a second thread instead of making it wait: nobody notices a wait that doubles the
    latency of every frame, and without either, labels would be those of another frame."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        # The thread that has it may take it again: one method calls another.
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(f"this Segmenter is in use by another thread: {_ADVICE}")

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


class _Buffers(threading.local):
    """Of each thread its own, so that none overwrites what another one is about to infer."""

    resized: Image | None = None
