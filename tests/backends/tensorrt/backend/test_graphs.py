"""A frame is one launch of a CUDA graph, and plain calls where there can be no graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from roadseg.core.errors import BackendError
from roadseg.testing.cuda import SimulatedCuda
from tests.support.tensorrt.bench import Bench, frames, labels_of


def test_a_frame_costs_one_launch_and_no_allocation(bench: Bench) -> None:
    backend = bench.open()
    backend.infer(frames(1))
    before, runs = bench.cuda.calls.copy(), [context.runs for context in bench.world.contexts]
    allocations = bench.cuda.allocations
    for seed in range(10):
        backend.infer(frames(1, seed))
    assert bench.cuda.calls - before == {"graph_launch": 10, "synchronize": 10}
    assert bench.cuda.allocations == allocations
    assert [context.runs for context in bench.world.contexts] == runs, "TensorRT is called no more"
    assert backend.info.device == "Simulated GPU"


def test_the_first_frame_finds_everything_ready(bench: Bench) -> None:
    backend = bench.open((1, 4))
    before = bench.cuda.calls.copy()
    backend.submit(frames(1))
    backend.submit(frames(1))
    assert bench.cuda.calls - before == {"graph_launch": 2}


@pytest.mark.parametrize("how", ["capture", "begin", "end", "launch", "stray"])
def test_where_no_graph_can_be_had_plain_calls_do(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def refuse(*_args: Any) -> None:
        raise BackendError("no graphs today")

    if how == "capture":
        bench.world.fail.add("capture")
    elif how == "stray":
        bench.world.stray = True  # the capture succeeds and misses the network
    elif how == "launch":
        monkeypatch.setattr("roadseg.testing.cuda.simulated.SimulatedGraph.launch", refuse)
    else:
        end = SimulatedCuda.end_capture

        def fail_to_end(cuda: SimulatedCuda, stream: Any) -> None:
            end(cuda, stream).close()
            refuse()

        replacement = refuse if how == "begin" else fail_to_end
        monkeypatch.setattr(SimulatedCuda, f"{how}_capture", replacement)
    backend = bench.open((1, 2))
    assert backend.info.device == "Simulated GPU (without a CUDA graph)"
    for seed, count in enumerate((1, 2, 5, 1)):
        batch = frames(count, seed)
        np.testing.assert_array_equal(backend.infer(batch), labels_of(batch))
    before = bench.cuda.calls.copy()
    backend.infer(frames(1))
    assert bench.cuda.calls - before == {"copy_to_device": 1, "copy_to_host": 1, "synchronize": 1}
    backend.close()
    assert bench.cuda.live_objects == 0


def test_pycuda_has_no_graphs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedCuda, "supports_graphs", False)
    backend = bench.open()
    assert backend.info.device == "Simulated GPU (without a CUDA graph)"
    np.testing.assert_array_equal(backend.infer(frames(1)), labels_of(frames(1)))
    assert bench.cuda.calls["begin_capture"] == 0
