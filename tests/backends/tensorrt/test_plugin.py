"""The IPluginV3 plugins, played by a stand-in of TensorRT, with the kernels on a simulated GPU."""

from __future__ import annotations

import dataclasses
import gc
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from roadseg.backends.device_kernels import LoadedKernels
from roadseg.backends.tensorrt import index_ops
from roadseg.backends.tensorrt.formats import variant_of
from roadseg.backends.tensorrt.plugin import last_plugin_error, register_plugins
from roadseg.core.errors import BackendError
from roadseg.kernels.kernels import Layout, source_hash, storage_bytes, variants
from roadseg.kernels.layouts import from_layout, to_layout
from roadseg.testing.cuda import SimulatedCuda
from roadseg.testing.host_kernels import host_kernels
from tests.support import pooling as pytorch
from tests.support.tensorrt import plugins as standin

pytestmark = pytest.mark.usefixtures("as_typed")

VERSIONS = ("10.3.0.26", "10.5.0", "10.6.0", "10.16.1.11", "11.4.0.106")
NUMPY_TYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8}
DTYPES = {"FLOAT": "fp32", "HALF": "fp16", "INT8": "int8"}
INPUTS = {"MaxPoolIndex": 1, "MaxUnpoolIndex": 2}

# Layout of the values to that of the index map, by type: what each TensorRT is offered.
SINCE_10_3 = {
    ("FLOAT", "LINEAR"): "LINEAR",
    ("HALF", "LINEAR"): "LINEAR",
    ("HALF", "HWC8"): "CHW32",
    ("INT8", "LINEAR"): "LINEAR",
    ("INT8", "CHW32"): "CHW32",
}
SINCE_10_6 = SINCE_10_3 | {("HALF", "HWC8"): "HWC16", ("INT8", "HWC16"): "HWC16"}

Array = npt.NDArray[Any]


@pytest.fixture
def cuda() -> SimulatedCuda:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: it compiles the kernels for the CPU")
    return SimulatedCuda(host_kernels())


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    """The plugins of one process share a GPU and an error: not so the tests."""
    before = index_ops.STATE.kernels
    last_plugin_error()
    yield
    index_ops.STATE.kernels = before
    last_plugin_error()


def a_tensorrt(version: str = "11.4.0.106", cuda: SimulatedCuda | None = None) -> Any:
    trt = standin.make(version)
    register_plugins(trt, cuda, image=b"simulated" if cuda is not None else None)
    return trt


def create(trt: Any, name: str, crop_hw: tuple[int, int] = (0, 0)) -> Any:
    """A plugin as the parser makes it."""
    creator = trt.get_plugin_registry().get_creator(name, "1", "roadseg")
    given = {"crop_h": crop_hw[0], "crop_w": crop_hw[1]} if name == "MaxUnpoolIndex" else {}
    collection, alive = standin.fields(**given)
    plugin = creator.create_plugin("node", collection, trt.TensorRTPhase.BUILD)
    del alive
    return plugin


def expected_formats(trt: Any, name: str, offered: dict[tuple[str, str], str]) -> set[Any]:
    formats = set()
    for (data_type, layout), index_layout in offered.items():
        values = (trt.DataType[data_type], trt.TensorFormat[layout])
        index = (trt.DataType.INT8, trt.TensorFormat[index_layout])
        pool = name == "MaxPoolIndex"
        formats.add((values, values, index) if pool else (values, index, values))
    return formats


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_formats_offered(version: str, name: str) -> None:
    trt = a_tensorrt(version)
    offered = SINCE_10_3 if version.startswith(("10.3", "10.5")) else SINCE_10_6
    accepted = standin.negotiate(trt, create(trt, name), INPUTS[name])
    assert accepted == expected_formats(trt, name, offered)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pair_cannot_disagree_about_the_index_map(version: str) -> None:
    trt = a_tensorrt(version)
    pool = standin.negotiate(trt, create(trt, "MaxPoolIndex"), 1)
    unpool = standin.negotiate(trt, create(trt, "MaxUnpoolIndex"), 2)
    index_of_pool = {values: index for values, _, index in pool}
    index_of_unpool = {values: index for values, index, _ in unpool}
    # One index format for each format of the values, and the same one on both sides.
    assert len(index_of_pool) == len(pool)
    assert len(index_of_unpool) == len(unpool)
    assert index_of_pool == index_of_unpool


