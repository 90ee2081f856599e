"""The fast PyTorch path, run on the CPU: rewritten networks, kernels as C++, batches in flight."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from roadseg.backends.torch.backend import TorchBackend, open_torch_backend
from roadseg.backends.torch_cuda import backend as torch_cuda
from roadseg.backends.torch_cuda.backend import TorchCudaBackend
from roadseg.backends.torch_cuda.graph import (
    GraphSlot,
    capture,
    fastest_algorithms,
    graph_time_ms,
    tune,
)
from roadseg.backends.torch_cuda.kernels import KernelOperations, open_operations, variant_for
from roadseg.backends.torch_cuda.layers import Convolution
from roadseg.backends.torch_cuda.ops import FRAME_SCALE, ResponseNorm, TorchOperations
from roadseg.backends.torch_cuda.rewrite import rewrite
from roadseg.core.backend import PipelinedBackend
from roadseg.core.errors import BackendError
from roadseg.models import build_model, decoder_variants
from roadseg.testing.cuda import SimulatedCuda

SIZE_HW = (45, 60)


def frames(count: int, size_hw: tuple[int, int] = SIZE_HW, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *size_hw, 3), dtype=np.uint8)


def with_statistics(model: nn.Module) -> nn.Module:
    """Batch normalisation that has seen something: folding the initial one would prove little."""
    model.train()
    with torch.no_grad():
        for seed in range(2):
            batch = torch.from_numpy(frames(2, (32, 48), seed))
            model(batch.permute(0, 3, 1, 2).float() / 255)
    return model.eval()


@pytest.fixture(scope="module", params=["segnet", "segnet-basic", "segnet-lite"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(1)
    return with_statistics(build_model(request.param))


@pytest.fixture(scope="module")
def lite() -> nn.Module:
    torch.manual_seed(2)
    return with_statistics(build_model("segnet-lite"))


@pytest.fixture(scope="module")
def kernels() -> KernelOperations:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    from roadseg.testing.host_kernels import host_frame_kernels, host_kernels

    cuda = SimulatedCuda({**host_kernels(), **host_frame_kernels()})
    return KernelOperations(cuda, b"compiled as C++", b"compiled as C++")


class KeepingScores(TorchOperations):
    """Keeps the scores that it makes labels of."""

    def labels(self, scores: Tensor, classes: int, block: int, out_hw: tuple[int, int]) -> Tensor:
        n, _, h, w = scores.shape
        squares = scores[:, : block * block * classes].reshape(n, block, block, classes, h, w)
        full = squares.permute(0, 3, 4, 1, 5, 2).reshape(n, classes, h * block, w * block)
        self.scores = full[:, :, : out_hw[0], : out_hw[1]]
        return super().labels(scores, classes, block, out_hw)


def scores_of(model: nn.Module, batch: np.ndarray) -> Tensor:
    with torch.inference_mode():
        return model(torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255)


# Rewriting.


def assert_scores(got: Tensor, want: Tensor) -> None:
    """Equal but for FP32 sums in another order.

    That is some units in the seventh digit of the largest score; but where two values of a pooling
    window all but tie, another one may win, which moves what is unpooled from there.
    """
    assert got.shape == want.shape
    close = (got - want).abs() <= 3e-5 * want.abs().max()
    assert close.float().mean() >= 0.98


@pytest.mark.parametrize("size_hw", [(45, 60), (32, 64)])
def test_a_rewritten_network_is_the_same_function(
    model: nn.Module, size_hw: tuple[int, int]
) -> None:
    operations = KeepingScores()
    network = rewrite(model, size_hw, operations)
    batch = frames(2, size_hw)
    want = scores_of(model, batch)
    with torch.inference_mode():
        labels = network(torch.from_numpy(batch))
    assert labels.dtype == torch.uint8
    assert labels.shape == (2, *size_hw)
    assert_scores(operations.scores, want)
    assert (labels == want.argmax(1)).float().mean() >= 0.99


def test_at_the_papers_size(lite: nn.Module) -> None:
    operations = KeepingScores()
    batch = frames(1, (360, 480))
    want = scores_of(lite, batch)
    with torch.inference_mode():
        rewrite(lite, (360, 480), operations)(torch.from_numpy(batch))
    assert_scores(operations.scores, want)


@pytest.mark.parametrize(
    "kind",
    [
        decoder_variants.BilinearInterpolation,
        decoder_variants.FCNBasic,
        decoder_variants.SegNetBasicEncoderAddition,
        decoder_variants.SegNetBasicSingleChannelDecoder,
    ],
)
def test_networks_that_it_was_not_written_for(kind: type[nn.Module]) -> None:
    torch.manual_seed(4)
    model = with_statistics(kind())
    operations = KeepingScores()
    batch = frames(1)
    with torch.inference_mode():
        rewrite(model, SIZE_HW, operations)(torch.from_numpy(batch))
    assert_scores(operations.scores, scores_of(model, batch))


def kinds(network: nn.Module) -> dict[str, int]:
    counts: dict[str, int] = {}
    for layer in network.modules():
        if isinstance(layer, Convolution):
            counts[layer.activation] = counts.get(layer.activation, 0) + 1
    return counts


def test_what_is_left_to_run() -> None:
    operations = TorchOperations()
    segnet = rewrite(build_model("segnet"), (64, 96), operations)
    assert kinds(segnet) == {"relu": 25, "none": 1}
    basic = rewrite(build_model("segnet-basic"), (64, 96), operations)
    # The classifier has gone into the last decoder.
    assert kinds(basic) == {"relu": 4, "none": 4}
    lite = rewrite(build_model("segnet-lite"), (64, 96), operations)
    # Three shortcuts that change the channel count, and the head.
    assert kinds(lite) == {"relu": 16, "add_relu": 7, "none": 4}
    for network in (segnet, basic, lite):
        functions = {str(node.target) for node in network.graph.nodes if "call_f" in node.op}
        assert not any("relu" in name or "getattr" in name for name in functions)
        assert not any(isinstance(each, (nn.BatchNorm2d, nn.ReLU)) for each in network.modules())


def test_tensor_cores_get_channels_in_multiples_of_eight(model: nn.Module) -> None:
    for layer in rewrite(model, (64, 96), TorchOperations()).modules():
        if isinstance(layer, Convolution):
            assert layer.weight.shape[0] % 8 == layer.weight.shape[1] % 8 == 0


def test_the_original_is_not_changed(lite: nn.Module) -> None:
    before = {name: value.clone() for name, value in lite.state_dict().items()}
    rewrite(lite, (32, 64), TorchOperations())
    after = lite.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


class OddBeginning(nn.Module):
    """What the rewriting does not know: the frame goes to two layers, a shape is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 8, 3, padding=1)
        self.right = nn.Conv2d(3, 8, 1)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Conv2d(16, 16, 1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.dropout(self.left(x)), self.right(x).relu()], dim=1)
        return self.head(both)[:, :11, : x.shape[2], : x.shape[3]]


