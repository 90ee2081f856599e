"""Labels are the engine's, for any number of frames, and come back in order."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest

from roadseg.core.backend import Backend, PipelinedBackend
from roadseg.core.errors import BackendError
from tests.support.tensorrt.bench import Bench, frames, labels_of


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_labels_are_the_engines(bench: Bench, target: str) -> None:
    backend = bench.open(target=target)
    assert isinstance(backend, Backend)
    assert isinstance(backend, PipelinedBackend)
    for seed in range(5):
        batch = frames(1, seed)
        np.testing.assert_array_equal(backend.infer(batch), labels_of(batch))
    backend.close()


def test_two_batches_are_in_flight_and_come_back_in_order(bench: Bench) -> None:
    backend = bench.open()
    assert backend.depth == 2
    batch = frames(1, 0)
    backend.submit(batch)
    batch[:] = 0  # it may be overwritten once it has been submitted
    for seed in range(1, 20):
        backend.submit(frames(1, seed))
        np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, seed - 1)))
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, 19)))


def test_submitting_does_not_wait_for_the_gpu(bench: Bench) -> None:
    backend = bench.open()
    waits = bench.cuda.calls["synchronize"]
    backend.submit(frames(1, 0))
    backend.submit(frames(1, 1))
    assert bench.cuda.calls["synchronize"] == waits
    backend.collect()
    assert bench.cuda.calls["synchronize"] == waits + 1


@pytest.mark.parametrize(
    ("batches", "count"),
    [
        ((1, 1), 5),  # frame by frame
        ((4, 4), 1),  # filled up
        ((4, 4), 4),
        ((4, 4), 11),  # two parts and one that is filled up
        ((1, 8), 3),
        ((1, 8), 8),
        ((1, 8), 21),
        ((2, 4), 1),  # below the smallest
        ((2, 4), 5),  # whose last part is below the smallest
        ((1, 1), 0),
    ],
)
def test_any_number_of_frames(bench: Bench, batches: tuple[int, int], count: int) -> None:
    backend = bench.open(batches)
    for seed in range(3):
        batch = frames(count, seed)
        np.testing.assert_array_equal(backend.infer(batch), labels_of(batch))


def test_large_batches_in_flight_do_not_mix(bench: Bench) -> None:
    backend = bench.open((1, 2))
    batches = [frames(5, 0), frames(1, 1), frames(3, 2), frames(2, 3)]
    backend.submit(batches[0])
    for before, batch in itertools.pairwise(batches):
        backend.submit(batch)
        np.testing.assert_array_equal(backend.collect(), labels_of(before))
    np.testing.assert_array_equal(backend.collect(), labels_of(batches[-1]))


def test_a_dynamic_engine_runs_at_the_size_of_the_batch(bench: Bench) -> None:
    backend = bench.open((1, 8))
    for count in (3, 1, 3, 8, 3):
        backend.infer(frames(count))
        backend.infer(frames(count))
    # A context of its own for each size and slot, whose shape is set once.
    shapes = [context.shapes_set for context in bench.world.contexts]
    assert all(len(shape) == 1 for shape in shapes)
    assert sorted(shape[0][0] for shape in shapes) == [1, 1, 3, 3, 8, 8]


def test_other_threads_may_use_it(bench: Bench) -> None:
    backend = bench.open()
    results: list[Any] = []

    def work() -> None:
        try:
            results.append(backend.infer(frames(1)))
            backend.close()
        except BackendError as exc:
            results.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(results[0], labels_of(frames(1)))
    assert len(results) == 1


def test_calls_out_of_turn_are_refused(bench: Bench) -> None:
    backend = bench.open()
    with pytest.raises(RuntimeError, match="^no batch is in flight: submit one first$"):
        backend.collect()
    backend.submit(frames(1, 0))
    with pytest.raises(RuntimeError, match="^1 batches are in flight: collect them first$"):
        backend.infer(frames(1))
    backend.submit(frames(1, 1))
    with pytest.raises(RuntimeError, match="^2 batches are in flight: collect one first$"):
        backend.submit(frames(1))
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, 0)))
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, 1)))


def test_a_closed_backend(bench: Bench) -> None:
    backend = bench.open()
    backend.close()
    backend.close()
    for call in (
        lambda: backend.infer(frames(1)),
        lambda: backend.submit(frames(1)),
        backend.collect,
    ):
        with pytest.raises(BackendError) as caught:
            call()
        assert str(caught.value) == "the tensorrt backend is closed: create another one"
