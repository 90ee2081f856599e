"""What TensorRT's builder is asked for in each of its versions, and what its answers become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from roadseg.backends.tensorrt.builder.compile import available_sm, choose_sm, compile_plan
from roadseg.core.errors import BackendError, EngineError, UsageError
from roadseg.cuda.api import DeviceInfo
from roadseg.engine.messages import first_reason, is_out_of_memory, listen
from roadseg.engine.spec import EngineSpec
from tests.support.tensorrt import builder

pytestmark = pytest.mark.usefixtures("as_typed")

SIZE_HW = (64, 96)
SPEC = EngineSpec("segnet-lite", "fp16", SIZE_HW, (1, 1, 1), "tensorrt", "native")
RTX = replace(SPEC, target="tensorrt-rtx")


def graph(batch: int | None = 1, namespace: str | None = None) -> bytes:
    """Frames to labels, with a pooling of ours in between if a namespace is given."""
    helper = onnx.helper
    frames = helper.make_tensor_value_info("frame_bgr", 2, [batch or "batch", *SIZE_HW, 3])
    labels = helper.make_tensor_value_info("labels", 2, [batch or "batch", *SIZE_HW])
    nodes = [helper.make_node("ReduceMax", ["frame_bgr"], ["labels"], axes=[3], keepdims=0)]
    if namespace is not None:
        options = {"plugin_namespace": namespace, "plugin_version": "1"}
        nodes.append(
            helper.make_node(
                "MaxPoolIndex", ["frame_bgr"], ["y", "i"], name="pool", domain="roadseg", **options
            )
        )
    made = helper.make_model(helper.make_graph(nodes, "g", [frames], [labels]))
    content: bytes = made.SerializeToString()
    return content


def failing(shop: Any, spec: EngineSpec, error: type[Exception], **options: Any) -> str:
    with pytest.raises(error) as caught:
        compile_plan(options.pop("graph", graph()), spec, shop.runtime, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_stand_in_is_like_the_bindings() -> None:
    trt = pytest.importorskip(
        "tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: pip install tensorrt-rtx"
    )
    assert builder.differences(trt) == []


@pytest.mark.parametrize(
    ("version", "flags"), [("10.3.0.26", 2), ("10.16.1.2", 2), ("11.4.0.106", 0)]
)
def test_networks_are_strongly_typed(
    workshop: Callable[..., Any], version: str, flags: int
) -> None:
    shop = workshop(version)
    assert compile_plan(graph(), SPEC, shop.runtime)
    # 1 << STRONGLY_TYPED; version 11 knows no other networks, and no such flag.
    assert shop.world.network_flags == flags
    assert shop.world.config.calls == []


def test_the_rtx_edition_is_told_whom_to_build_for(workshop: Callable[..., Any]) -> None:
    shop = workshop("1.7.1.116", "tensorrt-rtx")
    assert compile_plan(graph(), replace(RTX, sm=(86, 120)), shop.runtime)
    config = shop.world.config
    assert shop.world.network_flags == 0
    assert config.num_compute_capabilities == 2
    assert config.calls == [("sm", "SM86", 0), ("sm", "SM120", 1)]


def test_a_fixed_batch_needs_no_profile_and_an_open_one_does(
    workshop: Callable[..., Any],
) -> None:
    shop = workshop()
    compile_plan(graph(4), replace(SPEC, batch=(4, 4, 4)), shop.runtime)
    assert shop.world.config.profiles == []
    compile_plan(graph(None), replace(SPEC, batch=(1, 4, 8)), shop.runtime)
    (profile,) = shop.world.config.profiles
    assert profile.shapes == {"frame_bgr": [(n, 64, 96, 3) for n in (1, 4, 8)]}


def test_workspace_and_rounding(workshop: Callable[..., Any]) -> None:
    shop = workshop()
    compile_plan(graph(), replace(SPEC, precision="fp32", workspace_mb=512), shop.runtime)
    assert shop.world.config.calls == [("limit", "WORKSPACE", 512 << 20), ("clear", "TF32")]


def test_our_plugins_are_there_before_the_graph_is_read(workshop: Callable[..., Any]) -> None:
    shop = workshop("10.3.0.26")
    spec = replace(SPEC, lowering="plugin")
    assert compile_plan(graph(namespace="roadseg"), spec, shop.runtime)
    # And are not asked for where the graph has none of them.
    other = workshop("10.3.0.26")
    assert compile_plan(graph(), SPEC, other.runtime)
    assert other.trt.get_plugin_registry().all_creators == []
    line = failing(other, SPEC, EngineError, graph=graph(namespace="roadseg"))
    assert line == (
        "TensorRT 10.3.0.26 refuses the network segnet-lite (node pool: Plugin not found: "
        "MaxPoolIndex): report it with this line"
    )


def test_the_portable_plugins_are_others(
    workshop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = workshop()
    given: list[Any] = []

    def register_portable(trt: Any) -> None:
        given.append(trt)
        creator = type("Creator", (), {})()
        creator.name, creator.plugin_version = "MaxPoolIndex", "1"
        creator.plugin_namespace = "roadseg_portable"
        trt.get_plugin_registry().all_creators.append(creator)

    monkeypatch.setattr("roadseg.backends.tensorrt.portable.register_portable", register_portable)
    spec = replace(SPEC, lowering="plugin", portable=True)
    assert compile_plan(graph(namespace="roadseg_portable"), spec, shop.runtime)
    assert given == [shop.trt]


def test_progress_is_told(workshop: Callable[..., Any]) -> None:
    told: list[tuple[float, str]] = []
    shop = workshop()
    compile_plan(graph(), SPEC, shop.runtime, on_phase=lambda *state: told.append(state))
    assert [round(fraction, 3) for fraction, _phase in told] == [
        *(0, 0.333, 0.333, 0.5, 0.667, 0.333, 0.667, 1, 1)
    ]
    assert told[3][1] == "Timing tactics"


def test_cancelling(
    workshop: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "roadseg")
    shop = workshop()
    state = {"cancelled": False}
    shop.world.during = lambda: state.update(cancelled=True)
    cache = tmp_path / "timing.cache"
    plan = compile_plan(
        graph(),
        SPEC,
        shop.runtime,
        cancelled=lambda: state["cancelled"],
        timing_cache=cache,
    )
    assert plan is None
    # The step after the cancellation was the last one.
    assert shop.world.steps == 2
    assert caplog.messages == [
        "TensorRT 10.13.0.35: error: Error Code 7: BuildCanceled (Build canceled by user)"
    ]


def test_an_error_in_the_progress_display_is_not_lost(workshop: Callable[..., Any]) -> None:
    shop = workshop()

    def show(fraction: float, phase: str) -> None:
        if phase == "Timing tactics":
            raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="^the terminal is gone$"):
        compile_plan(graph(), SPEC, shop.runtime, on_phase=show)
    assert shop.world.steps == 2


def test_measurements_are_kept(workshop: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "new" / "timing.cache"
    shop = workshop()
    compile_plan(graph(), SPEC, shop.runtime, timing_cache=path)
    assert path.read_bytes() == b"measured"
    shop.world.measured = b"measured more"
    compile_plan(graph(), SPEC, shop.runtime, timing_cache=path)
    assert shop.world.config.cache.content == b"measured more"
    assert path.read_bytes() == b"measured more"
    assert [entry.name for entry in path.parent.iterdir()] == ["timing.cache"]
    # Also those of a build that fails.
    shop.world.measured = b"measured for nothing"
    shop.world.fail = {"build"}
    failing(shop, SPEC, EngineError, timing_cache=path)
    assert path.read_bytes() == b"measured for nothing"


@pytest.mark.parametrize("problem", ["cache", "mismatch"])
def test_useless_measurements_are_ignored(
    workshop: Callable[..., Any], tmp_path: Path, problem: str
) -> None:
    path = tmp_path / "timing.cache"
    path.write_bytes(b"rubbish")
    shop = workshop()
    shop.world.fail = {problem}
    assert compile_plan(graph(), SPEC, shop.runtime, timing_cache=path)
    assert path.read_bytes() == b"measured"
    # What was said of the cache is not the reason for what fails later.
    path.write_bytes(b"rubbish")
    shop.world.fail |= {"build"}
    assert "no kernel" in failing(shop, SPEC, EngineError, timing_cache=path)


def test_measurements_that_cannot_be_kept_are_no_failure(
    workshop: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    shop = workshop()
    path = tmp_path / "file" / "timing.cache"
    assert compile_plan(graph(), SPEC, shop.runtime, timing_cache=path)


def test_the_rtx_edition_measures_nothing(workshop: Callable[..., Any], tmp_path: Path) -> None:
    shop = workshop("1.7.1.116", "tensorrt-rtx")
    spec = replace(RTX, sm=(89,))
    compile_plan(graph(), spec, shop.runtime, timing_cache=tmp_path / "timing.cache")
    assert shop.world.config.cache is None
    assert list(tmp_path.iterdir()) == []


def test_the_builder_does_not_start(workshop: Callable[..., Any]) -> None:
    shop = workshop()
    shop.world.fail = {"builder"}
    shop.world.message = "[x.cpp::f::1] Error Code 1: Cuda Runtime (no CUDA-capable device)"
    assert failing(shop, SPEC, BackendError) == (
        "TensorRT 10.13.0.35 cannot start (Cuda Runtime (no CUDA-capable device)): see 'roadseg "
        "doctor'"
    )


def test_the_parser_refuses(workshop: Callable[..., Any]) -> None:
    shop = workshop()
    shop.world.fail = {"parse"}
    assert failing(shop, SPEC, EngineError) == (
        "TensorRT 10.13.0.35 refuses the network segnet-lite (node conv1: no importer for this "
        "operation): report it with this line"
    )
    shop.world.fail = {"silent parse"}
    assert "segnet-lite (Internal Error (no kernel)): report" in failing(shop, SPEC, EngineError)


def test_the_builder_fails(workshop: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "roadseg")
    shop = workshop()
    shop.world.fail = {"build"}
    assert failing(shop, SPEC, EngineError) == (
        "TensorRT 10.13.0.35 cannot build segnet-lite (Internal Error (no kernel)): try another "
        "--size, or see 'roadseg doctor'"
    )
    assert caplog.messages == [
        "TensorRT 10.13.0.35: warning: first this",
        "TensorRT 10.13.0.35: error: IBuilder::x: Error Code 10: Internal Error (no kernel. In f "
        "at x.cpp:9)",
        "TensorRT 10.13.0.35: error: [y.cpp] Error Code 2: what followed from it",
    ]


def test_the_reason_is_the_plugins(
    workshop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [None, "MaxPoolIndex.configure_plugin: no driver"]
    monkeypatch.setattr("roadseg.backends.tensorrt.plugin.last_plugin_error", lambda: errors.pop(0))
    shop = workshop()
    shop.world.fail = {"build"}
    line = failing(shop, replace(SPEC, lowering="plugin"), EngineError)
    assert "(MaxPoolIndex.configure_plugin: no driver)" in line


def test_the_gpu_is_full(workshop: Callable[..., Any]) -> None:
    shop = workshop()
    shop.world.fail = {"build"}
    shop.world.message = "[defaultAllocator.cpp::a::1] Error Code 1: Cuda Runtime (out of memory)"
    assert failing(shop, SPEC, EngineError) == (
        "the GPU's memory is full: TensorRT 10.13.0.35 cannot build segnet-lite: close other "
        "programs that use the GPU, or use a smaller --size, --batch or --workspace"
    )


DEVICE = DeviceInfo(0, "NVIDIA GeForce RTX 4090", (8, 9), 24 << 30, (13, 0))


def test_compute_capabilities(workshop: Callable[..., Any]) -> None:
    runtime = workshop("1.7.1.116", "tensorrt-rtx").runtime
    assert available_sm(runtime) == (75, 80, 86, 89, 120)
    assert choose_sm((), runtime, None) == (80, 86, 89, 120)
    assert choose_sm((), runtime, DEVICE) == (80, 86, 89, 120)
    turing = replace(DEVICE, compute_capability=(7, 5))
    assert choose_sm((), runtime, turing) == (75,)
    assert choose_sm((86,), runtime, turing) == (86,)
    assert choose_sm((120,), runtime, replace(DEVICE, compute_capability=(12, 0))) == (120,)
    with pytest.raises(UsageError) as caught:
        choose_sm((87, 89), runtime, None)
    assert str(caught.value) == (
        "TensorRT-RTX 1.7.1.116 does not build for compute capability 87: use --sm 75|80|86|89|120"
    )
    hopper = replace(DEVICE, name="NVIDIA H200", compute_capability=(9, 0))
    with pytest.raises(EngineError) as unusable:
        choose_sm((), runtime, hopper)
    assert str(unusable.value) == (
        "TensorRT-RTX 1.7.1.116 does not run on NVIDIA H200 (compute capability 9.0): use "
        "--target tensorrt"
    )


def test_one_logger_for_a_module_and_each_listens_for_itself(
    workshop: Callable[..., Any],
) -> None:
    trt = workshop().trt
    severity = trt.ILogger.Severity
    with listen(trt) as (first, outer):
        first.log(severity.ERROR, "one")
        with listen(trt) as (second, inner):
            assert second is first
            second.log(severity.INTERNAL_ERROR, "two")
            second.log(severity.INFO, "not this")
        first.log(severity.WARNING, "three")
    first.log(severity.ERROR, "after")
    assert outer.errors == ["one", "two"]
    assert outer.lines == ["error: one", "error: two", "warning: three"]
    assert inner.lines == ["error: two"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("plain words.", "plain words"),
        (
            "[cudaResources.cpp::ScopedCudaStream::25] Error Code 1: Cuda Runtime (In "
            "ScopedCudaStream at /_src/common/cudaResources.cpp:25 (cudaError 35: too old))",
            "Cuda Runtime (cudaError 35: too old)",
        ),
        (
            "IBuilder::buildSerializedNetwork: Error Code 4: Internal Error (x: dims\nare -1. In "
            "validate at /_src/a.cpp:12)",
            "Internal Error (x: dims are -1)",
        ),
    ],
)
def test_reasons(message: str, reason: str) -> None:
    assert first_reason([message, "second"]) == reason


def test_no_reason() -> None:
    assert first_reason([]) == "it gave no reason"
    assert not is_out_of_memory(["a", "b"])


@pytest.mark.parametrize(
    "message",
    [
        "Requested amount of GPU memory: OutOfMemory",
        "Error Code 2: OutOfMemory (Requested size was 1 bytes.)",
        "Cuda Runtime (out of memory)",
        "Cuda Driver (CUDA_ERROR_OUT_OF_MEMORY)",
        "failed with cudaErrorMemoryAllocation",
    ],
)
def test_out_of_memory_in_all_its_words(message: str) -> None:
    assert is_out_of_memory(["a", message])


def test_plans_are_bytes(workshop: Callable[..., Any]) -> None:
    shop = workshop()
    plan = compile_plan(graph(2), replace(SPEC, batch=(2, 2, 2)), shop.runtime)
    assert isinstance(plan, bytes)
    assert np.frombuffer(plan, np.uint8).size == len(plan)
