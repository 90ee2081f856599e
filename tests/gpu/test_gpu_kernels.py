"""The kernels as a GPU runs them, against PyTorch on the same GPU."""

from __future__ import annotations

import pytest
import torch

from benchmarks.gpu_kernels import check_pool, check_unpool, load_operations
from roadseg.backends.torch_cuda.kernels import KernelOperations
from roadseg.backends.torch_cuda.ops import ResponseNorm, TorchOperations
from roadseg.kernels.kernels import Variant, variants

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]

# Odd sides, sides of 1, channels that no vector divides, SegNet's largest map.
SHAPES = (
    (1, 64, 45, 60),
    (2, 37, 23, 31),
    (3, 8, 1, 1),
    (1, 513, 7, 16),
    (2, 16, 64, 2),
    (1, 64, 360, 480),
    (2, 64, 91, 119),
)


@pytest.fixture(scope="module")
def operations() -> KernelOperations:
    return load_operations("cuda")


@pytest.mark.parametrize("variant", variants(), ids=lambda variant: variant.symbol)
@pytest.mark.parametrize("nchw", SHAPES, ids=str)
def test_parity(
    operations: KernelOperations, variant: Variant, nchw: tuple[int, int, int, int]
) -> None:
    check = check_pool if variant.op == "pool" else check_unpool
    assert check(operations, variant, nchw, "cuda")


@pytest.mark.parametrize("norm", [None, ResponseNorm(5, 1e-4, 0.75, 1.0)])
def test_frames(operations: KernelOperations, norm: ResponseNorm | None) -> None:
    frames = torch.randint(0, 256, (2, 360, 480, 3), dtype=torch.uint8, device="cuda")
    got = operations.frame(frames, 8, torch.float16, norm)
    want = TorchOperations().frame(frames, 8, torch.float32, norm)
    # One rounding to FP16.
    torch.testing.assert_close(got.float(), want, rtol=6e-4, atol=0)


@pytest.mark.parametrize(
    ("channels", "block", "out_hw"), [(16, 1, (180, 240)), (48, 2, (359, 480))]
)
def test_labels(
    operations: KernelOperations, channels: int, block: int, out_hw: tuple[int, int]
) -> None:
    # Few values: most pixels have ties, of which the first wins.
    scores = torch.randint(-2, 3, (2, channels, 180, 240), device="cuda").half()
    got = operations.labels(scores, 11, block, out_hw)
    want = TorchOperations().labels(scores.float().cpu(), 11, block, out_hw)
    assert torch.equal(got.cpu(), want)


def test_kernels_in_a_cuda_graph(operations: KernelOperations) -> None:
    """Replays read what the buffers hold then, on the stream that the graph is replayed on."""
    x = torch.empty(2, 64, 45, 60, dtype=torch.float16, device="cuda")
    x = x.contiguous(memory_format=torch.channels_last)
    x.normal_()

    def both() -> torch.Tensor:
        y, index = operations.pool(x)
        return operations.unpool(y, index, (45, 60))

    both()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = both()
    plain = TorchOperations()
    for _ in range(3):
        x.normal_()
        out.fill_(float("nan"))
        graph.replay()
        torch.cuda.synchronize()
        y, places = plain.pool(x.float())
        assert torch.equal(out.float(), plain.unpool(y, places, (45, 60)))
