"""Engines of all networks, really built by TensorRT-RTX: that takes neither a GPU nor a driver."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadseg.backends.tensorrt.builder.build_engine import build_engine
from roadseg.core.errors import BackendError, ModelError, QualityGateError, UsageError
from roadseg.engine.manifest import CalibrationFacts, TensorFacts
from roadseg.engine.messages import listen
from roadseg.engine.runtime import Runtime, load_runtime
from roadseg.engine.spec import EngineSpec, Precision
from roadseg.engine.store import EngineFile, checksum_problem, list_engines, read_engine
from roadseg.weights.calibration import Calibration, Gate, write_calibration
from roadseg.weights.manifest import sha256_of
from tests.support import ROOT

pytest.importorskip(
    "tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: pip install tensorrt-rtx"
)

NETWORKS = ["segnet", "segnet-basic", "segnet-lite"]
CAPABILITY_BITS = {75: 1, 80: 2, 86: 4, 89: 8, 120: 16}


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return load_runtime("tensorrt-rtx")


def rtx(model: Path, precision: Precision = "fp16", **changes: Any) -> EngineSpec:
    spec = EngineSpec(str(model), precision, (64, 96), (1, 1, 1), "tensorrt-rtx", "native")
    return replace(spec, **changes)


def no_gpu() -> Any:
    raise BackendError("there is no GPU in this test", fix="add one")


def build(spec: EngineSpec, output: Path, *, progress: Any = None, **made_with: Any) -> EngineFile:
    spec = replace(spec, **made_with)
    return build_engine(spec, output=output, open_cuda=no_gpu, progress=progress)


def check_readable(engine: EngineFile, runtime: Runtime, sm: tuple[int, ...]) -> None:
    """The header says what was built; the engine loads, or a driver is what is missing."""
    plan = engine.path.read_bytes()
    magic, size, *version, capabilities = struct.unpack_from("<4s12xQ3B5xI", plan)
    assert magic == b"vtrt"
    assert size == len(plan) == engine.manifest.plan_bytes
    assert tuple(version) == runtime.version[:3]
    if 121 not in sm:
        assert capabilities == sum(CAPABILITY_BITS[number] for number in sm)
    assert checksum_problem(engine) is None
    with listen(runtime.trt) as (logger, messages):
        loaded = runtime.trt.Runtime(logger).deserialize_cuda_engine(plan)
        assert loaded is not None or "CUDA" in messages.errors[0]


@pytest.mark.parametrize("batch", [(1, 1, 1), (1, 2, 4)], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", NETWORKS)
def test_fp16_engines(
    name: str,
    batch: tuple[int, int, int],
    weights: Callable[[str], Path],
    runtime: Runtime,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "roadseg")
    file = weights(name)
    phases: list[str] = []
    engine = build(
        rtx(file, batch=batch),
        tmp_path,
        progress=lambda state: phases.append(state.detail),
    )
    facts = engine.manifest
    assert read_engine(engine.path) == engine
    assert [found.path for found in list_engines(tmp_path)[0]] == [engine.path]
    assert (facts.architecture, facts.batch, facts.size_hw) == (name, batch, (64, 96))
    assert facts.weights_sha256 == sha256_of(file)
    assert facts.not_verified == "no GPU: there is no GPU in this test"
    assert facts.sm[0] == 80
    assert 75 not in facts.sm
    # FP16 weights, of which the file has two bytes each as well.
    assert facts.plan_bytes > 0.9 * file.stat().st_size
    assert "Building engine" in phases
    assert caplog.messages == []
    check_readable(engine, runtime, facts.sm)


@pytest.fixture
def calibrated(weights: Callable[[str], Path], tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Weights and a calibration of each network: made up, for weights that are made up, too."""

    def make(name: str, gate: Gate | None = None, **changes: Any) -> tuple[Path, Path]:
        from roadseg.export.network import load_network
        from roadseg.export.onnx import build_onnx
        from roadseg.export.quantizable import QuantizableGraph

        file = weights(name)
        network = load_network(str(file))
        graph = build_onnx(network.module, name, size_hw=(64, 96), batch=1)
        structure = QuantizableGraph(graph.graph)
        calibration = Calibration(
            model=name,
            weights_sha256=network.weights_sha256,
            size_hw=(64, 96),
            method="absmax",
            frames=(),
            scales=dict.fromkeys(structure.scale_sources(), 0.05),
            float_layers=tuple(list(structure.layers)[:1]),
            gate=gate,
        )
        path = tmp_path / "made up.json"
        write_calibration(replace(calibration, **changes), path)
        return file, path

    return make


