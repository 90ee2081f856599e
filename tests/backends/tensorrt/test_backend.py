"""The TensorRT backend, on simulated CUDA and a stand-in of TensorRT.

The simulated streams do nothing before the host waits for them, and new memory holds rubbish: a
missing wait, or memory that two batches share, shows as wrong labels.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.backends.tensorrt.backend import TensorRtBackend
from roadseg.core.backend import Backend, PipelinedBackend
from roadseg.core.errors import BackendError, EngineError
from roadseg.engine.store import read_plan
from roadseg.testing.cuda import SimulatedCuda

SIZE_HW = (64, 96)


def frames(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *SIZE_HW, 3), dtype=np.uint8)


def labels_of(batch: np.ndarray) -> np.ndarray:
    return FakeBackend(SIZE_HW).infer(batch)


class Bench:
    """Everything around one backend: what it runs on, and the engine that it is given."""

    def __init__(self, rig: Any, folder: Path) -> None:
        self.cuda = SimulatedCuda()
        self.trt, self.world = rig.make(self.cuda)
        self._rig = rig
        self._folder = folder

    def engine(self, *args: Any, manifest: dict[str, Any] | None = None, **facts: Any) -> Any:
        return self._rig.engine_file(
            self._folder / "lite.engine", self._rig.plan(*args, **facts), **(manifest or {})
        )

    def open(
        self,
        *args: Any,
        target: str = "tensorrt",
        manifest: dict[str, Any] | None = None,
        **facts: Any,
    ) -> TensorRtBackend:
        manifest = {"target": target, **(manifest or {})}
        engine = self.engine(*args, manifest=manifest, **facts)
        return TensorRtBackend(engine, runtime=self.runtime(target), cuda=self.cuda)

    def runtime(self, target: str = "tensorrt") -> Any:
        return self._rig.runtime(self.trt, target)


@pytest.fixture
def bench(rig: Any, tmp_path: Path, own_cache: Path) -> Bench:
    return Bench(rig, tmp_path)


# Labels.


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_labels_are_the_engines(bench: Bench, target: str) -> None:
    backend = bench.open(target=target)
    assert isinstance(backend, Backend)
    assert isinstance(backend, PipelinedBackend)
    for seed in range(5):
        batch = frames(1, seed)
        np.testing.assert_array_equal(backend.infer(batch), labels_of(batch))
    backend.close()


def test_two_batches_are_in_flight_and_come_back_in_order(bench: Bench) -> None:
    backend = bench.open()
    assert backend.depth == 2
    batch = frames(1, 0)
    backend.submit(batch)
    batch[:] = 0  # it may be overwritten once it has been submitted
    for seed in range(1, 20):
        backend.submit(frames(1, seed))
        np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, seed - 1)))
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, 19)))


def test_submitting_does_not_wait_for_the_gpu(bench: Bench) -> None:
    backend = bench.open()
    waits = bench.cuda.calls["synchronize"]
    backend.submit(frames(1, 0))
    backend.submit(frames(1, 1))
    assert bench.cuda.calls["synchronize"] == waits
    backend.collect()
    assert bench.cuda.calls["synchronize"] == waits + 1


@pytest.mark.parametrize(
    ("batches", "count"),
    [
        ((1, 1), 5),  # frame by frame
        ((4, 4), 1),  # filled up
        ((4, 4), 4),
        ((4, 4), 11),  # two parts and one that is filled up
        ((1, 8), 3),
        ((1, 8), 8),
        ((1, 8), 21),
        ((2, 4), 1),  # below the smallest
        ((2, 4), 5),  # whose last part is below the smallest
        ((1, 1), 0),
    ],
)
def test_any_number_of_frames(bench: Bench, batches: tuple[int, int], count: int) -> None:
    backend = bench.open(batches)
    for seed in range(3):
        batch = frames(count, seed)
        np.testing.assert_array_equal(backend.infer(batch), labels_of(batch))


def test_large_batches_in_flight_do_not_mix(bench: Bench) -> None:
    backend = bench.open((1, 2))
    batches = [frames(5, 0), frames(1, 1), frames(3, 2), frames(2, 3)]
    backend.submit(batches[0])
    for before, batch in itertools.pairwise(batches):
        backend.submit(batch)
        np.testing.assert_array_equal(backend.collect(), labels_of(before))
    np.testing.assert_array_equal(backend.collect(), labels_of(batches[-1]))


def test_a_dynamic_engine_runs_at_the_size_of_the_batch(bench: Bench) -> None:
    backend = bench.open((1, 8))
    for count in (3, 1, 3, 8, 3):
        backend.infer(frames(count))
        backend.infer(frames(count))
    # A context of its own for each size and slot, whose shape is set once.
    shapes = [context.shapes_set for context in bench.world.contexts]
    assert all(len(shape) == 1 for shape in shapes)
    assert sorted(shape[0][0] for shape in shapes) == [1, 1, 3, 3, 8, 8]


def test_other_threads_may_use_it(bench: Bench) -> None:
    backend = bench.open()
    results: list[Any] = []

    def work() -> None:
        try:
            results.append(backend.infer(frames(1)))
            backend.close()
        except BackendError as exc:
            results.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(results[0], labels_of(frames(1)))
    assert len(results) == 1


# Calls out of turn.


def test_calls_out_of_turn_are_refused(bench: Bench) -> None:
    backend = bench.open()
    with pytest.raises(RuntimeError, match="^no batch is in flight: submit one first$"):
        backend.collect()
    backend.submit(frames(1, 0))
    with pytest.raises(RuntimeError, match="^1 batches are in flight: collect them first$"):
        backend.infer(frames(1))
    backend.submit(frames(1, 1))
    with pytest.raises(RuntimeError, match="^2 batches are in flight: collect one first$"):
        backend.submit(frames(1))
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, 0)))
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, 1)))


def test_a_closed_backend(bench: Bench) -> None:
    backend = bench.open()
    backend.close()
    backend.close()
    for call in (
        lambda: backend.infer(frames(1)),
        lambda: backend.submit(frames(1)),
        backend.collect,
    ):
        with pytest.raises(BackendError) as caught:
            call()
        assert str(caught.value) == "the tensorrt backend is closed: create another one"


# CUDA graphs.


def test_a_frame_costs_one_launch_and_no_allocation(bench: Bench) -> None:
    backend = bench.open()
    backend.infer(frames(1))
    before, runs = bench.cuda.calls.copy(), [context.runs for context in bench.world.contexts]
    allocations = bench.cuda.allocations
    for seed in range(10):
        backend.infer(frames(1, seed))
    assert bench.cuda.calls - before == {"graph_launch": 10, "synchronize": 10}
    assert bench.cuda.allocations == allocations
    assert [context.runs for context in bench.world.contexts] == runs, "TensorRT is called no more"
    assert backend.info.device == "Simulated GPU"


def test_the_first_frame_finds_everything_ready(bench: Bench) -> None:
    backend = bench.open((1, 4))
    before = bench.cuda.calls.copy()
    backend.submit(frames(1))
    backend.submit(frames(1))
    assert bench.cuda.calls - before == {"graph_launch": 2}


@pytest.mark.parametrize("how", ["capture", "begin", "end", "launch", "stray"])
def test_where_no_graph_can_be_had_plain_calls_do(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def refuse(*_args: Any) -> None:
        raise BackendError("no graphs today")

    if how == "capture":
        bench.world.fail.add("capture")
    elif how == "stray":
        bench.world.stray = True  # the capture succeeds and misses the network
    elif how == "launch":
        monkeypatch.setattr("roadseg.testing.cuda.simulated.SimulatedGraph.launch", refuse)
    else:
        end = SimulatedCuda.end_capture

        def fail_to_end(cuda: SimulatedCuda, stream: Any) -> None:
            end(cuda, stream).close()
            refuse()

        replacement = refuse if how == "begin" else fail_to_end
        monkeypatch.setattr(SimulatedCuda, f"{how}_capture", replacement)
    backend = bench.open((1, 2))
    assert backend.info.device == "Simulated GPU (without a CUDA graph)"
    for seed, count in enumerate((1, 2, 5, 1)):
        batch = frames(count, seed)
        np.testing.assert_array_equal(backend.infer(batch), labels_of(batch))
    before = bench.cuda.calls.copy()
    backend.infer(frames(1))
    assert bench.cuda.calls - before == {"copy_to_device": 1, "copy_to_host": 1, "synchronize": 1}
    backend.close()
    assert bench.cuda.live_objects == 0


def test_pycuda_has_no_graphs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedCuda, "supports_graphs", False)
    backend = bench.open()
    assert backend.info.device == "Simulated GPU (without a CUDA graph)"
    np.testing.assert_array_equal(backend.infer(frames(1)), labels_of(frames(1)))
    assert bench.cuda.calls["begin_capture"] == 0


# Giving back.


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


# Failures.


AGAIN = "see 'roadseg doctor', or build the engine again with 'roadseg build-engine'"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "context",
            f"TensorRT cannot prepare the engine (Cuda Runtime (an illegal access)): {AGAIN}",
        ),
        (
            "address",
            f"TensorRT refuses the memory of its tensors (Cuda Runtime (an illegal "
            f"access)): {AGAIN}",
        ),
        ("shape", f"TensorRT refuses a batch of 1 (Cuda Runtime (an illegal access)): {AGAIN}"),
        ("execute", f"TensorRT failed while inferring (Cuda Runtime (an illegal access)): {AGAIN}"),
        (
            "runtime",
            "TensorRT 10.13.0 cannot start (Cuda Runtime (an illegal access)): "
            "see 'roadseg doctor'",
        ),
    ],
)
def test_failures_of_tensorrt(bench: Bench, what: str, message: str) -> None:
    bench.world.fail.add(what)
    with pytest.raises(BackendError) as caught:
        bench.open((1, 4))
    assert str(caught.value) == message


@pytest.mark.parametrize("what", ["context", "execute", "deserialize"])
def test_a_full_gpu(bench: Bench, what: str) -> None:
    bench.world.fail.add(what)
    bench.world.message = "[a.cpp::b::3] Error Code 1: Cuda Runtime (out of memory)"
    with pytest.raises(BackendError) as caught:
        bench.open()
    doing = {
        "context": "cannot prepare the engine",
        "execute": "failed while inferring",
        "deserialize": "cannot load the engine",
    }[what]
    assert str(caught.value) == (
        f"the GPU's memory is full: TensorRT {doing} (segnet-lite, lite.engine): close other "
        "programs that use the GPU, or use a smaller size_hw"
    )


def test_an_old_driver(bench: Bench) -> None:
    bench.world.fail.add("deserialize")
    bench.world.message = (
        "[cudaWrapper.cpp::x::9] Error Code 1: Cuda Runtime (cudaError 35: CUDA driver version is "
        "insufficient for CUDA runtime version)"
    )
    with pytest.raises(BackendError) as caught:
        bench.open()
    assert str(caught.value) == (
        "TensorRT 10.13.0 needs a newer NVIDIA driver than there is here: update the driver"
    )


def test_a_failure_in_one_batch_leaves_the_others(bench: Bench) -> None:
    backend = bench.open((1, 2))
    bench.world.fail.add("context")  # a batch of two has not been prepared yet
    backend.submit(frames(1, 0))
    with pytest.raises(BackendError, match=r"^TensorRT cannot prepare the engine \(Cuda Runtime"):
        backend.submit(frames(2, 1))
    bench.world.fail.clear()
    backend.submit(frames(2, 2))
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, 0)))
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(2, 2)))


def test_a_part_that_fails_takes_its_batch_with_it_and_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = bench.open((1, 2))
    backend.submit(frames(1, 0))
    bench.world.fail.add("context")
    with pytest.raises(BackendError):  # the first part of three runs, the last is what fails
        backend.submit(frames(3, 1))
    bench.world.fail.clear()
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(1, 0)))
    for seed in range(2, 6):
        np.testing.assert_array_equal(backend.infer(frames(3, seed)), labels_of(frames(3, seed)))


def test_a_gpu_that_fails_while_it_computes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = bench.open((1, 1))
    backend.submit(frames(2, 0))
    calls: list[int] = []
    wait = type(bench.cuda.event()).synchronize

    def fail_once(event: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise BackendError("CUDA failed while waiting: the GPU fell off the bus")
        wait(event)

    monkeypatch.setattr("roadseg.testing.cuda.simulated.SimulatedEvent.synchronize", fail_once)
    # This submission finds the failure of the batch before it, and is not to blame.
    backend.submit(frames(2, 1))
    with pytest.raises(BackendError, match="^CUDA failed while waiting: the GPU fell off the bus$"):
        backend.collect()
    np.testing.assert_array_equal(backend.collect(), labels_of(frames(2, 1)))


def test_the_reason_of_a_plugin_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from roadseg.backends.tensorrt import plugin

    registered: list[Any] = []
    monkeypatch.setattr(plugin, "register_plugins", registered.append)
    monkeypatch.setattr(plugin, "last_plugin_error", lambda: "MaxPoolIndex.enqueue: no kernel")
    bench.world.fail.add("execute")
    with pytest.raises(BackendError) as caught:
        bench.open(manifest={"lowering": "plugin"})
    assert str(caught.value) == (
        f"TensorRT failed while inferring (MaxPoolIndex.enqueue: no kernel): {AGAIN}"
    )
    assert registered == [bench.trt]
    registered.clear()
    bench.world.fail.clear()
    bench.open(manifest={"lowering": "plugin", "portable": True}).close()
    bench.open(manifest={"lowering": "native"}).close()
    assert registered == []


# Engine files.


def test_info(bench: Bench) -> None:
    info = bench.open(manifest={"model": "segnet", "precision": "int8"}).info
    assert (info.name, info.model, info.precision) == ("tensorrt", "segnet", "int8")
    assert bench.open(target="tensorrt-rtx").info.name == "tensorrt-rtx"


def rebuild(bench: Bench, **changes: Any) -> str:
    return bench.engine(manifest=changes).manifest.build_command()


def test_a_missing_plan(bench: Bench) -> None:
    engine = bench.engine()
    engine.path.unlink()
    with pytest.raises(EngineError) as caught:
        TensorRtBackend(engine, runtime=bench.runtime(), cuda=bench.cuda)
    assert str(caught.value) == (
        f"cannot read the engine {engine.path} (No such file or directory): build it: "
        f"{engine.manifest.build_command()}"
    )


def test_a_truncated_plan(bench: Bench) -> None:
    engine = bench.engine()
    size = engine.path.stat().st_size
    engine.path.write_bytes(engine.path.read_bytes()[:-10])
    with pytest.raises(EngineError) as caught:
        TensorRtBackend(engine, runtime=bench.runtime(), cuda=bench.cuda)
    assert str(caught.value) == (
        f"{engine.path} cannot be used: the file is truncated ({size - 10} of {size} bytes): copy "
        f"it again, or build it again: {engine.manifest.build_command()}"
    )


def test_a_damaged_plan(bench: Bench) -> None:
    engine = bench.engine()
    engine.path.write_bytes(b"x" + engine.path.read_bytes()[1:])
    with pytest.raises(EngineError) as caught:
        TensorRtBackend(engine, runtime=bench.runtime(), cuda=bench.cuda)
    assert str(caught.value) == (
        f"{engine.path} cannot be used: the file is damaged (its sha256 is not the one in its "
        f"manifest): copy it again, or build it again: {engine.manifest.build_command()}"
    )


def test_a_plan_that_was_read_before_is_not_read_again(bench: Bench) -> None:
    engine = bench.engine()
    plan = read_plan(engine)
    engine.path.unlink()
    backend = TensorRtBackend(engine, runtime=bench.runtime(), cuda=bench.cuda, plan=plan)
    np.testing.assert_array_equal(backend.infer(frames(1, 0)), labels_of(frames(1, 0)))
    backend.close()


def test_an_engine_of_another_version_or_gpu(bench: Bench) -> None:
    bench.world.fail.add("deserialize")
    bench.world.message = (
        "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine plan file is "
        "not compatible with this version of TensorRT, expecting library version 10.13.0 got "
        "10.3.0, please rebuild.)"
    )
    with pytest.raises(EngineError) as caught:
        bench.open()
    path = bench.engine().path
    assert str(caught.value) == (
        f"{path} cannot be loaded by TensorRT 10.13.0 (API Usage Error (The engine plan file is "
        "not compatible with this version of TensorRT, expecting library version 10.13.0 got "
        f"10.3.0, please rebuild.)): build it again: {rebuild(bench)}"
    )


def test_an_engine_for_the_other_tensorrt(bench: Bench) -> None:
    engine = bench.engine(manifest={"target": "tensorrt-rtx"})
    with pytest.raises(EngineError) as caught:
        TensorRtBackend(engine, runtime=bench.runtime("tensorrt"), cuda=bench.cuda)
    assert str(caught.value) == (
        f"{engine.path} is for tensorrt-rtx, and tensorrt is what runs: build one for it: "
        "'roadseg build-engine --model segnet-lite --fp16 --size 64x96 --target tensorrt'"
    )


def test_an_engine_of_another_size_than_its_manifest_says(bench: Bench) -> None:
    with pytest.raises(EngineError) as caught:
        bench.open(manifest={"size_hw": (32, 32)})
    path = bench.engine().path
    assert str(caught.value) == (
        f"{path} takes 64x96 frames and its manifest says 32x32: they do not belong together: "
        f"build it again: {rebuild(bench, size_hw=(32, 32))}"
    )


def test_an_engine_of_others(bench: Bench) -> None:
    for facts in ({"frames_dtype": 0}, {"labels_dtype": 3}):
        with pytest.raises(EngineError) as caught:
            bench.open(**facts)
        assert str(caught.value) == (
            f"{bench.engine().path} has other inputs or outputs: a roadseg engine takes uint8 "
            "frames (N, H, W, 3) and gives uint8 labels (N, H, W): build one with 'roadseg "
            "build-engine'"
        )


# TensorRT-RTX.


def test_rtx_captures_by_itself(bench: Bench) -> None:
    backend = bench.open((1, 4), target="tensorrt-rtx")
    for count in (1, 3, 9):
        np.testing.assert_array_equal(backend.infer(frames(count)), labels_of(frames(count)))
    assert bench.cuda.calls["begin_capture"] == 0
    assert backend.info.device == "Simulated GPU"


def cache_of(bench: Bench, tmp_path: Path) -> Path:
    digest = hashlib.sha256(bench.engine().path.read_bytes()).hexdigest()
    return tmp_path / "cache" / "tensorrt-rtx" / f"{digest[:16]}.cache"


def test_rtx_keeps_its_kernels(bench: Bench, tmp_path: Path) -> None:
    backend = bench.open(target="tensorrt-rtx")
    path = cache_of(bench, tmp_path)
    assert path.read_bytes() == b"compiled", "kept at once: the run may be killed"
    bench.world.kernels = b"compiled and specialised"
    backend.close()
    assert path.read_bytes() == b"compiled and specialised"
    stamp = path.stat().st_mtime_ns
    bench.open(target="tensorrt-rtx").close()
    assert path.stat().st_mtime_ns == stamp, "nothing new, nothing written"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_rtx_replaces_kernels_of_another_gpu(bench: Bench, tmp_path: Path) -> None:
    path = cache_of(bench, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"from elsewhere")
    bench.open(target="tensorrt-rtx").close()
    assert path.read_bytes() == b"compiled"


def test_rtx_keeps_nothing_where_there_is_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.world.kernels = None
    bench.open(target="tensorrt-rtx").close()
    assert not (tmp_path / "cache").exists()


def test_rtx_runs_where_nothing_can_be_kept(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    backend = bench.open(target="tensorrt-rtx")
    np.testing.assert_array_equal(backend.infer(frames(1)), labels_of(frames(1)))
    backend.close()


# The stand-in against the real thing.


def test_the_standin_is_like_tensorrt_rtx(rig: Any) -> None:
    trt = pytest.importorskip("tensorrt_rtx_bindings", exc_type=ImportError)
    assert rig.differences(trt) == []


_COMPARE = """
from tests.support.tensorrt.runtime import differences
rtx_only = ("IRuntimeConfig", "IRuntimeCache", "CudaGraphStrategy")
print(differences(trt, absent=rtx_only))
"""


def test_the_standin_is_like_tensorrt(run_with_bindings: Callable[..., str]) -> None:
    assert run_with_bindings(_COMPARE) == "[]\n"
