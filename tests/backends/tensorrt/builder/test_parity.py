"""Shares of pixels, and what follows from them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.backends.tensorrt.builder.parity import check_parity, compare, parity_frames
from roadseg.core import shipped
from roadseg.core.errors import DataError, EngineError
from roadseg.core.progress import Progress
from roadseg.engine.manifest import ParityFacts

pytestmark = pytest.mark.usefixtures("as_typed")

SIZE_HW = (64, 96)


def frames(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *SIZE_HW, 3), dtype=np.uint8)


def test_the_same_labels() -> None:
    backend = FakeBackend(SIZE_HW)
    assert compare(backend.infer, backend.infer, frames(3)) == 1.0


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8])
def test_every_pixel_counts_once_whatever_the_batch(batch: int) -> None:
    reference = FakeBackend(SIZE_HW).infer
    sizes: list[int] = []
    states: list[Progress] = []

    def off_by_some(batch_bgr: np.ndarray) -> np.ndarray:
        sizes.append(len(batch_bgr))
        labels = reference(batch_bgr).copy()
        labels[:, 0, :24] += 1
        return labels

    share = compare(
        off_by_some,
        reference,
        frames(5),
        batch=batch,
        progress=states.append,
    )
    # 24 pixels of 64x96.
    assert share == 1 - 24 / 6144
    assert sum(sizes) == 5
    assert max(sizes) == min(batch, 5)
    assert (states[-1].stage, states[-1].detail, states[-1].fraction) == ("comparing", "5/5", 1.0)


def test_labels_of_another_shape_are_a_bug() -> None:
    reference = FakeBackend(SIZE_HW).infer
    with pytest.raises(ValueError, match=r"^expected \(1, 64, 96\) uint8, got \(1, 64\) uint8$"):
        compare(lambda batch: reference(batch)[..., 0], reference, frames(1))
    with pytest.raises(ValueError, match="int64$"):
        compare(reference, lambda batch: reference(batch).astype(np.int64), frames(1))


def facts(agreement: float) -> ParityFacts:
    return ParityFacts(agreement, 8, "drive.mp4", "PyTorch FP32")


def test_the_bar_is_99_percent() -> None:
    check_parity(facts(0.99), "fp16", name="TensorRT 10")
    check_parity(facts(0.99), "fp32", name="TensorRT 10")
    # The price of INT8 is measured in mIoU, and elsewhere.
    check_parity(facts(0.5), "int8", name="TensorRT 10")
    with pytest.raises(EngineError) as caught:
        check_parity(facts(0.98765), "fp16", name="TensorRT 10.13.0.35")
    assert str(caught.value) == (
        "the engine that TensorRT 10.13.0.35 built gives 98.77% of the labels of PyTorch FP32 on "
        "8 frames of drive.mp4 (99% are needed), so it was not kept: use --fp32, or --data with "
        "frames like yours"
    )
    with pytest.raises(EngineError) as caught:
        check_parity(facts(float("nan")), "fp32", name="TensorRT 10.13.0.35")
    assert str(caught.value).endswith(
        "so it was not kept: report it with this line, and use --backend torch"
    )


def test_frames_of_the_sample_clip() -> None:
    given, described = parity_frames(None, SIZE_HW)
    assert given.shape == (8, *SIZE_HW, 3)
    assert given.dtype == np.uint8
    assert described == "drive.mp4"
    # From the whole clip: no two are alike.
    assert len({frame.tobytes() for frame in given}) == 8
    assert (parity_frames(None, SIZE_HW)[0] == given).all()


def test_frames_without_the_sample_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "roadseg")
    given, described = parity_frames(None, SIZE_HW, count=2)
    assert given.shape == (2, *SIZE_HW, 3)
    assert described == "rendered scenes"
    assert (given[0] != given[1]).any()


def test_frames_of_the_users(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((50, 70, 3), 80 * number, np.uint8))
    given, described = parity_frames(tmp_path, SIZE_HW, count=2)
    assert given.shape == (2, *SIZE_HW, 3)
    assert described == tmp_path.name
    with pytest.raises(DataError, match="^nothing at "):
        parity_frames(tmp_path / "none", SIZE_HW)