def test_every_format_has_its_kernel() -> None:
    offered = set()
    for version in VERSIONS:
        trt = a_tensorrt(version)
        for name, inputs in INPUTS.items():
            plugin = create(trt, name)
            for formats in standin.negotiate(trt, plugin, inputs):
                offered.add(variant_of(trt, plugin.op, formats))
    assert offered == set(variants())


@pytest.mark.parametrize("values", ["FLOAT", "HALF", "INT8"])
def test_values_keep_their_type_and_the_index_map_is_int8(values: str) -> None:
    trt = a_tensorrt()
    value_type, int8 = trt.DataType[values], trt.DataType.INT8
    pool, unpool = (create(trt, name) for name in INPUTS)
    assert pool.get_output_data_types([value_type]) == [value_type, int8]
    assert unpool.get_output_data_types([value_type, int8]) == [value_type]
    assert (pool.num_outputs, unpool.num_outputs) == (2, 1)


@pytest.mark.parametrize("hw", [(1, 1), (2, 2), (5, 8), (45, 60), (23, 31)])
def test_shapes_there_and_back(hw: tuple[int, int]) -> None:
    trt = a_tensorrt()
    shape = (3, 64, *hw)
    small = (3, 64, (hw[0] + 1) // 2, (hw[1] + 1) // 2)
    pool = create(trt, "MaxPoolIndex")
    assert standin.output_shapes(trt, pool, [shape]) == [small, small]
    unpool = create(trt, "MaxUnpoolIndex", (hw[0] % 2, hw[1] % 2))
    assert standin.output_shapes(trt, unpool, [small, small]) == [shape]


def test_other_ranks_are_refused() -> None:
    trt = a_tensorrt()
    pool = create(trt, "MaxPoolIndex")
    with pytest.raises(ValueError, match=r"^expected \(N, C, H, W\), got 3 dimensions$"):
        standin.output_shapes(trt, pool, [(64, 8, 8)])
    assert last_plugin_error() == (
        "MaxPoolIndex.get_output_shapes: expected (N, C, H, W), got 3 dimensions"
    )
    assert last_plugin_error() is None


class Device:
    """Tensors on the simulated GPU, in TensorRT's layouts."""

    def __init__(self, cuda: SimulatedCuda) -> None:
        self.cuda = cuda
        self.stream = cuda.stream()

    def upload(self, nchw: Array, layout: Layout) -> Any:
        memory = to_layout(nchw, layout)
        pinned = self.cuda.pinned(memory.nbytes)
        pinned.array[:] = np.frombuffer(memory.tobytes(), np.uint8)
        buffer = self.cuda.malloc(memory.nbytes)
        self.cuda.copy_to_device(buffer.pointer, pinned.pointer, memory.nbytes, self.stream)
        self.stream.synchronize()
        return buffer

    def empty(self, data_type: str, layout: Layout, nchw: tuple[int, int, int, int]) -> Any:
        return self.cuda.malloc(storage_bytes(DTYPES[data_type], layout, nchw))

    def download(
        self, buffer: Any, data_type: str, layout: Layout, nchw: tuple[int, int, int, int]
    ) -> Array:
        pinned = self.cuda.pinned(buffer.nbytes)
        self.cuda.copy_to_host(pinned.pointer, buffer.pointer, buffer.nbytes, self.stream)
        self.stream.synchronize()
        return from_layout(pinned.array.view(NUMPY_TYPES[data_type]).copy(), layout, nchw)


def descs_of(formats: Sequence[Any], shapes: Sequence[Any]) -> list[Any]:
    return [
        standin.describe(data_type, layout, shape).desc
        for (data_type, layout), shape in zip(formats, shapes, strict=True)
    ]


CASES = [
    (version, data_type, layout, index_layout)
    for version, offered in (("10.3.0.26", SINCE_10_3), ("11.4.0.106", SINCE_10_6))
    for (data_type, layout), index_layout in offered.items()
]


@pytest.mark.parametrize("nchw", [(1, 3, 5, 7), (2, 16, 6, 32), (2, 33, 3, 4), (1, 8, 1, 1)])
@pytest.mark.parametrize(("version", "data_type", "layout", "index_layout"), CASES)
def test_pool_and_unpool_give_what_pytorch_gives(
    cuda: SimulatedCuda,
    version: str,
    data_type: str,
    layout: str,
    index_layout: str,
    nchw: tuple[int, int, int, int],
) -> None:
    """Built, serialised, loaded, attached, run: the way of a plugin through TensorRT. Exact."""
    trt = a_tensorrt(version, cuda)
    device = Device(cuda)
    values = (trt.DataType[data_type], trt.TensorFormat[layout])
    index = (trt.DataType.INT8, trt.TensorFormat[index_layout])
    kind, index_kind = Layout[layout], Layout[index_layout]
    batch, channels, height, width = nchw
    small = (batch, channels, (height + 1) // 2, (width + 1) // 2)

    x = pytorch.random_values(nchw, DTYPES[data_type], 1)
    small_x = pytorch.random_values(small, DTYPES[data_type], 2)
    x_buffer = device.upload(x, kind)
    small_buffer = device.upload(small_x, kind)
    y_buffer = device.empty(data_type, kind, small)
    index_buffer = device.empty("INT8", index_kind, small)
    large_buffer = device.empty(data_type, kind, nchw)

    for name, formats, shapes, inputs, outputs in (
        (
            "MaxPoolIndex",
            (values, values, index),
            (nchw, small, small),
            [x_buffer.pointer],
            [y_buffer.pointer, index_buffer.pointer],
        ),
        (
            "MaxUnpoolIndex",
            (values, index, values),
            (small, small, nchw),
            [small_buffer.pointer, index_buffer.pointer],
            [large_buffer.pointer],
        ),
    ):
        built = create(trt, name, (height % 2, width % 2)).clone()
        descs = descs_of(formats, shapes)
        dynamic = [standin.describe(*f, (-1, *s[1:])) for f, s in zip(formats, shapes, strict=True)]
        count = INPUTS[name]
        built.configure_plugin(dynamic[:count], dynamic[count:])
        fields = built.get_fields_to_serialize()
        creator = trt.get_plugin_registry().get_creator(name, "1", "roadseg")
        loaded = creator.create_plugin("node", fields, trt.TensorRTPhase.RUNTIME)
        plugin = loaded.attach_to_context(object())
        assert plugin is not loaded
        assert plugin.get_capability_interface(trt.PluginCapabilityType.RUNTIME) is plugin
        plugin.set_tactic(0)
        plugin.on_shape_change(descs[:count], descs[count:])
        plugin.enqueue(descs[:count], descs[count:], inputs, outputs, 0, device.stream.handle)

    expected_y, expected_index = pytorch.pool(x)
    y = device.download(y_buffer, data_type, kind, small)
    found_index = device.download(index_buffer, "INT8", index_kind, small)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(found_index, expected_index)
    large = device.download(large_buffer, data_type, kind, nchw)
    np.testing.assert_array_equal(large, pytorch.unpool(small_x, x))
    assert last_plugin_error() is None


class Pool:
    """A pooling plugin attached to a context, with tensors in FP16 HWC8."""

    def __init__(self, cuda: SimulatedCuda, nchw: tuple[int, int, int, int]) -> None:
        self.trt = a_tensorrt(cuda=cuda)
        self.device = Device(cuda)
        self.nchw = nchw
        self.small = (*nchw[:2], (nchw[2] + 1) // 2, (nchw[3] + 1) // 2)
        self.plugin = create(self.trt, "MaxPoolIndex").attach_to_context(object())
        self.x = self.device.empty("HALF", Layout.HWC8, nchw)
        self.y = self.device.empty("HALF", Layout.HWC8, self.small)
        self.index = self.device.empty("INT8", Layout.HWC16, self.small)

    def descs(self, batch: int | None = None) -> tuple[list[Any], list[Any]]:
        half, int8 = self.trt.DataType.HALF, self.trt.DataType.INT8
        hwc8, hwc16 = self.trt.TensorFormat.HWC8, self.trt.TensorFormat.HWC16
        shapes = [(batch or s[0], *s[1:]) for s in (self.nchw, self.small, self.small)]
        descs = descs_of(((half, hwc8), (half, hwc8), (int8, hwc16)), shapes)
        return descs[:1], descs[1:]

    def fill(self, x: Array) -> None:
        memory = to_layout(x, Layout.HWC8)
        pinned = self.device.cuda.pinned(memory.nbytes)
        pinned.array[:] = np.frombuffer(memory.tobytes(), np.uint8)
        self.device.cuda.copy_to_device(
            self.x.pointer, pinned.pointer, memory.nbytes, self.device.stream
        )
        self.device.stream.synchronize()

    def enqueue(self, y: Any = None, batch: int | None = None) -> None:
        inputs, outputs = [self.x.pointer], [(y or self.y).pointer, self.index.pointer]
        handle = self.device.stream.handle
        self.plugin.enqueue(*self.descs(batch), inputs, outputs, 0, handle)

    def result(self, y: Any = None) -> Array:
        return self.device.download(y or self.y, "HALF", Layout.HWC8, self.small)


def test_a_graph_captures_the_launch_and_nothing_else(cuda: SimulatedCuda) -> None:
    pool = Pool(cuda, (2, 24, 5, 6))
    before = dict(cuda.calls)
    # The simulated GPU refuses allocation, loading and waiting during a capture. That even the
    # first call of `on_shape_change` may come here, because the kernels were loaded before.
    cuda.begin_capture(pool.device.stream)
    pool.plugin.on_shape_change(*pool.descs())
    pool.enqueue()
    graph = cuda.end_capture(pool.device.stream)
    made = {what: n - before.get(what, 0) for what, n in cuda.calls.items()}
    assert {what: n for what, n in made.items() if n} == {"begin_capture": 1, "launch": 1}
    for seed in (3, 4):
        x = pytorch.random_values(pool.nchw, "fp16", seed)
        pool.fill(x)
        graph.launch(pool.device.stream)
        np.testing.assert_array_equal(pool.result(), pytorch.pool(x)[0])


def test_kernels_are_not_loaded_while_capturing(cuda: SimulatedCuda) -> None:
    pool = Pool(cuda, (1, 8, 4, 4))
    register_plugins(pool.trt, cuda, image=b"simulated")
    fresh = create(pool.trt, "MaxPoolIndex")
    cuda.begin_capture(pool.device.stream)
    with pytest.raises(BackendError, match="loading the kernels"):
        fresh.on_shape_change(*pool.descs())
    cuda.end_capture(pool.device.stream)
    error = last_plugin_error()
    assert error is not None
    assert error.startswith("MaxPoolIndex.on_shape_change: ")
    assert "\n" not in error


def test_new_shapes_and_addresses_are_noticed(cuda: SimulatedCuda) -> None:
    """Also where `on_shape_change` did not announce them."""
    pool = Pool(cuda, (2, 8, 4, 6))
    x = pytorch.random_values(pool.nchw, "fp16", 5)
    pool.fill(x)
    pool.plugin.on_shape_change(*pool.descs(batch=1))
    pool.enqueue(batch=1)
    np.testing.assert_array_equal(pool.result()[:1], pytorch.pool(x[:1])[0])
    pool.enqueue()
    np.testing.assert_array_equal(pool.result(), pytorch.pool(x)[0])
    other = pool.device.empty("HALF", Layout.HWC8, pool.small)
    pool.enqueue(y=other)
    np.testing.assert_array_equal(pool.result(other), pytorch.pool(x)[0])


def test_a_frame_like_the_last_computes_no_launch(
    cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool(cuda, (1, 8, 4, 4))
    pool.fill(pytorch.random_values(pool.nchw, "fp16", 6))
    pool.plugin.on_shape_change(*pool.descs())
    pool.enqueue()
    monkeypatch.setattr(index_ops, "pool_launch", None)
    pool.enqueue()
    assert cuda.calls["launch"] == 2


def test_a_clone_is_prepared_like_its_source_and_goes_its_own_way(cuda: SimulatedCuda) -> None:
    pool = Pool(cuda, (2, 8, 4, 4))
    x = pytorch.random_values(pool.nchw, "fp16", 7)
    pool.fill(x)
    pool.plugin.on_shape_change(*pool.descs())
    source = pool.plugin
    pool.plugin = source.clone()
    source.on_shape_change(*pool.descs(batch=1))
    pool.enqueue()
    np.testing.assert_array_equal(pool.result(), pytorch.pool(x)[0])


def test_what_was_not_offered_is_refused(cuda: SimulatedCuda) -> None:
    pool = Pool(cuda, (1, 8, 4, 4))
    inputs, outputs = pool.descs()
    outputs[1].format = pool.trt.TensorFormat.CHW32
    with pytest.raises(ValueError, match=r"^no kernel for the formats HALF HWC8, HALF HWC8, INT8"):
        pool.plugin.on_shape_change(inputs, outputs)
    assert last_plugin_error() == (
        "MaxPoolIndex.on_shape_change: no kernel for the formats HALF HWC8, HALF HWC8, INT8 CHW32"
    )


def test_the_first_of_several_errors_is_kept() -> None:
    trt = a_tensorrt()
    pool = create(trt, "MaxPoolIndex")
    for rank in (3, 5):
        with pytest.raises(ValueError, match="^expected"):
            standin.output_shapes(trt, pool, [(1,) * rank])
    assert last_plugin_error() == (
        "MaxPoolIndex.get_output_shapes: expected (N, C, H, W), got 3 dimensions"
    )


def test_enqueued_without_a_context(cuda: SimulatedCuda) -> None:
    pool = Pool(cuda, (1, 8, 4, 4))
    pool.plugin = create(pool.trt, "MaxPoolIndex")
    message = "enqueued before attach_to_context or on_shape_change"
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        pool.enqueue()
    assert last_plugin_error() == f"MaxPoolIndex.enqueue: {message}"


def test_a_context_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_cuda() -> Any:
        raise BackendError("no NVIDIA driver")

    monkeypatch.setattr("roadseg.backends.device_kernels.load_cuda", load_cuda)
    monkeypatch.setattr(index_ops.STATE, "kernels", LoadedKernels())
    trt = standin.make("10.3.0")
    register_plugins(trt)
    with pytest.raises(BackendError, match="^no NVIDIA driver$"):
        create(trt, "MaxPoolIndex").attach_to_context(object())
    assert last_plugin_error() == "MaxPoolIndex.attach_to_context: no NVIDIA driver"


def test_kernels_are_compiled_for_the_gpu_at_hand(
    cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def compile_kernels(compute_capability: tuple[int, int], *, text: str | None) -> bytes:
        asked.append(compute_capability)
        return b"simulated"

    monkeypatch.setattr("roadseg.backends.device_kernels.load_cuda", lambda: cuda)
    monkeypatch.setattr("roadseg.backends.device_kernels.compile_kernels", compile_kernels)
    # A newer one of the same major version will do: machine code needs no more.
    monkeypatch.setattr("roadseg.backends.device_kernels.nvrtc_version", lambda: (13, 5))
    cuda.device = dataclasses.replace(cuda.device, driver_cuda=(13, 0))
    kernels = LoadedKernels()
    symbol = variants()[0].symbol
    with pytest.raises(RuntimeError, match=f"^{symbol} is wanted before the kernels were loaded$"):
        kernels.kernel(symbol)
    kernels.load()
    kernels.load()
    assert asked == [(8, 9)]
    assert kernels.cuda is cuda
    assert kernels.kernel(symbol).name == symbol


def test_the_compiler_must_not_be_newer_than_the_driver(
    cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_kernels(compute_capability: tuple[int, int], *, text: str | None) -> bytes:
        raise AssertionError(f"compiled for {compute_capability}")

    monkeypatch.setattr("roadseg.backends.device_kernels.compile_kernels", compile_kernels)
    monkeypatch.setattr("roadseg.backends.device_kernels.nvrtc_version", lambda: (13, 0))
    cuda.device = dataclasses.replace(cuda.device, driver_cuda=(12, 4))
    with pytest.raises(BackendError) as caught:
        LoadedKernels(cuda).load()
    assert str(caught.value) == (
        "NVRTC 13.0 writes machine code that this driver (CUDA 12.4) cannot load: update the "
        "driver, or pip install 'nvidia-cuda-nvrtc-cu12==12.4.*' 'cuda-bindings<13'"
    )


def test_registering_again_changes_nothing_but_the_gpu(cuda: SimulatedCuda) -> None:
    trt = a_tensorrt(cuda=cuda)
    registry = trt.get_plugin_registry()
    creators = list(registry.all_creators)
    attached = create(trt, "MaxPoolIndex").attach_to_context(object())
    register_plugins(trt)
    later = create(trt, "MaxPoolIndex").attach_to_context(object())
    assert later._kernels is attached._kernels
    other = SimulatedCuda(host_kernels())
    register_plugins(trt, other, image=b"simulated")
    latest = create(trt, "MaxPoolIndex").attach_to_context(object())
    assert (attached._kernels.cuda, latest._kernels.cuda) == (cuda, other)
    assert registry.all_creators == creators
    names = [(c.name, c.plugin_version, c.plugin_namespace) for c in creators]
    assert names == [("MaxPoolIndex", "1", "roadseg"), ("MaxUnpoolIndex", "1", "roadseg")]


def test_a_refused_registration_is_an_error() -> None:
    trt = standin.make("10.3.0")
    trt.get_plugin_registry().refuses = True
    with pytest.raises(BackendError) as caught:
        register_plugins(trt)
    assert str(caught.value) == (
        "TensorRT 10.3.0 refused the plugin roadseg::MaxPoolIndex: see its message above, "
        "and install another release of it"
    )


@pytest.mark.parametrize("name", ["tensorrt_rtx", "tensorrt_rtx_bindings", "tensorrt"])
def test_modules_without_python_plugins_are_refused(name: str) -> None:
    trt = standin.make("1.7.1")
    trt.__name__ = name
    if name == "tensorrt":
        del trt.IPluginV3OneCore
    with pytest.raises(BackendError) as caught:
        register_plugins(trt)
    assert str(caught.value) == (
        f"{name} 1.7.1 has no Python plugins:"
        " use --target tensorrt with TensorRT 10.3 or newer, or the native lowering"
    )
    assert trt.get_plugin_registry().all_creators == []


def test_crops_survive_serialisation_and_collection_of_garbage() -> None:
    trt = a_tensorrt()
    creator = trt.get_plugin_registry().get_creator("MaxUnpoolIndex", "1", "roadseg")
    assert [field.name for field in creator.field_names] == ["crop_h", "crop_w"]
    plugin = create(trt, "MaxUnpoolIndex", (1, 0)).clone()
    collection = plugin.get_fields_to_serialize()
    gc.collect()
    found = {field.name: (field.data.tolist(), field.type) for field in collection}
    int32 = trt.PluginFieldType.INT32
    assert found == {"crop_h": ([1], int32), "crop_w": ([0], int32)}
    again = creator.create_plugin("node", collection, trt.TensorRTPhase.RUNTIME)
    assert again.crop_hw == (1, 0)
    assert [field.name for field in creator.field_names] == ["crop_h", "crop_w"]


def test_other_crops_are_refused() -> None:
    trt = a_tensorrt()
    with pytest.raises(ValueError, match=r"^crop_h and crop_w must be 0 or 1, got \(2, 0\)$"):
        create(trt, "MaxUnpoolIndex", (2, 0))
    assert last_plugin_error() == (
        "MaxUnpoolIndexCreator.create_plugin: crop_h and crop_w must be 0 or 1, got (2, 0)"
    )


def test_every_interface_is_initialised_and_named() -> None:
    trt = a_tensorrt()
    for name in INPUTS:
        for plugin in (made := create(trt, name), made.clone()):
            assert plugin.initialised == {
                "IPluginV3",
                "IPluginV3OneCore",
                "IPluginV3OneBuild",
                "IPluginV3OneRuntime",
            }
            facts = (plugin.plugin_name, plugin.plugin_version, plugin.plugin_namespace)
            assert facts == (name, "1", "roadseg")


def test_timings_are_kept_apart_by_kernels_and_crop() -> None:
    trt = a_tensorrt()
    ids = [
        create(trt, "MaxUnpoolIndex", crop).timing_cache_id
        for crop in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    assert ids == [f"{source_hash()[:16]}-{crop}" for crop in ("00", "01", "10", "11")]
