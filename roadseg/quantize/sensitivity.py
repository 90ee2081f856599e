"""Which layers INT8 harms most: each is quantised alone, and the labels that change are counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.core.progress import ShowProgress, StageClock
from roadseg.datasets.frames import evenly
from roadseg.export.qdq import insert_qdq
from roadseg.export.quantizable import QuantizableGraph
from roadseg.quantize.accuracy import agreement, predict
from roadseg.weights.calibration import Calibration

__all__ = ["float_layer_counts", "rank_layers"]

_FRAMES = 6


def rank_layers(
    onnx_model: Any,
    calibration: Calibration,
    batches: Sequence[npt.NDArray[np.uint8]],
    *,
    unsigned: bool = False,
    threads: int | None = None,
    progress: ShowProgress | None = None,
) -> list[str]:
    """Names of the layers, the one that INT8 harms most first.

    Args:
        onnx_model: the float graph, in the native lowering, giving labels.
        calibration: with scales for all of its layers.
        batches: (1, h, w, 3) uint8 BGR frames, of which a few are used.
        unsigned: for OpenVINO rather than TensorRT; see `insert_qdq`.
        threads: CPU threads; default: OpenVINO's choice.
        progress: shows how many layers are done.

    Raises:
        BackendError: OpenVINO cannot run a graph.
    """
    few = evenly(batches, _FRAMES)
    hw = calibration.size_hw
    truth = predict(onnx_model, few, hw, threads=threads)
    names = list(QuantizableGraph(onnx_model.graph, unsigned=unsigned).layers)
    kept: dict[str, float] = {}
    clock = StageClock("sensitivity", progress)
    for done, name in enumerate(names, start=1):
        others = tuple(other for other in names if other != name)
        alone = replace(calibration, float_layers=others)
        quantized = insert_qdq(onnx_model, alone, unsigned=unsigned)
        kept[name] = agreement(truth, predict(quantized, few, hw, threads=threads))
        clock.step(done, len(names))
    # Sorting is stable: of layers that harm alike, the first in the graph comes first.
    return sorted(names, key=lambda name: kept[name])


def float_layer_counts(layers: int) -> Iterator[int]:
    """How many layers to leave float in one attempt after the other: 1, 2, 3, 5, 8, 12...

    Each is half as many again as the one before: measuring one takes as long as all validation
    frames do. At least one layer stays quantised.
    """
    count = 1
    while count < layers:
        yield count
        count += max(1, (count + 1) // 2)
