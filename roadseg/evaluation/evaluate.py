"""A backend's scores on labelled frames, measured at the labels' own resolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from roadseg.core.backend import Backend, ScoringBackend
from roadseg.core.errors import DataError, ModelError
from roadseg.core.geometry import Geometry, postprocess, preprocess
from roadseg.core.labels import CAMVID, CLASS_NAMES, ClassSet
from roadseg.core.progress import ShowProgress, StageClock
from roadseg.core.types import Image, Labels
from roadseg.core.wording import option
from roadseg.metrics.boundary import BoundaryF1
from roadseg.metrics.confusion import ConfusionMatrix


class LabelledFrames(Protocol):
    """What can be scored: a `LabelledSet` or a `LabelledClip` of `roadseg.datasets`."""

    def __len__(self) -> int:
        """Number of frames."""

    def __iter__(self) -> Iterator[tuple[Image, Labels]]:
        """(H, W, 3) uint8 BGR frames with (H, W) uint8 class ids; the first behind the
        classes is void."""


@dataclass(frozen=True)
class FrameResult:
    """A labelled frame and what the network made of it.

    Attributes:
        index: 0-based position in the data set.
        image_bgr: (H, W, 3) uint8 BGR.
        true_ids: (H, W) uint8 class ids; the first behind the classes is void.
        predicted_ids: (H, W) uint8 class ids.
        scores: (classes, h, w) float32 at the network's size, before softmax; None from a backend
            that gives labels only.
    """

    index: int
    image_bgr: Image
    true_ids: Labels
    predicted_ids: Labels
    scores: npt.NDArray[np.float32] | None


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
        per_class_bf: boundary F1 by class id, averaged over the images whose truth has the class.
        class_names: names by class id.
    """

    images: int
    global_accuracy: float
    class_accuracy: float
    miou: float
    bf_ground_truth: float
    bf_union: float
    per_class_iou: tuple[float, ...]
    per_class_accuracy: tuple[float, ...]
    per_class_bf: tuple[float, ...]
    class_names: tuple[str, ...] = CLASS_NAMES

    def to_json(self) -> dict[str, object]:
        """As JSON types: NaN becomes None, classes go by name; `bf` is the paper's average."""
        return {
            "images": self.images,
            "global_accuracy": _or_none(self.global_accuracy),
            "class_accuracy": _or_none(self.class_accuracy),
            "miou": _or_none(self.miou),
            "bf": _or_none(self.bf_ground_truth),
            "bf_union": _or_none(self.bf_union),
            "per_class_iou": self._by_name(self.per_class_iou),
            "per_class_accuracy": self._by_name(self.per_class_accuracy),
            "per_class_bf": self._by_name(self.per_class_bf),
        }

    def _by_name(self, values: tuple[float, ...]) -> dict[str, float | None]:
        pairs = zip(self.class_names, values, strict=True)
        return {name: _or_none(value) for name, value in pairs}


def no_frames() -> DataError:
    """The error to raise where there is nothing to evaluate."""
    return DataError(
        "nothing to evaluate: the data set has no frames",
        fix=f"use another {option('--split')}, or add frames",
    )


def evaluate_backend(
    backend: Backend,
    dataset: LabelledFrames,
    *,
    progress: ShowProgress | None = None,
    observers: Iterable[Callable[[FrameResult], None]] = (),
    classes: ClassSet = CAMVID,
) -> Scores:
    """Score a backend.

    Each frame is resized to the backend's input, and the predicted labels are brought back to
    the size of the frame's own labels before they are compared; void is ignored.

    Args:
        backend: takes (1, h, w, 3) uint8 BGR batches; left open.
        dataset: the labelled frames.
        progress: shows how many frames are done.
        observers: called with every frame and its labels, in order; they get the class scores,
            too, where the backend is a `ScoringBackend`.
        classes: what the frames are labelled with, and the backend must tell apart.

    Raises:
        ModelError: a class was predicted that the labels do not know.
        DataError: the data set has no frames, one of them is damaged, or all labels are void.
        BackendError: the runtime failed.
    """
    confusion = ConfusionMatrix(classes.num_classes)
    boundary = BoundaryF1(classes.num_classes)
    observers = tuple(observers)
    clock, total = StageClock("evaluating", progress), len(dataset)
    network_hw = backend.network_hw
    batch_bgr: npt.NDArray[np.uint8] = np.empty((1, *network_hw, 3), np.uint8)
    for done, (image_bgr, true_ids) in enumerate(dataset, start=1):
        preprocess(image_bgr, network_hw, out=batch_bgr[0])
        labels_hw = (true_ids.shape[0], true_ids.shape[1])
        geometry = Geometry(source_hw=labels_hw, network_hw=network_hw)
        scores: npt.NDArray[np.float32] | None = None
        if isinstance(backend, ScoringBackend):
            scores = backend.infer_scores(batch_bgr)[0]
            network_ids = scores.argmax(axis=0).astype(np.uint8)
        else:
            network_ids = backend.infer(batch_bgr)[0]
        highest = int(network_ids.max(initial=0))
        if highest >= classes.num_classes:
            raise ModelError(
                f"{backend.info.model} predicts class id {highest}, which {classes} do not have",
                fix="score it on data of the classes it was trained on",
            )
        predicted_ids = postprocess(network_ids, geometry).ids
        confusion.update(predicted_ids, true_ids)
        boundary.update(predicted_ids, true_ids)
        result = FrameResult(done - 1, image_bgr, true_ids, predicted_ids, scores)
        for observe in observers:
            observe(result)
        clock.step(done, total)
    if boundary.images == 0:
        raise no_frames()
    if not confusion.matrix.any():
        raise DataError(
            "nothing to evaluate: every pixel of the labels is void", fix="label some of them"
        )
    return Scores(
        images=boundary.images,
        global_accuracy=confusion.global_accuracy,
        class_accuracy=confusion.class_accuracy,
        miou=confusion.miou,
        bf_ground_truth=boundary.ground_truth,
        bf_union=boundary.union,
        per_class_iou=tuple(confusion.per_class_iou.tolist()),
        per_class_accuracy=tuple(confusion.per_class_accuracy.tolist()),
        per_class_bf=tuple(boundary.per_class.tolist()),
        class_names=classes.names,
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
