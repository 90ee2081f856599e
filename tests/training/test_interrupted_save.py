"""Ctrl-C while a checkpoint is written is an interruption, not a full disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from roadseg.core.errors import SinkError
from roadseg.training.checkpoint import save_checkpoint

pytestmark = pytest.mark.usefixtures("as_typed")


def failing(interrupted: bool) -> Callable[..., None]:
    def save(content: Any, file: Any) -> None:
        file.write(b"half")
        if not interrupted:
            raise RuntimeError("unexpected pos 64 vs 0")
        # What happens inside torch.save when the signal comes while it writes.
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("unexpected pos 64 vs 0")

    return save


@pytest.mark.parametrize(("interrupted", "error"), [(True, KeyboardInterrupt), (False, SinkError)])
def test_interruption_while_writing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interrupted: bool,
    error: type[BaseException],
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"the previous one")
    monkeypatch.setattr(torch, "save", failing(interrupted))
    with pytest.raises(error):
        save_checkpoint(path, {"model_name": "segnet-lite"})
    assert path.read_bytes() == b"the previous one"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
