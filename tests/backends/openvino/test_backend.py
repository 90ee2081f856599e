"""The OpenVINO backend: agreement with PyTorch, and every way in which it says no."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from torch import nn

from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.backends.torch.backend import TorchBackend
from roadseg.core.errors import BackendError, ModelError, UsageError
from roadseg.export.onnx import build_onnx, save_onnx

EXPECTED = (
    "a roadseg network takes uint8 frames (N, H, W, 3) and gives uint8 labels (N, H, W): "
    "write one with 'roadseg export'"
)


def create(
    path: Any, size_hw: tuple[int, int] = (64, 96), threads: int | None = None
) -> OpenVinoBackend:
    return OpenVinoBackend(path, size_hw, name="lite", precision="fp32", threads=threads)


def frames(size_hw: tuple[int, int], count: int = 1) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, *size_hw, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def fixed_onnx_file(network: nn.Module, pt_file: Path) -> Path:
    path = pt_file.with_name("fixed.onnx")
    save_onnx(build_onnx(network, "segnet-lite", size_hw=(45, 60)), path)
    return path


@pytest.mark.parametrize("size_hw", [(64, 96), (96, 32)])
def test_it_agrees_with_pytorch(size_hw: tuple[int, int], xml_file: Path, pt_file: Path) -> None:
    batch = frames(size_hw, 2)
    expected = TorchBackend(pt_file, size_hw, device="cpu").infer(batch)
    labels = create(xml_file, size_hw).infer(batch)
    # See tests/export/test_onnx_agreement.py for the tolerance of small frames.
    assert (labels == expected).mean() >= 0.995


def test_int8_networks_of_earlier_versions_run(
    network: nn.Module, pt_file: Path, tmp_path: Path
) -> None:
    """NNCF made those: a FakeQuantize behind each ReLU, and weights of one byte with a factor."""
    from openvino import opset13 as ops

    from roadseg.export.ir import finish_ir, from_onnx, save_ir

    model = from_onnx(build_onnx(network, "segnet-lite"))
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Relu":
            readers = list(node.output(0).get_target_inputs())
            ends = [ops.constant(np.float32(value)) for value in (0, 4, 0, 4)]
            quantised = ops.fake_quantize(node.output(0), *ends, levels=256)
            for reader in readers:
                reader.replace_source_output(quantised.output(0))
        elif node.get_type_name() == "Convolution":
            weights = node.input_value(1).get_node().get_data()
            scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
            stored = ops.constant(np.rint(weights / scale).astype(np.int8))
            restored = ops.multiply(ops.convert(stored, "f32"), ops.constant(scale))
            node.input(1).replace_source_output(restored.output(0))
    finish_ir(model)
    path = tmp_path / "older-int8.xml"
    save_ir(model, path, precision="int8")
    batch = frames((64, 96))
    assert path.with_suffix(".bin").stat().st_size < 6e6
    backend = create(path)
    np.testing.assert_array_equal(backend.infer(batch), create(model).infer(batch))
    facts = [node.get_rt_info() for node in backend._compiled.get_runtime_model().get_ops()]
    kinds = {
        fact["runtimePrecision"].astype(str)
        for fact in facts
        if fact["layerType"].astype(str) == "Convolution"
    }
    assert kinds & {"u8", "i8"}


def test_info(xml_file: Path) -> None:
    info = create(xml_file, threads=1).info
    assert (info.name, info.model, info.precision) == ("openvino", "lite", "fp32")
    assert info.device == "CPU (1 thread)"
    # How many it takes by itself depends on the machine, and on what the process is bound to.
    assert re.fullmatch(r"CPU \(\d+ threads?\)", create(xml_file).info.device)


def test_a_model_in_memory_is_not_changed(xml_file: Path) -> None:
    model = ov.Core().read_model(str(xml_file))
    before = str(model.inputs[0].get_partial_shape())
    create(model).infer(frames((64, 96)))
    assert str(model.inputs[0].get_partial_shape()) == before


def test_a_model_of_one_size(fixed_onnx_file: Path) -> None:
    backend = create(fixed_onnx_file, (45, 60))
    assert backend.infer(frames((45, 60), 2)).shape == (2, 45, 60)
    with pytest.raises(UsageError) as caught:
        create(fixed_onnx_file)
    assert str(caught.value) == f"{fixed_onnx_file} takes 45x60 frames only: use size_hw=(45, 60)"


@pytest.mark.parametrize(
    ("size_hw", "near"), [((60, 96), (64, 96)), ((64, 100), (64, 96)), ((1, 1), (32, 32))]
)
def test_sizes_that_are_no_multiples(
    size_hw: tuple[int, int], near: tuple[int, int], xml_file: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        create(xml_file, size_hw)
    assert str(caught.value) == (
        f"network input {size_hw[0]}x{size_hw[1]}: its sides must be multiples of 32: "
        f"use size_hw={near}"
    )


def test_a_closed_backend(xml_file: Path) -> None:
    backend = create(xml_file)
    backend.close()
    backend.close()
    with pytest.raises(BackendError) as caught:
        backend.infer(frames((64, 96)))
    assert str(caught.value) == "the openvino backend is closed: create another one"


def test_a_damaged_file(tmp_path: Path) -> None:
    for name in ("broken.xml", "broken.onnx"):
        path = tmp_path / name
        path.write_bytes(b"this is not a model")
        path.with_suffix(".bin").write_bytes(b"")
        with pytest.raises(ModelError) as caught:
            create(path)
        text = str(caught.value)
        assert text.startswith(f"{path} is damaged or no model for OpenVINO (")
        assert text.endswith("): copy it again or write it with 'roadseg export'")
        assert "\n" not in text


def test_a_model_of_others(tmp_path: Path) -> None:
    ops = ov.opset13
    floats = ops.parameter([1, 64, 96, 3], np.float32)
    no_batch = ops.parameter([64, 96, 3], np.uint8)
    grey = ops.parameter([1, 64, 96, 1], np.uint8)
    for number, port in enumerate((floats, no_batch, grey)):
        path = tmp_path / f"other{number}.xml"
        ov.save_model(ov.Model([ops.relu(ops.convert(port, "f32"))], [port], "other"), str(path))
        with pytest.raises(ModelError) as caught:
            create(path)
        assert str(caught.value) == f"{path} has other inputs or outputs: {EXPECTED}"


def test_missing_openvino(monkeypatch: pytest.MonkeyPatch, xml_file: Path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendError) as caught:
        create(xml_file)
    assert str(caught.value) == (
        "OpenVINO cannot be loaded (import of openvino halted; None in "
        "sys.modules): pip install roadseg"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack as Linux lays it out")
def test_the_main_thread_keeps_its_signal_stack(xml_file: Path) -> None:
    class Stack(ctypes.Structure):
        _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

    def current() -> tuple[int | None, int, int]:
        stack = Stack()
        assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
        return stack.sp, stack.flags, stack.size

    before = current()
    backend = create(xml_file)
    backend.infer(frames((64, 96)))
    assert current() == before


class FailingRequest:
    """An inference request that fails as OpenVINO does."""

    def infer(self, *_args: object, **_kwargs: object) -> None:
        raise RuntimeError(
            "Exception from src/inference/src/cpp/infer_request.cpp:223:\nno memory\n"
        )


def test_a_runtime_failure_is_translated(xml_file: Path) -> None:
    backend = create(xml_file)
    backend._request = FailingRequest()
    with pytest.raises(BackendError) as caught:
        backend.infer(frames((64, 96)))
    assert str(caught.value) == (
        "OpenVINO failed while inferring (no memory): see 'roadseg doctor', or use another backend"
    )


def test_a_compiler_failure_is_translated(xml_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("Exception from core.cpp:1:\nunsupported processor\n")

    monkeypatch.setattr(ov.Core, "compile_model", fail)
    with pytest.raises(BackendError) as caught:
        create(xml_file)
    assert (
        str(caught.value)
        == f"OpenVINO cannot compile {xml_file} (unsupported processor): see 'roadseg doctor'"
    )


def test_a_quota_gives_the_network_its_whole_cores(
    xml_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO counts the cores that are visible, and would be held back within each frame."""
    monkeypatch.setattr("roadseg.core.processor.cpu_quota", lambda: 1.5)
    monkeypatch.setattr("roadseg.backends.openvino.backend.cpu_quota", lambda: 1.5)
    assert create(xml_file).info.device == "CPU (1 thread)"


@pytest.mark.parametrize(("threads", "pinned"), [(1, False), (2, False), (None, True)])
def test_threads_that_are_counted_may_run_on_any_core(
    xml_file: Path, threads: int | None, pinned: bool
) -> None:
    """Several processes would have theirs on the first core, and the others idle."""
    backend = OpenVinoBackend(xml_file, (64, 96), name="lite", precision="fp32", threads=threads)
    try:
        assert backend._compiled.get_property("ENABLE_CPU_PINNING") in {pinned, False}
    finally:
        backend.close()
