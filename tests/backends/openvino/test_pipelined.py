"""Several frames in flight: the same labels in the same order, also where a request fails.

What every pipelined backend promises is in `tests/backends/test_contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.backends.openvino.pipelined import STREAMS, OpenVinoPipelinedBackend
from roadseg.core.errors import BackendError
from roadseg.weights import resolve_model

SIZE_HW = (64, 96)


def frames(count: int, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, *size_hw, 3), dtype=np.uint8)


@pytest.fixture
def backend(xml_file: Path) -> Iterator[OpenVinoPipelinedBackend]:
    running = OpenVinoPipelinedBackend(xml_file, SIZE_HW, name="lite", precision="fp32", threads=2)
    yield running
    running.close()


class Request:
    """An inference request that fails in one call as OpenVINO does."""

    def __init__(self, real: Any, fails_in: str) -> None:
        self._real = real
        self._fails_in = fails_in

    def __getattr__(self, name: str) -> Any:
        if name == self._fails_in:
            return self._fail
        return getattr(self._real, name)

    def _fail(self) -> None:
        if self._fails_in == "wait":
            self._real.wait()
        raise RuntimeError("Exception from infer_request.cpp:223:\nno memory\n")


@pytest.fixture
def breaks(backend: OpenVinoPipelinedBackend) -> Callable[[int, str], None]:
    """Makes every so-manieth frame fail in `start_async` or in `wait`."""

    def make(position: int, fails_in: str) -> None:
        backend._requests[position] = Request(backend._requests[position], fails_in)

    return make


@pytest.mark.parametrize("model", ["lite", "segnet-lite"])
def test_labels_are_those_of_one_frame_at_a_time(model: str, xml_file: Path) -> None:
    """The shipped network, in INT8, as well as one in FP32."""
    path = xml_file if model == "lite" else resolve_model(model, "openvino").path
    size_hw = SIZE_HW if model == "lite" else (96, 160)
    options: dict[str, Any] = {"name": model, "precision": "int8", "threads": 2}
    alone = OpenVinoBackend(path, size_hw, **options)
    together = OpenVinoPipelinedBackend(path, size_hw, **options)
    batch = frames(7, size_hw)
    collected = []
    for number, frame in enumerate(batch):
        if number >= together.depth:
            collected.append(together.collect()[0])
        together.submit(frame[np.newaxis])
    collected += [together.collect()[0] for _ in range(together.depth)]
    np.testing.assert_array_equal(np.stack(collected), alone.infer(batch))
    together.close()


def test_threads_are_divided_and_reported(backend: OpenVinoPipelinedBackend) -> None:
    assert backend._compiled.get_property("NUM_STREAMS") == STREAMS
    assert backend._compiled.get_property("INFERENCE_NUM_THREADS") == 2
    assert backend.info.device == "CPU (2 threads, 2 frames at once)"


def test_memory_does_not_grow_with_the_frames(backend: OpenVinoPipelinedBackend) -> None:
    """Requests and their memory are made once; as many frames are in flight as there are."""
    requests, inputs = list(backend._requests), list(backend._inputs)
    for frame in frames(20):
        if len(backend._batches) == backend.depth:
            backend.collect()
        backend.submit(frame[np.newaxis])
        assert len(backend._in_flight) <= len(requests) == backend.depth
    assert backend._requests == requests
    assert all(now is before for now, before in zip(backend._inputs, inputs, strict=True))


def test_a_frame_that_fails_is_lost_and_no_other(
    backend: OpenVinoPipelinedBackend, breaks: Callable[[int, str], None]
) -> None:
    batch = frames(3)
    expected = backend.infer(batch)
    breaks(1, "wait")
    for frame in batch:
        backend.submit(frame[np.newaxis])
    np.testing.assert_array_equal(backend.collect(), expected[:1])
    with pytest.raises(BackendError) as caught:
        backend.collect()
    assert str(caught.value) == (
        "OpenVINO failed while inferring (no memory): see 'roadseg doctor', or use another backend"
    )
    assert isinstance(caught.value.__cause__, RuntimeError)
    np.testing.assert_array_equal(backend.collect(), expected[2:])


def test_a_frame_that_cannot_be_started_leaves_those_before_it_in_flight(
    backend: OpenVinoPipelinedBackend, breaks: Callable[[int, str], None]
) -> None:
    batch = frames(1)
    expected = backend.infer(batch)  # with request 0
    breaks(2, "start_async")
    backend.submit(batch)
    for frames_of_it in (1, 2):
        with pytest.raises(BackendError, match=r"^OpenVINO failed while inferring \(no memory\)"):
            backend.submit(frames(frames_of_it))
    np.testing.assert_array_equal(backend.collect(), expected)
    with pytest.raises(RuntimeError, match="^no batch is in flight"):
        backend.collect()


def test_an_error_in_a_part_of_a_batch_is_that_of_the_batch(
    backend: OpenVinoPipelinedBackend, breaks: Callable[[int, str], None]
) -> None:
    """A batch of more frames than there are requests: the first one fails long before the end."""
    breaks(0, "wait")
    backend.submit(frames(5))
    backend.submit(frames(1))  # waits for frames of the first batch
    with pytest.raises(BackendError, match="no memory"):
        backend.collect()
    assert backend.collect().shape == (1, *SIZE_HW)


def test_closing_waits_for_what_is_in_flight(
    backend: OpenVinoPipelinedBackend, breaks: Callable[[int, str], None]
) -> None:
    breaks(1, "wait")
    for frame in frames(3):
        backend.submit(frame[np.newaxis])
    backend.close()
    backend.close()
    for call in (backend.collect, lambda: backend.submit(frames(1))):
        with pytest.raises(BackendError, match="^the openvino backend is closed"):
            call()
