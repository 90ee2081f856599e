"""How PyTorch chooses its kernels while a network trains."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.backends import cudnn


@contextmanager
def kernel_choice(*, deterministic: bool) -> Iterator[None]:
    """The fastest kernels within the block, or those that give the same bits every time.

    On a CPU they are the same. Where PyTorch has no deterministic kernel for a GPU it warns, and
    goes on.
    """
    choices = cudnn.benchmark, cudnn.deterministic
    enforced = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn.benchmark, cudnn.deterministic = not deterministic, deterministic
    if deterministic:
        # cuBLAS looks at it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            # Its order matters where windows overlap; those of 2x2 pools with stride 2 do not.
            warnings.filterwarnings("ignore", "max_unpooling2d")
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = choices
        torch.use_deterministic_algorithms(enforced, warn_only=warn_only)
