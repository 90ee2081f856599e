"""The quickly deployable plugins: asked by the real Python layer, their kernels run on the CPU."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable
from ctypes import c_int32, c_void_p
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from roadseg.backends.tensorrt import portable
from roadseg.backends.tensorrt.formats import combinations
from roadseg.backends.tensorrt.portable import ARGUMENT_ORDERS, register_portable
from roadseg.core.errors import BackendError
from roadseg.kernels.kernels import (
    Layout,
    Variant,
    pool_launch,
    storage_bytes,
    unpool_launch,
    variants,
)
from roadseg.kernels.layouts import from_layout, to_layout
from roadseg.kernels.nvrtc import compile_kernels
from roadseg.kernels.ptx import cuda_release, entry_ptx
from roadseg.testing.cuda import SimulatedCuda
from roadseg.testing.host_kernels import host_kernels
from tests.support import pooling as pytorch
from tests.support.tensorrt import plugins as standin

pytestmark = pytest.mark.usefixtures("as_typed")

Ask = Callable[..., list[dict[str, Any]]]

VARIANTS = [
    Variant(op, kind.dtype, kind.layout, kind.index_layout)
    for op in ("pool", "unpool")
    for kind in combinations((11, 4, 0))
]
SHAPES = [(1, 3, 5, 7), (2, 16, 6, 32), (3, 33, 45, 60), (1, 64, 360, 480)]


@pytest.fixture(scope="module")
def ptx() -> bytes:
    if importlib.util.find_spec("cuda") is None:
        pytest.skip("cuda-bindings is not installed: pip install 'roadseg[test]' on Linux x86-64")
    return compile_kernels((9, 0), output="ptx", cache=False)


@pytest.fixture(scope="module")
def ask(
    run_with_bindings: Callable[..., str], ptx: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Ask:
    """Put cases to the real Python layer; see `portable` in with_real_bindings.py."""
    path = tmp_path_factory.mktemp("ptx") / "kernels.ptx"
    path.write_bytes(ptx)

    def put(cases: list[dict[str, Any]], argument_order: str | None = None) -> list[dict[str, Any]]:
        order = "" if argument_order is None else f", {argument_order!r}"
        output = run_with_bindings(
            "from tests.support.tensorrt import with_real_bindings as w; "
            f"w.portable({str(path)!r}, {cases!r}{order})"
        )
        answers: list[dict[str, Any]] = json.loads(output.splitlines()[-1])
        return answers

    return put


def case_of(
    variant: Variant, large: tuple[int, ...], *, open_batch: bool = False
) -> dict[str, Any]:
    return {
        "op": variant.op,
        "dtype": variant.dtype,
        "layout": variant.layout.value,
        "index_layout": variant.index_layout.value,
        "large": list(large),
        "open_batch": open_batch,
    }


def parameters(ptx: str, symbol: str) -> list[tuple[str, int]]:
    """Type of each of a kernel's parameters, and its place in the source."""
    header = re.search(rf"\.entry {symbol}\((.*?)\)", ptx, re.DOTALL)
    assert header is not None
    found = re.findall(rf"\.param \.(u\d+).*?{symbol}_param_(\d+)", header[1])
    return [(kind, int(place)) for kind, place in found]


