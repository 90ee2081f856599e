"""roadseg's own pooling kernels on PyTorch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from roadseg.backends.torch_cuda.ops import (
    FRAME_SCALE,
    Operations,
    ResponseNorm,
    TorchOperations,
)
from roadseg.core.errors import BackendError
from roadseg.kernels.frame import FRAME_SYMBOLS, frame_launch, frame_source, labels_launch
from roadseg.kernels.kernels import (
    Launch,
    Layout,
    Variant,
    pool_launch,
    pooled_hw,
    storage_bytes,
    unpool_launch,
    variants,
)

if TYPE_CHECKING:
    from roadseg.cuda.api import Cuda


_DTYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.int8: "int8"}
_CHANNELS_LAST = torch.channels_last


def variant_for(op: str, dtype: torch.dtype, channels: int) -> Variant:
    """The kernel for tensors as PyTorch lays them out.

    FP16 in multiples of 8 channels is channels-last (HWC8) and its index map HWC16; all else is
    planar.

    Raises:
        BackendError: no kernel takes that dtype.
    """
    name = _DTYPES.get(dtype)
    if name is None:
        raise BackendError(f"no kernel takes {dtype}", fix="use FP16 or FP32")
    if name == "fp16" and channels % 8 == 0:
        return Variant(op, name, Layout.HWC8, Layout.HWC16)
    return Variant(op, name, Layout.LINEAR, Layout.LINEAR)


class KernelOperations(TorchOperations):
    """With roadseg's kernels, on PyTorch's current stream: INT8 index maps, one launch each.

    Index maps are flat tensors of bytes, laid out as the kernels want them.

    Args:
        cuda: of the device that the tensors are on; with `SimulatedCuda`, tensors on the CPU.
        image: the pooling kernels, compiled.
        frame_image: the kernels of `roadseg.kernels.frame`, compiled. They are for FP16: frames and
            labels of FP32 networks go through PyTorch's own operations.

    Raises:
        BackendError: the kernels cannot be loaded.
    """

    name = "roadseg's kernels"

    def __init__(self, cuda: Cuda, image: bytes, frame_image: bytes) -> None:
        # CUDA of its own would go with its last reference, and the kernels with it.
        self._cuda = cuda
        pooling = cuda.load_kernels(image, [variant.symbol for variant in variants()])
        self._kernels = pooling | cuda.load_kernels(frame_image, FRAME_SYMBOLS)

    @classmethod
    def compiled(cls, cuda: Cuda) -> KernelOperations:
        """The kernels compiled for the GPU of `cuda`, or from the user's cache.

        Raises:
            BackendError: NVRTC is missing, too old for the GPU or too new for its driver, or the
                kernels cannot be loaded.
        """
        from roadseg.backends.device_kernels import compile_for

        device = cuda.device
        return cls(cuda, compile_for(device), compile_for(device, text=frame_source()))

    def make_current(self) -> None:
        """To be called on each thread before its first launch."""
        self._cuda.make_current()

    def launch(self, call: Launch, like: Tensor) -> None:
        """Run one kernel on the current stream of the device of `like`."""
        handle = torch.cuda.current_stream(like.device).cuda_stream if like.is_cuda else 0
        self._kernels[call.symbol].launch(call.grid, call.block, call.args, handle)

    def frame(
        self, frames: Tensor, channels: int, dtype: torch.dtype, norm: ResponseNorm | None
    ) -> Tensor:
        """See `Operations.frame`.

        Raises:
            BackendError: the launch failed.
        """
        if dtype != torch.float16 or channels != 8:
            return super().frame(frames, channels, dtype, norm)
        n, h, w, _ = frames.shape
        frames = frames.contiguous()
        out = torch.empty((n, h, w, channels), dtype=dtype, device=frames.device)
        factors = None if norm is None else (norm.k, norm.alpha / norm.size, norm.beta)
        scale = FRAME_SCALE if norm is None else 1.0
        addresses = (frames.data_ptr(), out.data_ptr())
        self.launch(frame_launch(n * h * w, *addresses, scale=scale, norm=factors), frames)
        return out.permute(0, 3, 1, 2)

    def labels(self, scores: Tensor, classes: int, block: int, out_hw: tuple[int, int]) -> Tensor:
        """See `Operations.labels`.

        Raises:
            BackendError: the launch failed.
        """
        n, channels, h, w = scores.shape
        if scores.dtype != torch.float16 or channels % 8:
            return super().labels(scores, classes, block, out_hw)
        scores = scores.contiguous(memory_format=_CHANNELS_LAST)
        out = torch.empty((n, *out_hw), dtype=torch.uint8, device=scores.device)
        call = labels_launch(
            (n, h, w, channels),
            scores.data_ptr(),
            out.data_ptr(),
            classes=classes,
            block=block,
            out_hw=out_hw,
        )
        self.launch(call, scores)
        return out

    def pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Operations.pool`.

        Raises:
            BackendError: no kernel takes the dtype, or the launch failed.
        """
        n, c, h, w = x.shape
        variant = variant_for("pool", x.dtype, c)
        x = _laid_out(x, variant)
        small = (n, c, *pooled_hw(h, w))
        y = _empty(small, x, variant)
        index_bytes = storage_bytes("int8", variant.index_layout, small)
        index = torch.empty(index_bytes, dtype=torch.int8, device=x.device)
        call = pool_launch(variant, (n, c, h, w), x.data_ptr(), y.data_ptr(), index.data_ptr())
        self.launch(call, x)
        return y, index

    def unpool(self, x: Tensor, index: Tensor, out_hw: tuple[int, int]) -> Tensor:
        """See `Operations.unpool`.

        Raises:
            BackendError: no kernel takes the dtype, or the launch failed.
        """
        n, c, h, w = x.shape
        variant = variant_for("unpool", x.dtype, c)
        x = _laid_out(x, variant)
        y = _empty((n, c, *out_hw), x, variant)
        crop_hw = (2 * h - out_hw[0], 2 * w - out_hw[1])
        addresses = (x.data_ptr(), index.data_ptr(), y.data_ptr())
        self.launch(unpool_launch(variant, (n, c, h, w), crop_hw, *addresses), x)
        return y


def open_operations(device_index: int) -> tuple[Operations, str]:
    """roadseg's kernels on a GPU if they can be had, else PyTorch's own operations.

    Returns:
        The operations, and why they are not the kernels: empty if they are.
    """
    from roadseg.cuda.load import load_cuda

    try:
        return KernelOperations.compiled(load_cuda(device_index)), ""
    except BackendError as exc:
        return TorchOperations(), str(exc)


def _laid_out(x: Tensor, variant: Variant) -> Tensor:
    if variant.layout is Layout.LINEAR:
        return x.contiguous()
    return x.contiguous(memory_format=_CHANNELS_LAST)


def _empty(shape: tuple[int, ...], like: Tensor, variant: Variant) -> Tensor:
    order = torch.contiguous_format if variant.layout is Layout.LINEAR else _CHANNELS_LAST
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=order)
