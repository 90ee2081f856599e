"""A backend's scores on labelled frames, measured at the labels' own resolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from roadseg.backends.base import Backend
from roadseg.errors import DataError
from roadseg.evaluation.boundary import BoundaryF1
from roadseg.evaluation.confusion import ConfusionMatrix
from roadseg.labels import CLASS_NAMES
from roadseg.postprocess import postprocess
from roadseg.preprocess import preprocess
from roadseg.types import Geometry, Image, Labels

__all__ = ["LabelledFrames", "Scores", "evaluate_backend"]


class LabelledFrames(Protocol):
    """What can be scored: `roadseg.data.CamVid`, `roadseg.evaluation.clip.LabelledClip`."""

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def __iter__(self) -> Iterator[tuple[Image, Labels]]:
        """(H, W, 3) uint8 BGR frames with (H, W) uint8 class ids, 11 = void."""
        ...


@dataclass(frozen=True)
class Scores:
    """Figures of one evaluation, all of them fractions 0..1, NaN where undefined.

    Attributes:
        images: frames scored.
        global_accuracy: share of pixels labelled right (G).
        class_accuracy: accuracy of each class, averaged over the true classes (C).
        miou: mean intersection over union.
        bf_ground_truth: boundary F1, averaged over the classes of each ground truth (paper).
        bf_union: boundary F1 with classes that are only predicted counted as 0 (script).
        per_class_iou: IoU by class id.
        per_class_accuracy: share of the pixels of each true class that were found, by class id.
    """

    images: int
    global_accuracy: float
    class_accuracy: float
    miou: float
    bf_ground_truth: float
    bf_union: float
    per_class_iou: tuple[float, ...]
    per_class_accuracy: tuple[float, ...]

    def to_json(self) -> dict[str, object]:
        """As JSON types: NaN becomes None, classes go by name; `bf` is the paper's average."""
        return {
            "images": self.images,
            "global_accuracy": _or_none(self.global_accuracy),
            "class_accuracy": _or_none(self.class_accuracy),
            "miou": _or_none(self.miou),
            "bf": _or_none(self.bf_ground_truth),
            "bf_union": _or_none(self.bf_union),
            "per_class_iou": _by_name(self.per_class_iou),
            "per_class_accuracy": _by_name(self.per_class_accuracy),
        }


def evaluate_backend(
    backend: Backend,
    dataset: LabelledFrames,
    *,
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Score a backend.

    Each frame is resized to the backend's input, and the predicted labels are brought back to
    the size of the frame's own labels before they are compared; void is ignored.

    Args:
        backend: takes (1, h, w, 3) uint8 BGR batches; left open.
        dataset: the labelled frames.
        progress: called with the number of frames done, after each.

    Raises:
        DataError: the data set has no frames, or one of them is damaged.
        BackendError: the runtime failed.
    """
    confusion = ConfusionMatrix()
    boundary = BoundaryF1()
    network_hw = backend.network_hw
    batch_bgr: npt.NDArray[np.uint8] = np.empty((1, *network_hw, 3), np.uint8)
    for done, (image_bgr, true_ids) in enumerate(dataset, start=1):
        preprocess(image_bgr, network_hw, out=batch_bgr[0])
        labels_hw = (true_ids.shape[0], true_ids.shape[1])
        geometry = Geometry(source_hw=labels_hw, network_hw=network_hw)
        predicted_ids = postprocess(backend.infer(batch_bgr)[0], geometry).ids
        confusion.update(predicted_ids, true_ids)
        boundary.update(predicted_ids, true_ids)
        if progress is not None:
            progress(done)
    if boundary.images == 0:
        raise DataError("nothing to evaluate: the data set has no frames")
    return Scores(
        images=boundary.images,
        global_accuracy=confusion.global_accuracy,
        class_accuracy=confusion.class_accuracy,
        miou=confusion.miou,
        bf_ground_truth=boundary.ground_truth,
        bf_union=boundary.union,
        per_class_iou=tuple(confusion.per_class_iou.tolist()),
        per_class_accuracy=tuple(confusion.per_class_accuracy.tolist()),
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _by_name(values: tuple[float, ...]) -> dict[str, float | None]:
    return {name: _or_none(value) for name, value in zip(CLASS_NAMES, values, strict=True)}
