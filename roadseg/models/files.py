"""Files of tensors that are whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from roadseg.core.errors import first_line
from roadseg.core.files import whole_file

__all__ = ["save_in_one_step"]


def save_in_one_step(path: Path, content: dict[str, Any]) -> None:
    """What `torch.save` does, but a crash or a full disk leaves the file as it was.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    with whole_file(path) as part:
        try:
            torch.save(content, part)
        except RuntimeError as exc:
            # PyTorch's writer turns Ctrl-C and a full disk into a complaint about the position in
            # the file.
            if isinstance(exc.__context__, (KeyboardInterrupt, OSError)):
                raise exc.__context__ from None
            raise OSError(first_line(exc)) from exc
