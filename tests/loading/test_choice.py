"""From a name to a backend."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roadseg
from roadseg.backends import gpu
from roadseg.backends.fake import FakeBackend
from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.backends.openvino.pipelined import OpenVinoPipelinedBackend
from roadseg.backends.torch import gpu as torch_gpu
from roadseg.backends.torch.backend import TorchBackend
from roadseg.core.backend import PipelinedBackend
from roadseg.core.errors import BackendError, EngineError, ModelError, UsageError
from roadseg.engine.runtime import Runtime
from roadseg.export.ir import finish_ir, from_onnx, save_ir
from roadseg.export.onnx import build_onnx, save_onnx
from roadseg.loading import choice
from roadseg.loading.choice import BACKEND_NAMES, choose, choose_backend
from roadseg.models import build_model
from roadseg.testing.cuda import SimulatedCuda
from roadseg.weights import resolve


class Machine:
    """What the machine has: changes what `auto` means."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.driver = False
        self.no_tensorrt: str | None = None
        self.torch_gpu = False
        self.asked: list[str] = []
        monkeypatch.setattr(choice, "has_nvidia_driver", lambda: self.driver)
        monkeypatch.setattr(choice, "why_not_tensorrt", self._why_not_tensorrt)
        monkeypatch.setattr(torch_gpu, "torch_sees_gpu", self._torch_sees_gpu)

    def _why_not_tensorrt(self) -> str | None:
        self.asked.append("tensorrt")
        return self.no_tensorrt

    def _torch_sees_gpu(self) -> bool:
        self.asked.append("torch")
        return self.torch_gpu


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Machine:
    """Without a GPU, whatever the tests run on."""
    caplog.set_level("INFO", "roadseg")
    return Machine(monkeypatch)


def test_names_and_types(xml_file: Path, pt_file: Path) -> None:
    assert BACKEND_NAMES == ("auto", "tensorrt", "openvino", "torch", "fake")
    assert isinstance(choose(str(xml_file), "auto").open((32, 32)), OpenVinoBackend)
    assert isinstance(choose(str(xml_file), "openvino").open((32, 32)), OpenVinoBackend)
    assert isinstance(choose(str(pt_file), "torch").open((32, 32)), TorchBackend)
    assert isinstance(choose("anything", "fake").open((32, 32)), FakeBackend)


def test_model_threads_and_size_are_passed_on(xml_file: Path) -> None:
    backend = choose(str(xml_file), threads=1).open((32, 64))
    assert backend.network_hw == (32, 64)
    assert backend.info.model == "lite"
    assert backend.info.precision == "fp32"
    assert backend.info.device == "CPU (1 thread)"


