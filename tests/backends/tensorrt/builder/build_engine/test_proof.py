"""An engine is kept only if its labels are those of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.backends.tensorrt.builder import build_engine as subject
from roadseg.backends.tensorrt.builder.build_engine import build_engine
from roadseg.core.errors import (
    BackendError,
    EngineError,
)
from roadseg.engine.manifest import (
    ParityFacts,
    read_manifest,
)
from roadseg.engine.spec import EngineSpec
from roadseg.engine.store import checksum_problem
from tests.support.tensorrt.building import SIZE_HW, names

pytestmark = pytest.mark.usefixtures("as_typed")


def wrong_labels(share: float) -> Any:
    """A reference that differs from the engine in that share of the pixels."""

    def make(weights: Path, size_hw: tuple[int, int], stack: Any) -> Any:
        backend = FakeBackend(size_hw)

        def infer(batch: np.ndarray) -> np.ndarray:
            labels = backend.infer(batch).copy()
            flat = labels.reshape(-1)
            flat[: round(share * flat.size)] += 1
            return labels

        return infer

    return make


def test_wrong_labels_are_no_engine(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "x.engine"
    before = build_engine(spec, output=path, **workshop().options())
    monkeypatch.setattr(subject, "_reference", wrong_labels(0.02))
    with pytest.raises(EngineError) as caught:
        build_engine(spec, output=path, **workshop().options())
    assert str(caught.value) == (
        "the engine that TensorRT 10.13.0.35 built gives 98.00% of the labels of PyTorch FP32 on "
        "8 frames of drive.mp4 (99% are needed), so it was not kept: use --fp32, or --data with "
        "frames like yours"
    )
    # What was there is still there, and nothing else.
    assert read_manifest(path) == before.manifest
    assert checksum_problem(before) is None
    assert names(tmp_path) == ["x.engine", "x.engine.json"]
    monkeypatch.setattr(subject, "_reference", wrong_labels(0.009))
    engine = build_engine(spec, output=path, **workshop().options())
    assert engine.manifest.parity is not None
    assert engine.manifest.parity.agreement == pytest.approx(0.991, abs=1e-4)


def test_the_real_reference_is_pytorch_in_fp32_on_the_cpu(
    weights: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    from contextlib import ExitStack

    import torch

    from roadseg.models import load_weights

    frames = np.random.default_rng(0).integers(0, 256, (1, *SIZE_HW, 3), dtype=np.uint8)
    file = weights("segnet-lite")
    with ExitStack() as stack:
        labels = subject._reference(file, SIZE_HW, stack)(frames)
    model, _ = load_weights(file)
    with torch.inference_mode():
        planes = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        expected = model(planes).argmax(1).numpy()
    assert (labels == expected).all()


def test_an_engine_that_does_not_load_is_no_engine(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = workshop()

    class Runtime:
        def __init__(self, logger: Any) -> None:
            raise TypeError("nullptr")

    shop.trt.Runtime = Runtime
    with pytest.raises(BackendError, match=r"^TensorRT 10\.13\.0\.35 cannot start"):
        build_engine(spec, output=tmp_path / "out", **shop.options())
    assert names(tmp_path / "out") == []


def test_frames_are_compared_as_many_at_a_time_as_the_engine_is_tuned_for(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    def make(weights: Path, size_hw: tuple[int, int], stack: Any) -> Any:
        def infer(batch: np.ndarray) -> np.ndarray:
            sizes.append(len(batch))
            return FakeBackend(size_hw).infer(batch)

        return infer

    monkeypatch.setattr(subject, "_reference", make)
    build_engine(replace(spec, batch=(1, 3, 8)), output=tmp_path, **workshop().options())
    assert sizes == [3, 3, 2]


def test_frames_of_the_users_are_compared(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    data = tmp_path / "night.mp4"
    engine = build_engine(spec, output=tmp_path, data=data, **workshop().options())
    assert engine.manifest.parity == ParityFacts(1.0, 8, "night.mp4", "PyTorch FP32")
