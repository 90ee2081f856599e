"""Plugin-lowered graphs without TensorRT: their two operations in NumPy, for ONNX's own evaluator.

    outputs = reference_evaluator(onnx_model).run(None, {"frame_bgr": batch_bgr})

It is the plainest meaning of what the plugin has to compute, and slow: for small frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.export.lowering import DOMAIN

Array = npt.NDArray[Any]


def pool_with_index(x: Array) -> tuple[Array, npt.NDArray[np.int8]]:
    """2x2 max-pooling with stride 2 and the place of each maximum.

    Args:
        x: (N, C, H, W), floating or INT8.

    Returns:
        (N, C, ceil(H/2), ceil(W/2)) maxima of the same type, and their places in their windows,
        2 * row + column. The first of equal values wins, and the last of several NaNs, as in
        PyTorch. What an odd side lacks never wins.
    """
    floating = np.issubdtype(x.dtype, np.floating)
    lowest = -np.inf if floating else np.iinfo(x.dtype).min
    odd_h, odd_w = x.shape[2] % 2, x.shape[3] % 2
    even = np.pad(x, ((0, 0), (0, 0), (0, odd_h), (0, odd_w)), constant_values=lowest)
    best = even[:, :, ::2, ::2]
    index = np.zeros(best.shape, np.int8)
    for k in (1, 2, 3):
        corner = even[:, :, k // 2 :: 2, k % 2 :: 2]
        wins = (corner > best) | (corner != corner)  # a NaN differs from itself
        best, index = np.where(wins, corner, best), np.where(wins, np.int8(k), index)
    return best, index


def unpool_with_index(x: Array, index: npt.NDArray[np.int8], crop_hw: tuple[int, int]) -> Array:
    """The way back: each value at its place in its window, zeros elsewhere.

    Args:
        x: (N, C, h, w) values.
        index: (N, C, h, w) INT8 places, 0..3.
        crop_hw: rows and columns, 0 or 1, that (2h, 2w) has more than the result.

    Returns:
        (N, C, 2h - crop_h, 2w - crop_w), of the type of `x`.

    Raises:
        ValueError: `index` is not INT8 of the shape of `x`.
    """
    if index.dtype != np.int8 or index.shape != x.shape:
        raise ValueError(
            f"values and INT8 places must agree: got {x.shape} and {index.dtype} {index.shape}"
        )
    n, c, h, w = x.shape
    full = np.zeros((n, c, 2 * h, 2 * w), x.dtype)
    for k in range(4):
        full[:, :, k // 2 :: 2, k % 2 :: 2] = np.where(index == k, x, x.dtype.type(0))
    return full[:, :, : 2 * h - crop_hw[0], : 2 * w - crop_hw[1]]


def reference_evaluator(onnx_model: Any) -> Any:
    """An `onnx.reference.ReferenceEvaluator` that knows the operations of the domain `roadseg`.

    Args:
        onnx_model: an `onnx.ModelProto`, as `roadseg.export.onnx.build_onnx` returns it.
    """
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class MaxPoolIndex(OpRun):  # type: ignore[misc]
        op_domain = DOMAIN

        def _run(self, x: Array, **_attributes: Any) -> tuple[Array, ...]:
            return pool_with_index(x)

    class MaxUnpoolIndex(OpRun):  # type: ignore[misc]
        op_domain = DOMAIN

        def _run(self, x: Array, index: Array, **_attributes: Any) -> tuple[Array, ...]:
            return (unpool_with_index(x, index, (self.crop_h, self.crop_w)),)

    class LRN(OpRun):  # type: ignore[misc]
        """ONNX's own, of 1.23 at least, sums over as many channels as the batch has frames."""

        op_domain = ""

        def _run(self, x: Array, **_attributes: Any) -> tuple[Array, ...]:
            below, above = (self.size - 1) // 2, self.size // 2
            squares = np.pad(x**2, ((0, 0), (below, above), (0, 0), (0, 0)))
            sums = sum(squares[:, k : k + x.shape[1]] for k in range(self.size))
            return (x / (self.bias + self.alpha / self.size * sums) ** self.beta,)

    return ReferenceEvaluator(onnx_model, new_ops=[MaxPoolIndex, MaxUnpoolIndex, LRN])
