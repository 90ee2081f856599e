"""What a quantised graph costs: its labels against the truth, and against those of the float graph.

Measured with OpenVINO on the CPU, which reads the very graph that TensorRT gets in the native
lowering. It computes quantised convolutions in integers, as TensorRT does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.core.geometry import Geometry, postprocess, preprocess
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.progress import StageClock
from roadseg.core.size import SizeHW
from roadseg.core.types import Labels
from roadseg.evaluation.evaluate import LabelledFrames
from roadseg.export.ir import from_onnx
from roadseg.metrics.confusion import ConfusionMatrix

_FREQUENT = 0.001


@dataclass(frozen=True)
class LabelledTruth:
    """Labelled frames at the network's size.

    Attributes:
        batches: (1, h, w, 3) uint8 BGR.
        labels: (H, W) uint8 class ids of each, at their own size.
        classes: what they name; the id behind the last one is void.
    """

    batches: list[npt.NDArray[np.uint8]]
    labels: list[Labels]
    classes: ClassSet = CAMVID


def load_truth(
    dataset: LabelledFrames, network_hw: SizeHW, classes: ClassSet = CAMVID
) -> LabelledTruth:
    """Read labelled frames once, to be compared with often.

    Raises:
        DataError: one of them is damaged.
    """
    truth = LabelledTruth([], [], classes)
    for image_bgr, ids in dataset:
        truth.batches.append(preprocess(image_bgr, network_hw)[0][np.newaxis])
        truth.labels.append(ids)
    return truth


def predict(
    onnx_model: Any,
    batches: Sequence[npt.NDArray[np.uint8]],
    network_hw: SizeHW,
    *,
    threads: int | None = None,
    clock: StageClock | None = None,
) -> list[Labels]:
    """(h, w) uint8 labels of each frame.

    Args:
        onnx_model: in the native lowering, float or quantised, giving labels.
        batches: (1, h, w, 3) uint8 BGR frames.
        network_hw: their size.
        threads: CPU threads; default: OpenVINO's choice.
        clock: shows how many frames are done.

    Raises:
        BackendError: OpenVINO cannot run the graph.
    """
    network = from_onnx(onnx_model)
    return predict_openvino(network, batches, network_hw, threads=threads, clock=clock)


def predict_openvino(
    network: Any,
    batches: Sequence[npt.NDArray[np.uint8]],
    network_hw: SizeHW,
    *,
    threads: int | None = None,
    clock: StageClock | None = None,
) -> list[Labels]:
    """What `predict` does, for an `openvino.Model`."""
    backend = OpenVinoBackend(network, network_hw, name="graph", precision="", threads=threads)
    try:
        labels = []
        for done, batch in enumerate(batches, start=1):
            labels.append(backend.infer(batch)[0])
            if clock is not None:
                clock.step(done, len(batches))
        return labels
    finally:
        backend.close()


def miou(predicted: Iterable[Labels], truth: LabelledTruth) -> float:
    """Mean intersection over union, 0..1, as `roadseg eval` measures it.

    Args:
        predicted: (h, w) labels at the network's size, in the order of `truth`.
        truth: what they should be.
    """
    confusion = ConfusionMatrix(truth.classes.num_classes)
    for ids, true_ids in zip(predicted, truth.labels, strict=True):
        geometry = Geometry(source_hw=true_ids.shape, network_hw=ids.shape)
        confusion.update(postprocess(ids, geometry).ids, true_ids)
    return confusion.miou


def agreement(first: Iterable[Labels], second: Iterable[Labels]) -> float:
    """Share of pixels, 0..1, that have the same label in both."""
    same = [np.mean(a == b) for a, b in zip(first, second, strict=True)]
    return float(np.mean(same))


def label_miou(reference: Iterable[Labels], labels: Iterable[Labels], num_classes: int) -> float:
    """Mean IoU, 0..1, between two sets of label maps.

    Over the classes that the reference gives to a thousandth of the pixels or more: of a class of
    a few pixels, one that flips decides.

    Args:
        reference: (h, w) labels of the float network.
        labels: those of the quantised one, in the same order.
        num_classes: how many classes there are.
    """
    confusion = ConfusionMatrix(num_classes)
    for true_ids, ids in zip(reference, labels, strict=True):
        confusion.update(ids, true_ids)
    pixels = confusion.matrix.sum(axis=1)
    frequent = pixels >= _FREQUENT * pixels.sum()
    return float(confusion.per_class_iou[frequent].mean())


def measured_with() -> str:
    """The runtime that `predict` uses, with its version, for the record."""
    from importlib.metadata import version

    return f"openvino {version('openvino')}"
