"""CUDA graphs: what is asked of CUDA, and in which order."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from roadseg.backends.torch_cuda.graph import (
    GraphSlot,
    capture,
    fastest_algorithms,
    graph_time_ms,
)


class RecordingCuda:
    """Stands for `torch.cuda`; what it is asked for is in `log`."""

    def __init__(self) -> None:
        self.log: list[str] = []
        log = self.log.append

        class Stream:
            def wait_stream(self, other: object) -> None:
                log("stream waits")

            def synchronize(self) -> None:
                log("synchronize")

        class Event:
            def __init__(self, enable_timing: bool = False) -> None:
                self.enable_timing = enable_timing

            def record(self, stream: object) -> None:
                log("record")

            def synchronize(self) -> None:
                log("wait for event")

            def elapsed_time(self, end: Event) -> float:
                assert self.enable_timing
                assert end.enable_timing
                return 25.0

        class Graph:
            def capture_begin(self) -> None:
                log("begin")

            def capture_end(self) -> None:
                log("end")

            def replay(self) -> None:
                log("replay")

        @contextmanager
        def graph(graph: object, stream: object) -> Iterator[None]:
            log("begin")
            yield
            log("end")

        self.names = {
            "Stream": Stream,
            "Event": Event,
            "CUDAGraph": Graph,
            "graph": graph,
            "stream": lambda stream: nullcontext(),
            "device": lambda device: nullcontext(),
            "current_stream": lambda *device: None,
        }


@pytest.fixture
def recording_cuda(monkeypatch: pytest.MonkeyPatch) -> RecordingCuda:
    cuda = RecordingCuda()
    for name, value in cuda.names.items():
        monkeypatch.setattr(torch.cuda, name, value)
    zeros = torch.zeros

    def unpinned(*args: Any, pin_memory: bool = False, **options: Any) -> Tensor:
        cuda.log.append("pinned" if pin_memory else "not pinned")
        return zeros(*args, **options)

    monkeypatch.setattr(torch, "zeros", unpinned)
    return cuda


def test_a_slot_warms_up_then_captures_then_replays(recording_cuda: RecordingCuda) -> None:
    log = recording_cuda.log

    def network(frames: Tensor) -> Tensor:
        log.append("network")
        return frames[..., 0] + 1

    slot = GraphSlot(network, 2, (3, 4), torch.device("cpu"))  # type: ignore[arg-type]
    warm_up = ["stream waits", "network", "network", "network", "synchronize"]
    assert log == ["pinned", "pinned", *warm_up, "begin", "network", "end"]
    assert slot.frames.shape == (2, 3, 4, 3)
    assert (slot.labels == 1).all()  # the network's output went to the staging memory
    log.clear()
    slot.start()
    slot.wait()
    assert log == ["replay", "record", "wait for event"]


def test_timing_replays_a_graph_of_several_calls(recording_cuda: RecordingCuda) -> None:
    log = recording_cuda.log

    def run() -> Tensor:
        log.append("run")
        assert gc.isenabled() == ("begin" not in log)
        return torch.ones(1)

    assert graph_time_ms(run) == 2.5
    begin = log.index("begin")
    assert log[:begin] == ["stream waits", "run", "run", "run", "synchronize"]
    assert log[begin:] == [
        "begin",
        *["run"] * 10,
        "end",
        "replay",
        "record",
        "replay",
        "record",
        "wait for event",
    ]
    assert gc.isenabled()


def test_a_capture_that_fails_is_ended(recording_cuda: RecordingCuda) -> None:
    graph = recording_cuda.names["CUDAGraph"]()
    with pytest.raises(ValueError, match="inside"), capture(graph):
        raise ValueError("inside")
    assert recording_cuda.log == ["begin", "end"]
    assert gc.isenabled()


def test_cudnn_measures_its_algorithms_within() -> None:
    before = torch.backends.cudnn.benchmark
    with fastest_algorithms():
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark == before
