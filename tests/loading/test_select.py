"""From a name to a backend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roadseg.backends import gpu
from roadseg.backends.fake import FakeBackend
from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.backends.torch import gpu as torch_gpu
from roadseg.backends.torch.backend import TorchBackend
from roadseg.core.errors import BackendError, EngineError, UsageError
from roadseg.engine.runtime import Runtime
from roadseg.loading import select
from roadseg.loading.select import (
    BACKEND_NAMES,
    choose_backend,
    create_backend,
    fixed_size,
    input_multiple,
    model_classes,
)
from roadseg.testing.cuda import SimulatedCuda


class Machine:
    """What the machine has: changes what `auto` means."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.driver = False
        self.no_tensorrt: str | None = None
        self.torch_gpu = False
        self.asked: list[str] = []
        monkeypatch.setattr(select, "has_nvidia_driver", lambda: self.driver)
        monkeypatch.setattr(select, "why_not_tensorrt", self._why_not_tensorrt)
        monkeypatch.setattr(torch_gpu, "torch_sees_gpu", self._torch_sees_gpu)

    def _why_not_tensorrt(self) -> str | None:
        self.asked.append("tensorrt")
        return self.no_tensorrt

    def _torch_sees_gpu(self) -> bool:
        self.asked.append("torch")
        return self.torch_gpu


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Without a GPU, whatever the tests run on."""
    return Machine(monkeypatch)


def test_names_and_types(xml_file: Path, pt_file: Path) -> None:
    assert BACKEND_NAMES == ("auto", "tensorrt", "openvino", "torch", "fake")
    assert isinstance(create_backend(str(xml_file), "auto", (32, 32)), OpenVinoBackend)
    assert isinstance(create_backend(str(xml_file), "openvino", (32, 32)), OpenVinoBackend)
    assert isinstance(create_backend(str(pt_file), "torch", (32, 32)), TorchBackend)
    assert isinstance(create_backend("anything", "fake", (32, 32)), FakeBackend)


def test_model_threads_and_size_are_passed_on(xml_file: Path) -> None:
    backend = create_backend(str(xml_file), "auto", (32, 64), threads=1)
    assert backend.network_hw == (32, 64)
    assert backend.info.model == "lite"
    assert backend.info.precision == "fp32"
    assert backend.info.device == "CPU (1 thread)"


# What `auto` means.


def test_without_a_driver_it_is_openvino_and_nothing_is_asked(machine: Machine) -> None:
    lines: list[str] = []
    assert choose_backend("segnet-lite", report=lines.append) == "openvino"
    assert machine.asked == lines == []


def test_tensorrt_where_it_works(machine: Machine, pt_file: Path) -> None:
    machine.driver = True
    lines: list[str] = []
    assert choose_backend("segnet-lite", report=lines.append) == "tensorrt"
    assert choose_backend(str(pt_file), report=lines.append) == "tensorrt"
    assert machine.asked == ["tensorrt", "tensorrt"], "PyTorch need not be loaded"
    assert lines == []


def test_pytorch_where_tensorrt_does_not_work(machine: Machine) -> None:
    machine.driver, machine.torch_gpu = True, True
    machine.no_tensorrt = "TensorRT is not installed: pip install tensorrt"
    lines: list[str] = []
    assert choose_backend("segnet-lite", report=lines.append) == "torch"
    assert lines == [
        "running on torch, because TensorRT cannot be used: TensorRT is not installed: "
        "pip install tensorrt"
    ]
    assert choose_backend("segnet-lite") == "torch"


def test_openvino_where_neither_works(machine: Machine) -> None:
    machine.driver, machine.no_tensorrt = True, "no CUDA-capable device"
    lines: list[str] = []
    assert choose_backend("segnet-lite", report=lines.append) == "openvino"
    assert lines == ["running on openvino, because TensorRT cannot be used: no CUDA-capable device"]


def test_files_go_to_the_backend_that_takes_them(machine: Machine, tmp_path: Path) -> None:
    machine.driver = True
    assert choose_backend("mine.xml") == choose_backend("mine.onnx") == "openvino"
    assert choose_backend("unheard-of") == "openvino", "which says that there is no such model"
    machine.driver = False
    assert choose_backend("mine.engine") == choose_backend("mine.ENGINE") == "tensorrt"
    assert machine.asked == []


def test_pytorch_takes_its_files_where_tensorrt_cannot(
    machine: Machine, pt_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_backend(str(pt_file)) == "torch"
    assert machine.asked == []
    assert isinstance(create_backend(str(pt_file), "auto", (32, 32)), TorchBackend)
    assert input_multiple(str(pt_file), "auto") == 32
    machine.driver, machine.no_tensorrt = True, "no CUDA-capable device"
    lines: list[str] = []
    assert choose_backend(str(pt_file), report=lines.append) == "torch"
    assert lines == ["running on torch, because TensorRT cannot be used: no CUDA-capable device"]
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError) as caught:
        choose_backend(str(pt_file))
    assert str(caught.value) == (
        f"{pt_file} needs PyTorch, which is not installed: pip install 'roadseg[train]', "
        "or turn it into a file for OpenVINO where PyTorch is: 'roadseg export --model "
        f"{pt_file} --output lite.onnx'"
    )


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
        "use --target tensorrt"
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
    assert "roadseg.backends.tensorrt.build.builder" not in loaded


# The sizes that a model takes.


def test_engines_take_their_own_size(rig: Any, tmp_path: Path) -> None:
    engine = rig.engine_file(tmp_path / "lite.engine", rig.plan((1, 1), (45, 60)))
    assert fixed_size(str(engine.path)) == (45, 60)
    assert input_multiple(str(engine.path), "auto") == 1
    assert fixed_size("segnet-lite") is None
    alone = tmp_path / "alone.engine"
    alone.write_bytes(b"")
    with pytest.raises(EngineError) as caught:
        fixed_size(str(alone))
    assert str(caught.value) == (
        f"{alone} has no manifest (alone.engine.json beside it): copy it along, or build the "
        "engine again with 'roadseg build-engine'"
    )


@pytest.mark.parametrize(
    "ask", [fixed_size, lambda model: model_classes(model, "auto")], ids=["size", "classes"]
)
def test_an_engine_that_is_not_there(ask: Any, tmp_path: Path) -> None:
    missing = tmp_path / "none.engine"
    with pytest.raises(EngineError) as caught:
        ask(str(missing))
    assert str(caught.value) == (f"no engine at {missing}: build one with 'roadseg build-engine'")


def test_engines_are_built_for_any_size() -> None:
    assert input_multiple("segnet-lite", "tensorrt") == 1


def test_an_engine_for_another_backend() -> None:
    with pytest.raises(UsageError) as caught:
        input_multiple("lite.engine", "openvino")
    assert str(caught.value) == (
        'the openvino backend does not take .engine files (lite.engine): use backend="tensorrt"'
    )


def test_a_model_that_no_engine_can_be_built_from(xml_file: Path) -> None:
    with pytest.raises(UsageError) as caught:
        input_multiple(str(xml_file), "tensorrt")
    assert str(caught.value) == (
        f'the tensorrt backend does not take .xml files ({xml_file}): use backend="openvino"'
    )


@pytest.mark.parametrize("backend", ["auto", "openvino", "torch", "fake"])
def test_input_multiple(backend: str, xml_file: Path, pt_file: Path) -> None:
    model = pt_file if backend == "torch" else xml_file
    assert input_multiple(str(model), backend) == 32


def test_unknown_backend() -> None:
    for call in (lambda: create_backend("x", "x", (32, 32)), lambda: input_multiple("x", "x")):
        with pytest.raises(UsageError) as caught:
            call()
        assert (
            str(caught.value)
            == 'unknown backend \'x\': use backend="auto"|"tensorrt"|"openvino"|"torch"|"fake"'
        )


def test_the_wrong_file_for_the_backend(xml_file: Path, pt_file: Path) -> None:
    with pytest.raises(UsageError) as caught:
        create_backend(str(pt_file), "openvino", (32, 32))
    assert str(caught.value) == (
        f"the openvino backend does not take .safetensors files ({pt_file}): use "
        f"backend=\"torch\", or 'roadseg export --model {pt_file} --output lite.onnx'"
    )
    with pytest.raises(UsageError) as caught:
        input_multiple(str(xml_file), "torch")
    assert str(caught.value) == (
        f'the torch backend does not take .xml files ({xml_file}): use backend="openvino"'
    )