def test_unknown_beginnings_and_heads_stay_as_they_are() -> None:
    torch.manual_seed(0)
    model = OddBeginning().eval()
    operations = KeepingScores()
    batch = frames(3)
    with torch.inference_mode():
        labels = rewrite(model, SIZE_HW, operations)(torch.from_numpy(batch))
    want = scores_of(model, batch)
    torch.testing.assert_close(operations.scores, want, rtol=1e-4, atol=1e-5)
    assert (labels == want.argmax(1)).float().mean() >= 0.999


# Operations.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(2, 64, 45, 60), (1, 24, 7, 5), (1, 11, 6, 8), (1, 8, 1, 1)])
def test_kernels_pool_and_unpool_as_pytorch_does(
    kernels: KernelOperations, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    plain = TorchOperations()
    # Few values: most windows have ties.
    x = torch.from_numpy(np.random.default_rng(0).integers(-2, 3, shape)).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    y, index = kernels.pool(x)
    want, places = plain.pool(x.float())
    torch.testing.assert_close(y.float(), want, rtol=0, atol=0)
    again = kernels.unpool(y * 2, index, shape[2:])
    torch.testing.assert_close(
        again.float(), plain.unpool(want * 2, places, shape[2:]), rtol=0, atol=0
    )


def test_channels_last_stays_channels_last(kernels: KernelOperations) -> None:
    x = torch.randn(2, 32, 9, 10).half().contiguous(memory_format=torch.channels_last)
    y, index = kernels.pool(x)
    again = kernels.unpool(y, index, (9, 10))
    for result in (y, again):
        assert result.is_contiguous(memory_format=torch.channels_last)
    assert variant_for("pool", torch.float16, 32).symbol == "roadseg_pool_fp16_hwc8_hwc16"
    assert variant_for("unpool", torch.float32, 32).symbol == "roadseg_unpool_fp32_linear_linear"


def test_a_dtype_without_kernels(kernels: KernelOperations) -> None:
    with pytest.raises(BackendError) as caught:
        kernels.pool(torch.zeros(1, 8, 4, 4, dtype=torch.bfloat16))
    assert str(caught.value) == "no kernel takes torch.bfloat16: use FP16 or FP32"


@pytest.mark.parametrize("norm", [None, ResponseNorm(5, 1e-4, 0.75, 1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_kernels_take_frames_as_pytorch_does(
    kernels: KernelOperations, norm: ResponseNorm | None, dtype: torch.dtype
) -> None:
    batch = torch.from_numpy(frames(2))
    got = kernels.frame(batch, 8, dtype, norm)
    want = TorchOperations().frame(batch, 8, torch.float32, norm)
    assert got.dtype == dtype
    assert got.shape == (2, 8, *SIZE_HW)
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert not got[:, 3:].any()
    torch.testing.assert_close(got.float(), want, rtol=6e-4, atol=0)
    if norm is None:
        raw = batch.permute(0, 3, 1, 2).float()
        assert torch.equal(got[:, :3].float(), raw * FRAME_SCALE)


def test_the_response_norm_is_the_layers() -> None:
    layer = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
    batch = torch.from_numpy(frames(2))
    norm = ResponseNorm(layer.size, layer.alpha, layer.beta, layer.k)
    got = TorchOperations().frame(batch, 8, torch.float32, norm)
    want = layer(batch.permute(0, 3, 1, 2).float())
    torch.testing.assert_close(got[:, :3], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "block", "out_hw"), [(16, 1, (5, 7)), (48, 2, (9, 14))])
def test_kernels_label_as_pytorch_does(
    kernels: KernelOperations, channels: int, block: int, out_hw: tuple[int, int]
) -> None:
    scores = torch.randint(-2, 3, (2, channels, 5, 7)).half()
    got = kernels.labels(scores, 11, block, out_hw)
    want = TorchOperations().labels(scores.float(), 11, block, out_hw)
    assert got.dtype == torch.uint8
    assert torch.equal(got, want)


def test_a_whole_network_in_fp16_on_the_kernels(lite: nn.Module, kernels: KernelOperations) -> None:
    batch = torch.from_numpy(frames(2, (32, 48)))
    want = scores_of(lite, batch.numpy()).argmax(1)
    network = rewrite(lite, (32, 48), kernels).half().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        labels = network(batch)
    # Random weights leave many pixels between two classes.
    assert (labels == want).float().mean() >= 0.97


def test_without_cuda_pytorchs_own_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_index: int = 0) -> None:
        raise BackendError("no driver", fix="install one")

    monkeypatch.setattr("roadseg.cuda.load.load_cuda", missing)
    operations, why = open_operations(0)
    assert type(operations) is TorchOperations
    assert why == "no driver: install one"


# The fastest way for each convolution.


def timer_of(times_ms: dict[str, float]) -> Callable[[Callable[[], Tensor]], float]:
    """A timer that takes the measured functions for `separate`, `gemm`..., in this order."""
    left = list(times_ms.values())

    def timer(run: Callable[[], Tensor]) -> float:
        run()
        return left.pop(0)

    return timer


@pytest.mark.parametrize(("times", "fastest"), [((2.0, 1.0), "gemm"), ((1.0, 2.0), "separate")])
def test_the_fastest_way_wins(times: tuple[float, float], fastest: str) -> None:
    layer = Convolution(nn.Conv2d(8, 16, 1), "relu")
    x = torch.randn(2, 8, 5, 6).contiguous(memory_format=torch.channels_last)
    layer.timer = timer_of(dict(zip(("separate", "gemm"), times, strict=True)))
    before = layer(x)
    assert layer.way == fastest
    assert layer.times_ms == dict(zip(("separate", "gemm"), times, strict=True))
    layer.timer = None
    torch.testing.assert_close(layer(x), before)


@pytest.mark.parametrize("activation", ["none", "relu", "add_relu"])
@pytest.mark.parametrize("bias", [True, False])
def test_all_ways_give_the_same(activation: str, bias: bool) -> None:
    source = nn.Conv2d(8, 16, 1, bias=bias)
    layer = Convolution(source, activation)  # type: ignore[arg-type]
    x = torch.randn(2, 8, 5, 6)
    z = torch.randn(2, 16, 5, 6) if activation == "add_relu" else None
    want = source(x) if z is None else source(x) + z
    want = want if activation == "none" else want.relu()
    for way in ("separate", "gemm"):
        layer.way = way
        torch.testing.assert_close(layer(x, z), want)


def test_a_way_that_gives_something_else_is_refused() -> None:
    layer = Convolution(nn.Conv2d(8, 16, 1), "relu")

    def wrong(x: Tensor, z: Tensor | None) -> Tensor:
        return layer._separate(x, z) * float("nan")

    def failing(x: Tensor, z: Tensor | None) -> Tensor:
        raise RuntimeError("no kernel for this")

    for way in (wrong, failing):
        layer._gemm = way  # type: ignore[method-assign]
        layer.timer = timer_of({"separate": 5.0})
        layer(torch.randn(1, 8, 4, 4))
        assert layer.times_ms == {"separate": 5.0}
        assert layer.way == "separate"


def test_only_products_with_one_matrix_are_pointwise() -> None:
    assert Convolution(nn.Conv2d(8, 8, 1), "none").pointwise
    for other in (
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 1, stride=2),
        nn.Conv2d(8, 8, 1, padding=1),
        nn.Conv2d(8, 8, 1, groups=2),
    ):
        assert not Convolution(other, "none").pointwise


def test_tuning_a_network(lite: nn.Module) -> None:
    network = rewrite(lite, (32, 48), TorchOperations())
    calls = []

    def timer(run: Callable[[], Tensor]) -> float:
        calls.append(run().shape)
        return float(len(calls))

    ways = tune(network, torch.from_numpy(frames(1, (32, 48))), timer)
    layers = [each for each in network.modules() if isinstance(each, Convolution)]
    assert len(ways) == len(layers)
    assert len(calls) == sum(len(layer.times_ms) for layer in layers) > len(layers)
    # Later is slower here, so the first way won everywhere.
    assert set(ways.values()) == {"separate"}
    assert all(layer.timer is None for layer in layers)


# Graphs: what is asked of CUDA, and in which order.


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


# The backend.


@pytest.fixture
def backend(lite: nn.Module) -> TorchCudaBackend:
    return TorchCudaBackend(lite, (32, 48), name="lite", device="cpu", operations=TorchOperations())


def test_it_gives_the_networks_labels(lite: nn.Module, backend: TorchCudaBackend) -> None:
    assert isinstance(backend, PipelinedBackend)
    assert backend.depth == 2
    assert backend.network_hw == (32, 48)
    info = backend.info
    assert (info.name, info.model, info.precision, info.device) == ("torch", "lite", "fp32", "CPU")
    for count in (1, 3):
        batch = frames(count, (32, 48), seed=count)
        labels = backend.infer(batch)
        assert labels.shape == (count, 32, 48)
        want = scores_of(lite, batch).argmax(1).numpy()
        assert (labels == want).mean() >= 0.999


def test_batches_come_back_in_order_and_belong_to_the_caller(backend: TorchCudaBackend) -> None:
    batches = [frames(count, (32, 48), seed) for seed, count in enumerate((1, 2, 1))]
    want = [backend.infer(batch) for batch in batches]
    results = []
    for batch in batches:
        given = batch.copy()
        backend.submit(given)
        given[:] = 0  # the frames may be overwritten
        if len(backend._in_flight) == backend.depth:
            results.append(backend.collect())
    results.append(backend.collect())
    for got, expected in zip(results, want, strict=True):
        np.testing.assert_array_equal(got, expected)
        got[:] = 7  # writable, and nobody else's


def test_too_many_and_too_few_in_flight(backend: TorchCudaBackend) -> None:
    batch = frames(1, (32, 48))
    with pytest.raises(RuntimeError) as caught:
        backend.collect()
    assert str(caught.value) == "no batch is in flight: submit one first"
    backend.submit(batch)
    with pytest.raises(RuntimeError) as caught:
        backend.infer(batch)
    assert str(caught.value) == "1 batches are in flight: collect them first"
    backend.submit(batch)
    with pytest.raises(RuntimeError) as caught:
        backend.submit(batch)
    assert str(caught.value) == "2 batches are in flight: collect one first"
    np.testing.assert_array_equal(backend.collect(), backend.collect())


def test_batch_sizes_that_are_not_used_are_forgotten(backend: TorchCudaBackend) -> None:
    backend.submit(frames(1, (32, 48)))
    for count in (2, 3, 4, 5, 2):
        backend.submit(frames(count, (32, 48)))
        backend._in_flight.rotate()  # collect the later one, so that the first stays in flight
        assert len(backend.collect()) == count
    assert len(backend._slots) == 4
    assert 1 in backend._slots
    assert len(backend.collect()) == 1


def test_wrong_batches(backend: TorchCudaBackend) -> None:
    with pytest.raises(ValueError) as caught:
        backend.infer(frames(1, (32, 47)))
    assert str(caught.value) == "expected (N, 32, 48, 3) uint8, got (1, 32, 47, 3) uint8"


def test_a_closed_backend(backend: TorchCudaBackend) -> None:
    backend.submit(frames(1, (32, 48)))
    backend.close()
    backend.close()
    for call in (lambda: backend.infer(frames(1, (32, 48))), lambda: backend.prepare(1)):
        with pytest.raises(BackendError) as caught:
            call()
        assert str(caught.value) == "the torch backend is closed: create another one"
    assert backend.convolutions() == {}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_devices_that_do_not_do(lite: nn.Module) -> None:
    with pytest.raises(BackendError) as caught:
        TorchCudaBackend(lite, (32, 48), name="lite", device="cuda")
    text = str(caught.value)
    assert text.startswith("PyTorch cannot use the device 'cuda' (")
    assert text.endswith("): use cpu")
    assert "\n" not in text
    with pytest.raises(BackendError) as caught:
        TorchCudaBackend(lite, (32, 48), name="lite", device="cpu")
    assert str(caught.value) == (
        "the fast PyTorch path needs a CUDA device, not 'cpu': use the torch backend, or give "
        "operations"
    )


class Failing(TorchOperations):
    """Fails when told to, as PyTorch does."""

    error: Exception | None = None

    def labels(self, *args: object) -> Tensor:
        if self.error is not None:
            raise self.error
        return super().labels(*args)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            RuntimeError("CUDA error: launch failure\nmore"),
            "PyTorch failed while inferring: CUDA error: launch failure",
        ),
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            "the GPU is out of memory (CUDA out of memory. Tried to allocate 2.00 GiB): use a "
            "smaller size_hw, or close other programs that use it",
        ),
    ],
)
def test_failures_are_translated(lite: nn.Module, error: Exception, text: str) -> None:
    operations = Failing()
    backend = TorchCudaBackend(lite, (32, 48), name="lite", device="cpu", operations=operations)
    operations.error = error
    with pytest.raises(BackendError) as caught:
        backend.infer(frames(1, (32, 48)))
    assert str(caught.value) == text
    operations.error = None
    assert backend.infer(frames(1, (32, 48))).shape == (1, 32, 48)  # nothing is stuck in flight


