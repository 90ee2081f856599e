"""A network to build, its graph exported once, and a reference that is quick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.backends.tensorrt.builder import build_engine as subject
from roadseg.engine.spec import EngineSpec
from tests.support.tensorrt.building import SIZE_HW


@pytest.fixture
def spec(weights: Callable[[str], Path]) -> EngineSpec:
    model = str(weights("segnet-lite"))
    return EngineSpec(model, "fp16", SIZE_HW, (1, 1, 1), "tensorrt", "plugin")


@pytest.fixture(autouse=True)
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in's engines label as `FakeBackend` does: let PyTorch do so, too.

    The frames are noise instead of those of a clip that would have to be decoded each time.
    """
    monkeypatch.setattr(
        subject, "_reference", lambda weights, size_hw, stack: FakeBackend(size_hw).infer
    )

    def frames(data: Path | None, size_hw: tuple[int, int], **_: Any) -> tuple[np.ndarray, str]:
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (8, *size_hw, 3), dtype=np.uint8)
        return noise, "drive.mp4" if data is None else data.name

    monkeypatch.setattr(subject, "parity_frames", frames)


_GRAPHS: dict[EngineSpec, Any] = {}


@pytest.fixture(autouse=True)
def exports(monkeypatch: pytest.MonkeyPatch) -> dict[EngineSpec, Any]:
    """Each graph is exported once; a test that looks at exports forgets those before it."""
    real = subject.export_graph

    def export(spec: EngineSpec, *args: Any, **options: Any) -> Any:
        key = replace(spec, target="tensorrt", sm=())
        if key not in _GRAPHS:
            _GRAPHS[key] = real(spec, *args, **options)
        return _GRAPHS[key]

    monkeypatch.setattr(subject, "export_graph", export)
    return _GRAPHS