def gate(drop_points: float | None) -> Gate:
    return Gate("val.txt", 101, 0.7, 0.7, drop_points, 0.99, "openvino", 0.95)


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_engines(
    name: str,
    calibrated: Callable[..., tuple[Path, Path]],
    runtime: Runtime,
    tmp_path: Path,
) -> None:
    file, calibration = calibrated(name, gate(0.31))
    engine = build(rtx(file, "int8"), tmp_path, calibration=calibration)
    facts = engine.manifest
    assert facts.precision == "int8"
    assert facts.calibration is not None
    assert facts.calibration == CalibrationFacts(
        sha256=sha256_of(calibration),
        float_layers=facts.calibration.float_layers,
        drop_points=0.31,
        measured_on="val.txt",
        forced=False,
        path=str(calibration),
        agreement=0.99,
        label_miou=0.95,
    )
    assert len(facts.calibration.float_layers) == 1
    check_readable(engine, runtime, facts.sm)
    # There is more in it than weights, of which one layer's stay FP16.
    assert facts.plan_bytes < build(rtx(file), tmp_path).manifest.plan_bytes


def test_int8_judged_without_labels(
    calibrated: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    unlabelled = replace(gate(None), measured_on="drive.mp4", fp32_miou=None, int8_miou=None)
    file, calibration = calibrated("segnet-lite", unlabelled)
    facts = build(rtx(file, "int8"), tmp_path, calibration=calibration).manifest.calibration
    assert facts is not None
    assert (facts.drop_points, facts.forced) == (None, False)
    assert (facts.agreement, facts.label_miou, facts.measured_on) == (0.99, 0.95, "drive.mp4")
    file, calibration = calibrated("segnet-lite", replace(unlabelled, label_miou=0.8))
    with pytest.raises(QualityGateError, match="mean IoU with them 0.800"):
        build(rtx(file, "int8"), tmp_path, calibration=calibration)


def test_int8_that_costs_too_much(
    calibrated: Callable[..., tuple[Path, Path]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "roadseg")
    out = tmp_path / "out"
    file, calibration = calibrated("segnet-lite", gate(0.8))
    options: dict[str, Any] = {"calibration": calibration}
    with pytest.raises(QualityGateError) as caught:
        build(rtx(file, "int8"), out, **options)
    assert str(caught.value).startswith(
        "INT8 costs segnet-lite 0.80 points of mIoU on val.txt (70.00 in FP32), allowed are 0.5: "
    )
    assert list(out.iterdir()) == []
    engine = build(rtx(file, "int8"), out, force=True, **options)
    assert engine.manifest.calibration is not None
    assert engine.manifest.calibration.forced
    assert caplog.messages == [
        "force=True: INT8 costs segnet-lite 0.80 points of mIoU on val.txt (70.00 in FP32), "
        "allowed are 0.5"
    ]
    engine = build(rtx(file, "int8"), out, max_drop_points=1.0, **options)
    assert engine.manifest.calibration is not None
    assert not engine.manifest.calibration.forced


def test_int8_of_other_weights_or_without_a_calibration(
    calibrated: Callable[..., tuple[Path, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What it costs does not matter then, nor that it is forced.
    file, calibration = calibrated("segnet-lite", gate(0.8), weights_sha256="0" * 64)
    for force in (False, True):
        with pytest.raises(ModelError, match="^the calibration is of other weights of segnet-lite"):
            build(rtx(file, "int8"), tmp_path, calibration=calibration, force=force)
    # The one that ships is of other weights, and so is none.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ModelError, match=r"^no calibration at calibration/segnet-lite-[0-9a-f]{8}\."
    ):
        build(rtx(file, "int8"), tmp_path)
    missing = tmp_path / "none.json"
    with pytest.raises(ModelError) as caught:
        build(rtx(file, "int8"), tmp_path, calibration=missing)
    assert str(caught.value) == (
        f"no calibration at {missing}: run 'roadseg calibrate --model \"{file}\" --data DIR|VIDEO'"
    )


@pytest.mark.parametrize("sm", [(75,), (86,), (86, 89, 120)])
def test_for_whom(
    sm: tuple[int, ...], weights: Callable[[str], Path], runtime: Runtime, tmp_path: Path
) -> None:
    engine = build(rtx(weights("segnet-lite"), sm=sm), tmp_path)
    assert engine.manifest.sm == sm
    assert f"_sm{'-'.join(map(str, sm))}.engine" in engine.path.name
    check_readable(engine, runtime, sm)


@pytest.mark.parametrize(("batch", "frames"), [((2, 2, 2), 2), ((1, 2, 4), -1)])
def test_the_manifest_says_what_goes_in_and_out(
    batch: tuple[int, int, int],
    frames: int,
    weights: Callable[[str], Path],
    runtime: Runtime,
    tmp_path: Path,
) -> None:
    facts = build(rtx(weights("segnet-lite"), batch=batch), tmp_path).manifest.tensors
    assert facts == (
        TensorFacts("frame_bgr", "input", "uint8", (frames, 64, 96, 3), "NHWC, BGR"),
        TensorFacts("labels", "output", "uint8", (frames, 64, 96), "NHW, class ids"),
    )


def test_for_whom_it_cannot(weights: Callable[[str], Path], tmp_path: Path) -> None:
    # Hopper and Orin.
    for sm in (90, 87):
        with pytest.raises(UsageError) as caught:
            build(rtx(weights("segnet-lite"), sm=(sm,)), tmp_path)
        line = str(caught.value)
        assert line.startswith("TensorRT-RTX ")
        assert f"does not build for compute capability {sm}: use sm=75|80|86|89|120" in line


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_odd_sizes_and_fp32(
    precision: Precision, weights: Callable[[str], Path], runtime: Runtime, tmp_path: Path
) -> None:
    spec = rtx(weights("segnet-lite"), precision, size_hw=(90, 120), workspace_mb=512)
    engine = build(spec, tmp_path / "x.engine")
    assert engine.manifest.workspace_mb == 512
    check_readable(engine, runtime, engine.manifest.sm)


def test_a_size_that_the_network_cannot_take(
    weights: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        rtx(weights("segnet"), size_hw=(8, 8))
    assert str(caught.value) == (
        "network input 8x8: its sides must be 32 to 4096: use for example size_hw=(352, 480)"
    )


BUILDER = """
import logging, signal, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
signal.signal(signal.SIGINT, signal.default_int_handler)
from roadseg.backends.tensorrt.builder.build_engine import build_engine
from roadseg.engine.spec import EngineSpec
spec = EngineSpec(sys.argv[1], "fp16", (64, 96), (1, 1, 1), "tensorrt-rtx", "native")
def show(state):
    print(state.stage, state.detail, flush=True)
    if state.detail == sys.argv[3]:
        sys.stdin.readline()
build_engine(spec, output=Path(sys.argv[2]), progress=show)
print("done", flush=True)
"""


def builder(model: Path, output: Path, stop_at: str = "") -> subprocess.Popen[str]:
    """Another process that builds, and waits for a line when it comes to that phase."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(model), str(output), stop_at],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == words:
            return
    raise AssertionError(f"never said {words!r}")


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c_in_the_middle_of_a_real_build(
    weights: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = builder(weights("segnet-lite"), out / "x.engine", "Computing profile costs")
    read_until(process, "building Computing profile costs")
    process.send_signal(signal.SIGINT)
    _output, errors = process.communicate("\n", timeout=60)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    # As Python ends programs that Ctrl-C ended; an exception that meets C++ aborts.
    assert process.returncode in (1, -signal.SIGINT)
    assert list(out.iterdir()) == []


def test_two_real_builds_at_once(weights: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = builder(weights("segnet-lite"), out / "x.engine", "Computing profile costs")
    read_until(first, "building Computing profile costs")
    second = builder(weights("segnet-lite"), out / "x.engine")
    read_until(second, f"process {first.pid} is building x.engine: waiting for it")
    first_output, _ = first.communicate("\n", timeout=60)
    second_output, _ = second.communicate(timeout=60)
    assert first_output.splitlines()[-1] == "done"
    assert second_output.splitlines() == ["x.engine was built meanwhile", "done"]
    assert sorted(os.listdir(out)) == ["x.engine", "x.engine.json"]
    assert checksum_problem(read_engine(out / "x.engine")) is None
