"""Whether PyTorch could be what runs on the GPU."""

from __future__ import annotations


def torch_sees_gpu() -> bool:
    """Whether PyTorch is installed and can use a GPU. Loads PyTorch, which takes seconds."""
    try:
        import torch
    except (ImportError, OSError):  # not there, or one of its libraries is not
        return False
    return bool(torch.cuda.is_available())