def test_opening_picks_by_device(pt_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_torch_backend(pt_file, (32, 64), device="cpu"), TorchBackend)
    opened = []

    def fast(model: nn.Module, network_hw: tuple[int, int], **options: object) -> str:
        opened.append((network_hw, options))
        return "fast"

    monkeypatch.setattr(torch_cuda, "TorchCudaBackend", fast)
    assert open_torch_backend(pt_file, (32, 64), device="cuda:1") == "fast"
    assert open_torch_backend(pt_file, (32, 64), device="cuda", name="mine") == "fast"
    assert opened == [
        ((32, 64), {"name": "segnet-lite", "device": "cuda:1"}),
        ((32, 64), {"name": "mine", "device": "cuda"}),
    ]


def test_the_fast_path_needs_no_runtime_of_others() -> None:
    code = (
        "import sys, roadseg.backends.torch_cuda.backend\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    loaded = set(done.stdout.split())
    assert "torch" in loaded
    assert not loaded & {"openvino", "av", "onnx", "tensorrt", "typer", "rich", "cv2"}


def test_kernels_are_not_compiled_by_a_compiler_newer_than_the_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = SimulatedCuda()
    cuda.device = dataclasses.replace(cuda.device, driver_cuda=(12, 4))
    monkeypatch.setattr("roadseg.backends.device_kernels.nvrtc_version", lambda: (13, 0))
    with pytest.raises(BackendError, match=r"^NVRTC 13\.0 writes machine code that this driver"):
        KernelOperations.compiled(cuda)
