"""Files of ImageNet weights that other projects made, for a network's encoder to start from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from roadseg.core.errors import ModelError


def read_state(path: Path, wanted: str) -> dict[str, Tensor]:
    """The tensors of a `.pth` file by name, in their order.

    Args:
        path: the file.
        wanted: what to do instead where it is of no use: which weights to give.

    Raises:
        ModelError: the file is missing, damaged, or holds no tensors alone.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"no weights at {path}", fix=wanted) from None
    except Exception as exc:
        raise ModelError(f"{path} is not a file of weights", fix=wanted) from exc
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(f"{path} is not a state dict", fix=wanted)
    return state