def test_frames_are_in_flight_together_where_throughput_counts_and_there_are_threads(
    xml_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(threads: int | None, *, scores: bool = False) -> object:
        choice = replace(choose(str(xml_file), threads=threads), throughput=True)
        return choice.open((32, 64), scores=scores)

    assert isinstance(opened(2), OpenVinoPipelinedBackend)
    assert not isinstance(opened(1), PipelinedBackend)
    assert not isinstance(opened(2, scores=True), PipelinedBackend)
    for cores in (1, 2):
        monkeypatch.setattr("roadseg.loading.choice.usable_cores", lambda cores=cores: cores)
        assert isinstance(opened(None), PipelinedBackend) == (cores == 2)


# What `auto` means.


def test_without_a_driver_it_is_openvino_and_nothing_is_asked(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose_backend("segnet-lite") == "openvino"
    assert machine.asked == caplog.messages == []


def test_tensorrt_where_it_works(
    machine: Machine, pt_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine.driver = True
    assert choose_backend("segnet-lite") == "tensorrt"
    assert choose_backend(str(pt_file)) == "tensorrt"
    assert machine.asked == ["tensorrt", "tensorrt"], "PyTorch need not be loaded"
    assert caplog.messages == []


def test_pytorch_where_tensorrt_does_not_work(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.driver, machine.torch_gpu = True, True
    machine.no_tensorrt = "TensorRT is not installed: pip install tensorrt"
    assert choose_backend("segnet-lite") == "torch"
    assert caplog.messages == [
        "running on torch, because TensorRT cannot be used: TensorRT is not installed: "
        "pip install tensorrt"
    ]
    assert choose_backend("segnet-lite") == "torch"


def test_openvino_where_neither_works(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.driver, machine.no_tensorrt = True, "no CUDA-capable device"
    assert choose_backend("segnet-lite") == "openvino"
    assert caplog.messages == [
        "running on openvino, because TensorRT cannot be used: no CUDA-capable device"
    ]


def test_files_go_to_the_backend_that_takes_them(machine: Machine, tmp_path: Path) -> None:
    machine.driver = True
    assert choose_backend("mine.xml") == choose_backend("mine.onnx") == "openvino"
    assert choose_backend("unheard-of") == "openvino", "which says that there is no such model"
    machine.driver = False
    assert choose_backend("mine.engine") == choose_backend("mine.ENGINE") == "tensorrt"
    assert machine.asked == []


def test_pytorch_takes_its_files_where_tensorrt_cannot(
    machine: Machine,
    pt_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert choose_backend(str(pt_file)) == "torch"
    assert machine.asked == []
    assert isinstance(choose(str(pt_file), "auto").open((32, 32)), TorchBackend)
    assert choose(str(pt_file)).network_hw((360, 480)) == (352, 480)
    machine.driver, machine.no_tensorrt = True, "no CUDA-capable device"
    assert choose_backend(str(pt_file)) == "torch"
    assert caplog.messages == [
        "running on torch, because TensorRT cannot be used: no CUDA-capable device"
    ]
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError) as caught:
        choose_backend(str(pt_file))
    assert str(caught.value) == (
        f"{pt_file} needs PyTorch, which is not installed: pip install 'roadseg[train]', "
        "or turn it into a file for OpenVINO where PyTorch is: 'roadseg export --model "
        f"{pt_file} --output lite.onnx'"
    )


def test_weights_that_are_not_there_are_no_reason_for_pytorch(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError, match="no model file at"):
        choose(str(tmp_path / "typo.pt"))


@pytest.mark.parametrize("name", BACKEND_NAMES[1:])
def test_other_names_mean_themselves(machine: Machine, name: str) -> None:
    machine.driver = True
    assert choose_backend("segnet-lite", name) == name
    assert machine.asked == []


def test_why_tensorrt_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any) -> None:
        raise BackendError("there is no NVIDIA driver", fix="install one")

    runtime = Runtime(None, "tensorrt", (10, 13), "10.13")
    monkeypatch.setattr(gpu, "shared_cuda", lambda: SimulatedCuda())
    monkeypatch.setattr("roadseg.engine.runtime.load_runtime", lambda target: runtime)
    assert gpu.why_not_tensorrt() is None
    monkeypatch.setattr("roadseg.engine.runtime.load_runtime", fail)
    assert gpu.why_not_tensorrt() == "there is no NVIDIA driver: install one"
    monkeypatch.setattr("roadseg.engine.runtime.load_runtime", lambda target: runtime)
    monkeypatch.setattr(gpu, "shared_cuda", fail)
    assert gpu.why_not_tensorrt() == "there is no NVIDIA driver: install one"


def test_tensorrt_rtx_does_not_run_on_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = pytest.importorskip("tensorrt_rtx_bindings", exc_type=ImportError)
    runtime = Runtime(trt, "tensorrt-rtx", (1, 7), "1.7")
    monkeypatch.setattr("roadseg.engine.runtime.load_runtime", lambda target: runtime)
    monkeypatch.setattr(gpu, "shared_cuda", lambda: SimulatedCuda(compute_capability=(8, 9)))
    assert gpu.why_not_tensorrt() is None
    monkeypatch.setattr(gpu, "shared_cuda", lambda: SimulatedCuda(compute_capability=(9, 0)))
    assert gpu.why_not_tensorrt() == (
        "TensorRT-RTX 1.7 does not run on Simulated GPU (compute capability 9.0): "
        'use target="tensorrt"'
    )


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_a_driver_is_seen_by_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(gpu, "_DEVICES", (str(tmp_path / "nvidiactl"),))
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    assert not gpu.has_nvidia_driver()
    (tmp_path / "System32").mkdir()
    (tmp_path / "System32" / "nvcuda.dll").touch()
    assert gpu.has_nvidia_driver() == (platform == "win32")
    (tmp_path / "nvidiactl").touch()
    assert gpu.has_nvidia_driver()


def test_whether_pytorch_sees_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.undo()
    for seen in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda seen=seen: seen)
        assert torch_gpu.torch_sees_gpu() is seen
    monkeypatch.setitem(sys.modules, "torch", None)
    assert torch_gpu.torch_sees_gpu() is False


@pytest.mark.skipif(gpu.has_nvidia_driver(), reason="there is a GPU")
def test_a_run_on_the_cpu_loads_neither_pytorch_nor_tensorrt() -> None:
    code = (
        "import sys, numpy\n"
        "from roadseg import Segmenter\n"
        "with Segmenter(size_hw=(32, 32)) as segmenter:\n"
        "    segmenter(numpy.zeros((32, 32, 3), numpy.uint8))\n"
        "    assert segmenter.backend_info.name == 'openvino'\n"
        "print(*sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert "openvino" in loaded
    assert not {"torch", "onnx", "cuda", "pycuda", "tensorrt", "tensorrt_rtx"} & loaded
    assert "roadseg.backends.tensorrt.builder.build_engine" not in loaded


# The sizes that a model takes.


def test_engines_take_their_own_size(rig: Any, tmp_path: Path) -> None:
    engine = rig.engine_file(tmp_path / "lite.engine", rig.plan((1, 1), (45, 60)))
    chosen = choose(str(engine.path))
    assert chosen.size_hw == chosen.network_hw((360, 480)) == (45, 60)
    assert chosen.file == engine
    assert chosen.precision == engine.manifest.precision
    assert chosen.weights() == ("lite.engine", engine.manifest.plan_sha256)
    assert choose("segnet-lite").size_hw is None
    alone = tmp_path / "alone.engine"
    alone.write_bytes(b"")
    with pytest.raises(EngineError) as caught:
        choose(str(alone))
    assert str(caught.value) == (
        f"{alone} has no manifest (alone.engine.json beside it): copy it along, or build the "
        "engine again with 'roadseg build-engine'"
    )


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize(("own_hw", "batch"), [((45, 60), 4), ((45, 60), None), ((32, 64), 2)])
def test_files_of_one_size_take_their_own(
    tmp_path: Path, suffix: str, own_hw: tuple[int, int], batch: int | None
) -> None:
    path = tmp_path / f"fixed{suffix}"
    graph = build_onnx(
        build_model("segnet-nano").eval(), "segnet-nano", size_hw=own_hw, batch=batch
    )
    if suffix == ".onnx":
        save_onnx(graph, path)
    else:
        ir = from_onnx(graph)
        finish_ir(ir)
        save_ir(ir, path, precision="fp32")
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    for size_hw in (None, own_hw):
        with roadseg.Segmenter(path, "openvino", size_hw=size_hw, threads=1) as segmenter:
            assert segmenter.size_hw == own_hw
            assert segmenter(picture).network_ids.shape == own_hw
            assert len(segmenter.segment_batch([picture] * 3)) == 3
    with roadseg.Segmenter(path, "openvino", threads=1, scores=True) as segmenter:
        segmenter(picture)
        assert segmenter.scores is not None
        assert segmenter.scores.shape == (11, *own_hw)
    with pytest.raises(UsageError) as caught:
        choose(str(path), size_hw=(48, 64))
    height, width = own_hw
    assert str(caught.value) == (
        f"{path} takes {height}x{width} frames only: use size_hw=({height}, {width})"
    )


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "none.engine"
    with pytest.raises(EngineError) as caught:
        choose(str(missing))
    assert str(caught.value) == (f"no engine at {missing}: build one with 'roadseg build-engine'")


def test_engines_are_built_for_any_size() -> None:
    chosen = choose("segnet-lite", "tensorrt", size_hw=(45, 61))
    assert chosen.network_hw((360, 480)) == (45, 61)
    assert chosen.precision == "fp16"


def test_an_engine_for_another_backend() -> None:
    with pytest.raises(UsageError) as caught:
        choose("lite.engine", "openvino")
    assert str(caught.value) == (
        'the openvino backend does not take .engine files (lite.engine): use backend="tensorrt"'
    )


def test_a_model_that_no_engine_can_be_built_from(xml_file: Path) -> None:
    with pytest.raises(UsageError) as caught:
        choose(str(xml_file), "tensorrt")
    assert str(caught.value) == (
        f'the tensorrt backend does not take .xml files ({xml_file}): use backend="openvino"'
    )


@pytest.mark.parametrize("backend", ["auto", "openvino", "torch", "fake"])
def test_sides_are_multiples_of_32(backend: str, xml_file: Path, pt_file: Path) -> None:
    model = str(pt_file if backend == "torch" else xml_file)
    assert choose(model, backend).network_hw((360, 480)) == (352, 480)
    assert choose(model, backend, size_hw=(32, 64)).network_hw((360, 480)) == (32, 64)
    with pytest.raises(UsageError) as caught:
        choose(model, backend, size_hw=(48, 64))
    assert str(caught.value) == (
        "size 48x64 does not fit the network, whose sides are multiples of 32: use "
        "size_hw=(32, 64) or size_hw=(64, 64)"
    )


def test_unknown_backend() -> None:
    with pytest.raises(UsageError) as caught:
        choose("x", "x")
    assert (
        str(caught.value)
        == 'unknown backend \'x\': use backend="auto"|"tensorrt"|"openvino"|"torch"|"fake"'
    )


def test_the_wrong_file_for_the_backend(xml_file: Path, pt_file: Path) -> None:
    with pytest.raises(UsageError) as caught:
        choose(str(pt_file), "openvino")
    assert str(caught.value) == (
        f"the openvino backend does not take .safetensors files ({pt_file}): use "
        f"backend=\"torch\", or 'roadseg export --model {pt_file} --output lite.onnx'"
    )
    with pytest.raises(UsageError) as caught:
        choose(str(xml_file), "torch")
    assert str(caught.value) == (
        f'the torch backend does not take .xml files ({xml_file}): use backend="openvino"'
    )


# Decided once.


def test_a_choice_is_opened_for_several_sizes_without_looking_at_the_file_again(
    xml_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    real = resolve.sha256_of
    monkeypatch.setattr(resolve, "sha256_of", lambda path: hashed.append(path) or real(path))
    with roadseg.Segmenter(xml_file, threads=1) as segmenter:
        once = len(hashed)
        assert once > 0
        for size_hw in ((64, 96), (96, 64), (64, 64)):
            segmenter(np.zeros((*size_hw, 3), np.uint8))
        assert segmenter.choice.backend == "openvino"
        assert len(hashed) == once


def test_a_choice_cannot_be_changed(xml_file: Path) -> None:
    chosen = choose(str(xml_file))
    with pytest.raises(FrozenInstanceError):
        chosen.backend = "torch"  # type: ignore[misc]


def test_the_fake_backend_has_no_weights() -> None:
    assert choose("segnet-lite", "fake").weights() is None
