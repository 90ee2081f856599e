"""OpenVINO with several frames in flight: more frames a second, each of them later.

One frame on two threads keeps neither of them busy all the time: they wait for each other at every
layer. Two frames on a thread each do not, and share nothing. So the threads are divided into
streams, and one frame more than there are streams is in flight: a stream that is done goes on with
it while the caller takes the labels of the one before and makes the next one ready.

    stream 0   frame 0 ........ frame 2 ........ frame 4 ...
    stream 1        frame 1 ........ frame 3 ........ frame 5 ...
    caller     0 1 2            take 0, 3   take 1, 4   take 2, 5
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.backends.openvino.backend import OpenVinoBackend, closed
from roadseg.core.backend import check_batch
from roadseg.core.errors import BackendError
from roadseg.core.openvino import inference_failure

STREAMS = 2
"""Into so many the threads are divided; docs/speed.md has the figures."""


@dataclass(eq=False)
class _Batch:
    """What `submit` was given: the labels so far, and how many frames of it are in flight."""

    labels: npt.NDArray[np.uint8]
    frames: int = 0
    error: BackendError | None = None


@dataclass(frozen=True)
class _InFlight:
    """A frame that OpenVINO works on, and where its labels go."""

    request: Any
    batch: _Batch
    labels: npt.NDArray[np.uint8]


class OpenVinoPipelinedBackend(OpenVinoBackend):
    """The same network and the same labels, as a `PipelinedBackend`.

    For at least `STREAMS` threads. Arguments and errors are those of `OpenVinoBackend`. Nothing is
    allocated for a frame but the array of labels that the caller keeps.
    """

    depth = STREAMS + 1

    def _options(self, threads: int | None) -> dict[str, Any]:
        return {
            **super()._options(threads),
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": STREAMS,
        }

    def _open_requests(self) -> None:
        super()._open_requests()
        more = [self._compiled.create_infer_request() for _ in range(self.depth - 1)]
        self._requests = [self._request, *more]
        # Frames are copied into memory that OpenVINO has already.
        self._inputs = [request.get_input_tensor().data for request in self._requests]
        self._started = 0
        self._in_flight: deque[_InFlight] = deque()
        self._batches: deque[_Batch] = deque()

    def _device(self, threads: str) -> str:
        return f"{super()._device(threads)[:-1]}, {STREAMS} frames at once)"

    def submit(self, batch_bgr: npt.NDArray[np.uint8]) -> None:
        """See `PipelinedBackend.submit`."""
        check_batch(batch_bgr, self.network_hw)
        self._check_open()
        if len(self._batches) >= self.depth:
            raise RuntimeError(f"{len(self._batches)} batches are in flight: collect one first")
        batch = _Batch(np.empty((len(batch_bgr), *self.network_hw), np.uint8))
        for frame, labels in zip(batch_bgr, batch.labels, strict=True):
            if len(self._in_flight) == len(self._requests):
                self._finish_oldest()
            # Frames begin and end in the same order, so the request whose turn it is is free.
            position = self._started % len(self._requests)
            request = self._requests[position]
            np.copyto(self._inputs[position][0], frame)
            try:
                request.start_async()
            except RuntimeError as exc:
                while batch.frames:
                    self._finish_oldest()
                raise inference_failure(exc) from exc
            self._started += 1
            batch.frames += 1
            self._in_flight.append(_InFlight(request, batch, labels))
        self._batches.append(batch)

    def collect(self) -> npt.NDArray[np.uint8]:
        """See `PipelinedBackend.collect`."""
        self._check_open()
        if not self._batches:
            raise RuntimeError("no batch is in flight: submit one first")
        batch = self._batches.popleft()
        while batch.frames:
            self._finish_oldest()
        if batch.error is not None:
            raise batch.error
        return batch.labels

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `Backend.infer`.

        Raises:
            ValueError: the batch has another shape or dtype.
            RuntimeError: batches are in flight: collect them first.
            BackendError: OpenVINO failed, or the backend is closed.
        """
        if self._batches:
            raise RuntimeError(f"{len(self._batches)} batches are in flight: collect them first")
        self.submit(batch_bgr)
        return self.collect()

    def close(self) -> None:
        """Wait for what is in flight and give everything back; a second call does nothing."""
        for frame in self._in_flight:
            with contextlib.suppress(RuntimeError):  # nobody asks for its labels any more
                frame.request.wait()
        self._in_flight.clear()
        self._batches.clear()
        self._inputs.clear()
        self._requests.clear()
        super().close()

    def _finish_oldest(self) -> None:
        oldest = self._in_flight.popleft()
        batch = oldest.batch
        batch.frames -= 1
        try:
            oldest.request.wait()
        except RuntimeError as exc:
            # It belongs to the batch, which may not be the one that the caller asks for now.
            batch.error = batch.error or inference_failure(exc)
            batch.error.__cause__ = exc
            return
        np.copyto(oldest.labels, oldest.request.get_output_tensor().data[0])

    def _check_open(self) -> None:
        if self._request is None:
            raise closed()
