"""What PyTorch makes of pooling and unpooling, for the tests of the plugins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]

NUMPY_TYPES = {"fp32": np.float32, "fp16": np.float16, "int8": np.int8}


def random_values(nchw: tuple[int, ...], dtype: str, seed: int) -> Array:
    """Few different values, so that windows have ties."""
    rng = np.random.default_rng(seed)
    return rng.integers(-6, 7, nchw).astype(NUMPY_TYPES[dtype])


def pool(x: Array) -> tuple[Array, Array]:
    """The maxima, and the indices as places in their windows: 2 * row + column, INT8."""
    y, flat = _pool(x)
    width = x.shape[3]
    row, column = flat.numpy() // width, flat.numpy() % width
    return y.numpy().astype(x.dtype), (2 * (row % 2) + column % 2).astype(np.int8)


def unpool(small: Array, x: Array) -> Array:
    """`small` spread with the indices of pooling `x`."""
    _, flat = _pool(x)
    y = torch.nn.functional.max_unpool2d(
        torch.from_numpy(small.astype(np.float32)), flat, 2, output_size=list(x.shape)
    )
    return y.numpy().astype(x.dtype)


def _pool(x: Array) -> Any:
    # FP32 holds every FP16 and INT8 exactly.
    return torch.nn.functional.max_pool2d(
        torch.from_numpy(x.astype(np.float32)), 2, ceil_mode=True, return_indices=True
    )
