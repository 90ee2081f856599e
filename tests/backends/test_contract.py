"""What every backend promises; see `roadseg.backends.base`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roadseg.backends.base import Backend
from roadseg.backends.select import create_backend
from roadseg.labels import NUM_CLASSES

SIZE_HW = (64, 96)


@pytest.fixture(scope="module", params=["openvino", "torch", "fake"])
def backend(request: pytest.FixtureRequest, xml_file: Path, pt_file: Path) -> Iterator[Backend]:
    model = {"openvino": str(xml_file), "torch": str(pt_file), "fake": "none"}[request.param]
    running = create_backend(model, request.param, SIZE_HW, threads=1)
    yield running
    running.close()


def batch(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *SIZE_HW, 3), dtype=np.uint8)


def test_it_is_a_backend(backend: Backend) -> None:
    assert isinstance(backend, Backend)
    assert backend.network_hw == SIZE_HW
    assert backend.info.name in ("openvino", "torch", "fake")
    assert all((backend.info.model, backend.info.precision, backend.info.device))


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch(backend: Backend, count: int) -> None:
    labels = backend.infer(batch(count))
    assert labels.shape == (count, *SIZE_HW)
    assert labels.dtype == np.uint8
    assert labels.max() < NUM_CLASSES


def test_frames_of_a_batch_do_not_mix(backend: Backend) -> None:
    frames = batch(3)
    together = backend.infer(frames)
    for position in range(3):
        alone = backend.infer(frames[position : position + 1])
        # Batched convolutions may add up in another order.
        assert (alone[0] == together[position]).mean() > 0.995


def test_the_result_belongs_to_the_caller(backend: Backend) -> None:
    first = backend.infer(batch(1, seed=1))
    kept = first.copy()
    backend.infer(batch(1, seed=2))
    np.testing.assert_array_equal(first, kept)
    first[:] = 7  # writable


def test_the_frame_may_be_a_read_only_view(backend: Backend) -> None:
    wide = np.concatenate([batch(1), batch(1)], axis=2)
    view = wide[:, :, : SIZE_HW[1]]
    view.flags.writeable = False
    np.testing.assert_array_equal(backend.infer(view), backend.infer(batch(1)))


def test_equal_frames_give_equal_labels(backend: Backend) -> None:
    np.testing.assert_array_equal(backend.infer(batch(1)), backend.infer(batch(1)))


@pytest.mark.parametrize(
    ("frames", "got"),
    [
        (np.zeros((1, 64, 95, 3), np.uint8), "(1, 64, 95, 3) uint8"),
        (np.zeros((64, 96, 3), np.uint8), "(64, 96, 3) uint8"),
        (np.zeros((1, 64, 96, 3), np.float32), "(1, 64, 96, 3) float32"),
        (np.zeros((1, 64, 96), np.uint8), "(1, 64, 96) uint8"),
    ],
)
def test_wrong_batches(backend: Backend, frames: np.ndarray, got: str) -> None:
    with pytest.raises(ValueError) as caught:
        backend.infer(frames)
    assert str(caught.value) == f"expected (N, 64, 96, 3) uint8, got {got}"
