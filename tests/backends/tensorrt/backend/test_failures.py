"""Failures of TensorRT, of the GPU and of a batch: what is said, and what goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from roadseg.core.errors import BackendError
from tests.support.tensorrt.bench import Bench, frames, labels_of

AGAIN = "see 'roadseg doctor', or build the engine again with 'roadseg build-engine'"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "context",
            f"TensorRT cannot prepare the engine (Cuda Runtime (an illegal access)): {AGAIN}",
        ),
        (
            "address",
            f"TensorRT refuses the memory of its tensors (Cuda Runtime (an illegal "
            f"access)): {AGAIN}",
        ),
        ("shape", f"TensorRT refuses a batch of 1 (Cuda Runtime (an illegal access)): {AGAIN}"),
        ("execute", f"TensorRT failed while inferring (Cuda Runtime (an illegal access)): {AGAIN}"),
        (
            "runtime",
            "TensorRT 10.13.0 cannot start (Cuda Runtime (an illegal access)): "
            "see 'roadseg doctor'",
        ),
    ],
)
def test_failures_of_tensorrt(bench: Bench, what: str, message: str) -> None:
    bench.world.fail.add(what)
    with pytest.raises(BackendError) as caught:
        bench.open((1, 4))
    assert str(caught.value) == message


@pytest.mark.parametrize("what", ["context", "execute", "deserialize"])
def test_a_full_gpu(bench: Bench, what: str) -> None:
    bench.world.fail.add(what)
    bench.world.message = "[a.cpp::b::3] Error Code 1: Cuda Runtime (out of memory)"
    with pytest.raises(BackendError) as caught:
        bench.open()
    doing = {
        "context": "cannot prepare the engine",
        "execute": "failed while inferring",
        "deserialize": "cannot load the engine",
    }[what]
    assert str(caught.value) == (
        f"the GPU's memory is full: TensorRT {doing} (segnet-lite, lite.engine): close other "
        "programs that use the GPU, or use a smaller size_hw"
    )


def test_an_old_driver(bench: Bench) -> None:
    bench.world.fail.add("deserialize")
    bench.world.message = (
        "[cudaWrapper.cpp::x::9] Error Code 1: Cuda Runtime (cudaError 35: CUDA driver version is "
        "insufficient for CUDA runtime version)"
    )
    with pytest.raises(BackendError) as caught:
        bench.open()
    assert str(caught.value) == (
        "TensorRT 10.13.0 needs a newer NVIDIA driver than there is here: update the driver"
    )


def test_a_failure_in_one_batch_leaves_the_others(bench: Bench) -> None:
    backend = bench.open((1, 2))
    bench.world.fail.add("context")  # a batch of two has not been prepared yet
    backend.submit(frames(1, 0))
    with pytest.raises(BackendError, match=r"^TensorRT cannot prepare the engine \(Cuda Runtime"):
        backend.submit(frames(2, 1))
    bench.world.fail.clear()
    backend.submit(frames(2, 2))
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, 0)))
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(2, 2)))


def test_a_part_that_fails_takes_its_batch_with_it_and_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = bench.open((1, 2))
    backend.submit(frames(1, 0))
    bench.world.fail.add("context")
    with pytest.raises(BackendError):  # the first part of three runs, the last is what fails
        backend.submit(frames(3, 1))
    bench.world.fail.clear()
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, 0)))
    for seed in range(2, 6):
        np.testing.assert_array_equal(backend.infer(frames(3, seed)), labels_of(frames(3, seed)))


def test_a_gpu_that_fails_while_it_computes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = bench.open((1, 1))
    backend.submit(frames(2, 0))
    calls: list[int] = []
    wait = type(bench.cuda.event()).synchronize

    def fail_once(event: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise BackendError("CUDA failed while waiting: the GPU fell off the bus")
        wait(event)

    monkeypatch.setattr("roadseg.testing.cuda.simulated.SimulatedEvent.synchronize", fail_once)
    # This submission finds the failure of the batch before it, and is not to blame.
    backend.submit(frames(2, 1))
    with pytest.raises(BackendError, match="^CUDA failed while waiting: the GPU fell off the bus$"):
        backend.collect()
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(2, 1)))


def test_the_reason_of_a_plugin_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from roadseg.backends.tensorrt import plugin

    registered: list[Any] = []
    monkeypatch.setattr(plugin, "register_plugins", registered.append)
    monkeypatch.setattr(plugin, "last_plugin_error", lambda: "MaxPoolIndex.enqueue: no kernel")
    bench.world.fail.add("execute")
    with pytest.raises(BackendError) as caught:
        bench.open(manifest={"lowering": "plugin"})
    assert str(caught.value) == (
        f"TensorRT failed while inferring (MaxPoolIndex.enqueue: no kernel): {AGAIN}"
    )
    assert registered == [bench.trt]
    registered.clear()
    bench.world.fail.clear()
    bench.open(manifest={"lowering": "plugin", "portable": True}).close()
    bench.open(manifest={"lowering": "native"}).close()
    assert registered == []
