"""What the benchmark does with a TensorRT-RTX that is not for the GPU at hand."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import gpu_tensorrt
from benchmarks.gpu_steps import MODELS, Recorder, Settings, SkippedError, Step, run_here
from benchmarks.gpu_tensorrt import RefusedError, tensorrt, usable_runtime
from roadseg.core.errors import BackendError, EngineError
from roadseg.engine.messages import listen
from roadseg.engine.runtime import Runtime
from roadseg.testing.cuda import SimulatedCuda

REFUSED = (
    "TensorRT-RTX 1.7.1.116 does not run on NVIDIA H200 (compute capability 9.0): use "
    'target="tensorrt"'
)
FACTS = {"network": "segnet-lite", "batch": 1, "sm": [80, 86, 89, 120]}


class ILogger:
    """What messages go through."""

    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3


def rtx() -> Runtime:
    known = dict.fromkeys(("SM75", "SM80", "SM86", "SM89", "SM120", "CURRENT"))
    module = SimpleNamespace(
        __name__="stand-in of tensorrt_rtx",
        ComputeCapability=SimpleNamespace(__members__=known),
        ILogger=ILogger,
    )
    return Runtime(module, "tensorrt-rtx", (1, 7, 1, 116), "1.7.1.116")


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> SimulatedCuda:
    """An H200 with TensorRT-RTX alone."""
    cuda = SimulatedCuda(compute_capability=(9, 0))
    cuda.device = replace(cuda.device, name="NVIDIA H200")
    monkeypatch.setattr("roadseg.engine.runtime.load_runtime", lambda target: rtx())
    monkeypatch.setattr("roadseg.cuda.load.load_cuda", lambda: cuda)
    return cuda


def outcome(path: Path | None = None) -> dict[str, Any]:
    recorder = Recorder(Settings(), time.monotonic() + 600, path)
    found = run_here(Step("tensorrt", 600, tensorrt), recorder)
    del found["seconds"]
    return found


def results(*said: str, **tried: Any) -> dict[str, Any]:
    return {
        "runtime": "tensorrt-rtx 1.7.1.116",
        "refused": REFUSED,
        "tried_all_the_same": FACTS | tried | {"tensorrt_said": list(said)},
    }


def test_refused_is_skipped_and_tried_all_the_same(
    hopper: SimulatedCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "step.json"

    def fail(name: str, batch: int, runtime: Any, recorder: Recorder, *, sm: Any) -> Any:
        assert (name, batch, sm) == ("segnet-lite", 1, (80, 86, 89, 120))
        # A crash from here on must not cost what is known.
        assert json.dumps(REFUSED) in path.read_text(encoding="utf-8")
        with listen(runtime.trt) as (logger, _messages):
            logger.log(ILogger.Severity.ERROR, "Error Code 1: Unsupported SM 9.0\n(In f)")
        raise EngineError("TensorRT-RTX 1.7.1.116 cannot load x: Unsupported SM 9.0")

    monkeypatch.setattr(gpu_tensorrt, "_engine", fail)
    assert outcome(path) == {
        "status": "skipped",
        "detail": REFUSED,
        "results": results(
            "error: Error Code 1: Unsupported SM 9.0 (In f)",
            runs=False,
            message="EngineError: TensorRT-RTX 1.7.1.116 cannot load x: Unsupported SM 9.0",
        ),
    }


def test_should_it_run_its_figures_are_kept(
    hopper: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {"agreement_fp32": 0.999, "p50_ms": 0.5}
    monkeypatch.setattr(gpu_tensorrt, "_engine", lambda *_, **__: measured)
    assert outcome() == {
        "status": "skipped",
        "detail": REFUSED,
        "results": results(runs=True, **measured),
    }


def test_without_time_to_try_nothing_is_known(
    hopper: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: Any, **__: Any) -> Any:
        raise SkippedError("7 s left")

    monkeypatch.setattr(gpu_tensorrt, "_engine", late)
    assert outcome()["results"] == results(runs=None, message="7 s left")


def test_the_runtime_that_is_for_this_gpu(
    hopper: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RefusedError) as caught:
        usable_runtime()
    assert str(caught.value) == REFUSED
    hopper.device = replace(hopper.device, compute_capability=(8, 9))
    assert usable_runtime().target == "tensorrt-rtx"
    full = Runtime(None, "tensorrt", (10, 13, 0, 35), "10.13.0.35")
    hopper.device = replace(hopper.device, compute_capability=(9, 0))
    monkeypatch.setattr("roadseg.engine.runtime.load_runtime", lambda target: full)
    assert usable_runtime() is full


@pytest.mark.parametrize(
    "what", ["roadseg.engine.runtime.load_runtime", "roadseg.cuda.load.load_cuda"]
)
def test_nothing_to_measure(
    what: str, hopper: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise BackendError("there is none", fix="install it")

    monkeypatch.setattr(what, fail)
    assert outcome() == {
        "status": "skipped",
        "detail": "there is none: install it",
        "results": {},
    }


def test_the_network_that_is_tried() -> None:
    assert MODELS[1] == "segnet-lite"
