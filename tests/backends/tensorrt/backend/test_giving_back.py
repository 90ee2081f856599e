"""Memory and CUDA objects are given back, also where the backend cannot be created."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roadseg.core.errors import BackendError, EngineError
from roadseg.testing.cuda import SimulatedCuda
from tests.support.tensorrt.bench import Bench, frames


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_everything_is_given_back(bench: Bench, target: str) -> None:
    backend = bench.open((1, 4), target=target)
    for count in (1, 4, 9):
        backend.infer(frames(count))
    backend.submit(frames(1))
    backend.submit(frames(1))
    assert bench.cuda.live_bytes > 0
    backend.close()
    assert (bench.cuda.live_bytes, bench.cuda.live_objects) == (0, 0)


@pytest.mark.parametrize("what", ["context", "address", "shape", "execute", "deserialize"])
def test_nothing_is_left_where_it_cannot_be_created(bench: Bench, what: str) -> None:
    bench.world.fail.add(what)
    with pytest.raises((BackendError, EngineError)):
        bench.open((1, 4))
    assert (bench.cuda.live_bytes, bench.cuda.live_objects) == (0, 0)


def test_nothing_is_left_where_memory_ends_half_way(rig: Any, tmp_path: Path) -> None:
    bench = Bench(rig, tmp_path)
    bench.cuda = SimulatedCuda(total_bytes=40_000)  # the second slot does not fit
    bench.trt, bench.world = rig.make(bench.cuda)
    with pytest.raises(BackendError, match="memory"):
        bench.open()
    assert (bench.cuda.live_bytes, bench.cuda.live_objects) == (0, 0)