def test_every_answer_is_what_the_launcher_computes(ask: Ask) -> None:
    """Kernel, grid, block and integers: from expressions of open dimensions as from numbers."""
    cases = [
        case_of(variant, large, open_batch=open_batch)
        for variant in VARIANTS
        for large in SHAPES
        for open_batch in (False, True)
    ]
    for case, found in zip(cases, ask(cases), strict=True):
        variant = Variant(
            case["op"], case["dtype"], Layout(case["layout"]), Layout(case["index_layout"])
        )
        batch, channels, height, width = case["large"]
        small = (batch, channels, (height + 1) // 2, (width + 1) // 2)
        if variant.op == "pool":
            launch = pool_launch(variant, (batch, channels, height, width), 0, 0, 0)
            extra = [batch, channels, height, width]
        else:
            crop_hw = (height % 2, width % 2)
            launch = unpool_launch(variant, small, crop_hw, 0, 0, 0)
            extra = [*small, *crop_hw]
        assert found["symbol"] == launch.symbol == variant.symbol
        assert found["grid"] == list(launch.grid)
        assert found["block"] == list(launch.block)
        assert found["shared_mem"] == 0
        assert found["extra"] == extra


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ compiles the kernels for the CPU")
@pytest.mark.parametrize("large", SHAPES[:2])
def test_what_is_launched_gives_what_pytorch_gives(
    ask: Ask, large: tuple[int, int, int, int]
) -> None:
    """Inputs, extra arguments, outputs, in this order, as TensorRT documents it. Exact."""
    kernels = host_kernels()
    small = (*large[:2], (large[2] + 1) // 2, (large[3] + 1) // 2)
    answers = ask([case_of(variant, large) for variant in VARIANTS])
    for variant, found in zip(VARIANTS, answers, strict=True):
        x = pytorch.random_values(large, variant.dtype, 1)
        small_x = pytorch.random_values(small, variant.dtype, 2)
        y, index = pytorch.pool(x)
        if variant.op == "pool":
            inputs = [aligned(to_layout(x, variant.layout))]
            outputs = [
                aligned(
                    np.full(storage_bytes(variant.dtype, variant.layout, small), 0xCD, np.uint8)
                ),
                aligned(
                    np.full(storage_bytes("int8", variant.index_layout, small), 0xCD, np.uint8)
                ),
            ]
        else:
            inputs = [
                aligned(to_layout(small_x, variant.layout)),
                aligned(to_layout(index, variant.index_layout)),
            ]
            size = storage_bytes(variant.dtype, variant.layout, large)
            outputs = [aligned(np.full(size, 0xCD, np.uint8))]
        kernels[found["symbol"]](
            tuple(found["grid"]),
            tuple(found["block"]),
            [
                *(c_void_p(tensor.ctypes.data) for tensor in inputs),
                *(c_int32(value) for value in found["extra"]),
                *(c_void_p(tensor.ctypes.data) for tensor in outputs),
            ],
        )
        values = outputs[0].view(pytorch.NUMPY_TYPES[variant.dtype])
        if variant.op == "pool":
            np.testing.assert_array_equal(from_layout(values, variant.layout, small), y)
            found_index = from_layout(outputs[1].view(np.int8), variant.index_layout, small)
            np.testing.assert_array_equal(found_index, index)
        else:
            expected = pytorch.unpool(small_x, x)
            np.testing.assert_array_equal(from_layout(values, variant.layout, large), expected)


def aligned(array: Any) -> Any:
    """A copy of an array as bytes, at an address like those that TensorRT gives."""
    flat = np.frombuffer(array.tobytes(), np.uint8)
    room = np.empty(flat.size + 256, np.uint8)
    start = -room.ctypes.data % 256
    room[start : start + flat.size] = flat
    return room[start : start + flat.size]


def test_each_plugin_holds_its_own_kernel_only(ask: Ask, ptx: bytes) -> None:
    for variant, found in zip(
        VARIANTS, ask([case_of(variant, (1, 32, 8, 8)) for variant in VARIANTS]), strict=True
    ):
        code = found["ptx"]
        assert re.findall(r"\.entry (\w+)", code) == [variant.symbol]
        assert code.startswith(ptx.decode().split(".visible")[0])
        assert code.rstrip().endswith("}")
        assert code.count("{") == code.count("}")
        kinds = [kind for kind, _ in parameters(code, variant.symbol)]
        pointers, integers = ["u64"], ["u32"]
        if variant.op == "pool":
            assert kinds == pointers + integers * 4 + pointers * 2
        else:
            assert kinds == pointers * 2 + integers * 6 + pointers


def test_outputs_before_extra_arguments(ask: Ask) -> None:
    """The other order that samples show: the same kernels, their parameters declared anew."""
    assert ARGUMENT_ORDERS == ("inputs, extra, outputs", "inputs, outputs, extra")
    pool, unpool = (
        next(v for v in VARIANTS if (v.op, v.layout) == (op, Layout.HWC8))
        for op in ("pool", "unpool")
    )
    cases = [case_of(pool, (1, 16, 5, 6)), case_of(unpool, (1, 16, 5, 6))]
    documented = ask(cases, ARGUMENT_ORDERS[0])
    other = ask(cases, ARGUMENT_ORDERS[1])
    for (variant, places), before, after in zip(
        ((pool, [0, 5, 6, 1, 2, 3, 4]), (unpool, [0, 1, 8, 2, 3, 4, 5, 6, 7])),
        documented,
        other,
        strict=True,
    ):
        assert parameters(after["ptx"], variant.symbol) == [
            parameters(before["ptx"], variant.symbol)[place] for place in places
        ]
        # The body knows its parameters by name and stays as it is.
        body = before["ptx"].index(".maxntid")
        assert after["ptx"].endswith(before["ptx"][body:])
        assert {**after, "ptx": ""} == {**before, "ptx": ""}


def test_one_kernel_out_of_several(ptx: bytes) -> None:
    text = ptx.decode()
    for variant in variants():
        assert re.findall(r"\.entry (\w+)", entry_ptx(text, variant.symbol)) == [variant.symbol]


def test_kernels_that_are_not_there(ptx: bytes) -> None:
    with pytest.raises(ValueError, match="^the compiled code has no kernel nothing$"):
        entry_ptx(ptx.decode(), "nothing")
    symbol = variants()[0].symbol
    with pytest.raises(ValueError, match=f"^{symbol} has 7 parameters, not 2$"):
        entry_ptx(ptx.decode(), symbol, (0, 1))


class Layer(ModuleType):
    """A `tensorrt.plugin` where everything is registered."""

    op = SimpleNamespace(roadseg_portable=SimpleNamespace(MaxPoolIndex=0, MaxUnpoolIndex=0))


@pytest.fixture
def aot_tensorrt(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A TensorRT with ahead-of-time plugins; nothing has been compiled yet."""
    monkeypatch.setitem(sys.modules, "tensorrt.plugin", Layer("tensorrt.plugin"))
    monkeypatch.setattr(portable, "_TARGET", portable._Target())
    trt = standin.make("10.9.0")
    trt.QuickPluginCreationRequest = object
    return trt


@pytest.mark.parametrize(
    ("driver_cuda", "install"),
    [
        ((12, 4), "'nvidia-cuda-nvrtc-cu12==12.4.*' 'cuda-bindings<13'"),
        ((13, 0), "'nvidia-cuda-nvrtc==13.0.*'"),
    ],
)
def test_the_driver_must_understand_the_compiler(
    aot_tensorrt: Any,
    monkeypatch: pytest.MonkeyPatch,
    driver_cuda: tuple[int, int],
    install: str,
) -> None:
    ptx = b"//\n// Cuda compilation tools, release 13.5, V13.5.37\n"
    cuda = SimulatedCuda(compute_capability=(9, 0))
    monkeypatch.setattr(portable, "load_cuda", lambda: cuda)
    monkeypatch.setattr(portable, "compile_kernels", lambda capability, output: ptx)
    cuda.device = dataclasses.replace(cuda.device, driver_cuda=driver_cuda)
    with pytest.raises(BackendError) as caught:
        register_portable(aot_tensorrt)
    found = ".".join(map(str, driver_cuda))
    assert str(caught.value) == (
        f"NVRTC 13.5 writes PTX that this driver (CUDA {found}) cannot read: update the driver,"
        f" or pip install {install}"
    )
    cuda.device = dataclasses.replace(cuda.device, driver_cuda=(13, 5))
    register_portable(aot_tensorrt)
    assert portable._TARGET.ptx == ptx


def test_the_kernels_are_compiled_for_the_gpu_named(
    aot_tensorrt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def compile_kernels(compute_capability: tuple[int, int], *, output: str) -> bytes:
        asked.append((compute_capability, output))
        return b"ptx"

    monkeypatch.setattr(portable, "compile_kernels", compile_kernels)
    register_portable(aot_tensorrt, (8, 7))
    # What was named before stays; a machine without a GPU is not asked for one.
    register_portable(aot_tensorrt)
    register_portable(aot_tensorrt, argument_order=ARGUMENT_ORDERS[1])
    assert asked == [((8, 7), "ptx")]
    register_portable(aot_tensorrt, ptx=b"given")
    assert asked == [((8, 7), "ptx")]
    assert portable._TARGET.ptx == b"given"
    assert portable._TARGET.argument_order == ARGUMENT_ORDERS[1]


def test_the_compiler_names_itself(ptx: bytes) -> None:
    assert cuda_release(ptx.decode()) >= (12, 0)


def test_code_of_an_unknown_compiler() -> None:
    with pytest.raises(ValueError, match="^the compiled code does not name its compiler$"):
        cuda_release(".version 8.0\n")


@pytest.mark.parametrize("version", ["10.3.0.26", "10.8.0"])
def test_a_tensorrt_without_ahead_of_time_plugins(version: str) -> None:
    with pytest.raises(BackendError) as caught:
        register_portable(standin.make(version))
    assert str(caught.value) == (
        f"TensorRT {version} has no ahead-of-time plugins:"
        " build without --portable, or install TensorRT 10.9 or newer: pip install "
        "--upgrade tensorrt"
    )
