"""INT8, the whole way: scales from frames, what they cost, and which layers to leave float."""

from __future__ import annotations

import logging
import platform
from dataclasses import replace
from typing import Any

from roadseg.core.errors import QualityGateError
from roadseg.core.labels import ClassSet
from roadseg.core.progress import ShowProgress, StageClock
from roadseg.core.types import Labels
from roadseg.core.wording import option
from roadseg.datasets.frames import CalibrationFrames
from roadseg.evaluation.evaluate import LabelledFrames
from roadseg.export.network import TrainedNetwork
from roadseg.export.onnx import build_onnx
from roadseg.export.qdq import insert_qdq
from roadseg.export.quantizable import QuantizableGraph
from roadseg.quantize import accuracy
from roadseg.quantize.activations import DEFAULT_METHOD, Method, choose_scales, observe_activations
from roadseg.quantize.sensitivity import float_layer_counts, rank_layers
from roadseg.quantize.without_vnni import predict_without_vnni
from roadseg.weights.calibration import Calibration, Gate
from roadseg.weights.gate import bounds_text, check_drop, cost_text, passes

_log = logging.getLogger(__name__)

_X86 = ("x86_64", "amd64")
"""Processors that may lack VNNI; others have no such instructions to leave out."""


def calibrate_network(
    network: TrainedNetwork,
    frames: CalibrationFrames,
    validation: LabelledFrames | None,
    *,
    unsigned: bool = False,
    validation_name: str = "val.txt",
    method: Method = DEFAULT_METHOD,
    max_drop_points: float = 0.5,
    force: bool = False,
    threads: int | None = None,
    progress: ShowProgress | None = None,
) -> Calibration:
    """Choose a scale for every activation, and measure what INT8 costs.

    Where it costs too much, the layers that it harms most are left float, in the order that
    `rank_layers` finds, until it does not. Each measurement is logged. For OpenVINO it is made on
    both kinds of processors, with and without VNNI, and the worse one counts.

    Args:
        network: what to calibrate.
        frames: what to measure ranges on.
        validation: labelled frames to judge on. None: the labels are held against those of the
            float network, on `frames`; see `roadseg.weights.gate`.
        unsigned: for OpenVINO rather than TensorRT; see `insert_qdq`.
        validation_name: what to call `validation` in the record.
        method: how scales are chosen; see `choose_scale`.
        max_drop_points: points (hundredths) of mIoU that INT8 may cost.
        force: return a calibration that costs more rather than refuse it.
        threads: CPU threads; default: OpenVINO's choice.
        progress: shows how far each stage is: `ranges`, `fp32`, `int8`, `sensitivity`.

    Raises:
        UsageError: `max_drop_points` cannot be meant.
        QualityGateError: INT8 costs too much, whatever is left float.
        ModelError: the network cannot be exported for that size.
        BackendError: OpenVINO failed.
    """
    check_drop(max_drop_points)
    hw = frames.network_hw
    onnx_model = build_onnx(
        network.module,
        network.architecture,
        size_hw=hw,
        weights_sha256=network.weights_sha256,
        classes=network.classes,
    )
    tensors = QuantizableGraph(onnx_model.graph, unsigned=unsigned).scale_sources()
    histograms = observe_activations(
        onnx_model,
        tensors,
        frames.batches,
        threads=threads,
        progress=progress,
    )
    calibration = Calibration(
        model=network.architecture,
        weights_sha256=network.weights_sha256,
        size_hw=hw,
        method=method,
        frames=frames.records,
        scales=choose_scales(histograms, method),
    )
    judge = _Judge(
        onnx_model,
        frames,
        validation,
        network.classes,
        unsigned=unsigned,
        name=validation_name,
        threads=threads,
        progress=progress,
    )
    calibration = replace(calibration, gate=judge(calibration))
    _log.info(_line(calibration))
    if passes(calibration.gate, max_drop_points):
        return calibration
    best = calibration
    ranking = rank_layers(
        onnx_model,
        calibration,
        frames.batches,
        unsigned=unsigned,
        threads=threads,
        progress=progress,
    )
    for count in float_layer_counts(len(ranking)):
        attempt = replace(calibration, float_layers=tuple(sorted(ranking[:count])))
        attempt = replace(attempt, gate=judge(attempt))
        _log.info(_line(attempt))
        if passes(attempt.gate, max_drop_points):
            return attempt
        best = min(best, attempt, key=lambda one: _harm(one.gate))
    if force:
        return best
    count = len(best.float_layers)
    spared = f" even with {count} layer{'' if count == 1 else 's'} left float" if count else ""
    assert best.gate is not None
    if best.gate.drop_points is None:
        raise QualityGateError(
            f"{cost_text(best.gate)}{spared} ({bounds_text()}): nothing was written",
            fix="calibrate on more frames, or on labelled ones, which tell what it really costs, "
            f"or use {option('--force', True)}",
        )
    raise QualityGateError(
        f"{cost_text(best.gate)}{spared}, allowed are {max_drop_points:g}: nothing was written",
        fix=f"calibrate on more frames, allow more with {option('--max-drop')}, or use "
        f"{option('--force', True)}",
    )


class _Judge:
    """Measures calibrations; what the float network does is computed once."""

    def __init__(
        self,
        onnx_model: Any,
        frames: CalibrationFrames,
        validation: LabelledFrames | None,
        classes: ClassSet,
        *,
        unsigned: bool = False,
        name: str = "val.txt",
        threads: int | None = None,
        progress: ShowProgress | None = None,
    ) -> None:
        self._onnx_model = onnx_model
        self._unsigned = unsigned
        self._hw = frames.network_hw
        self._num_classes = classes.num_classes
        self._threads = threads
        self._progress = progress
        self._truth: accuracy.LabelledTruth | None = None
        self._name, self._batches = frames.described, frames.batches
        if validation is not None:
            self._truth = accuracy.load_truth(validation, self._hw, classes)
            self._name, self._batches = name, self._truth.batches
        self._reference = self._predict(onnx_model, "fp32")

    def __call__(self, calibration: Calibration) -> Gate:
        quantized = insert_qdq(self._onnx_model, calibration, unsigned=self._unsigned)
        predicted = self._predict(quantized, "int8")
        gate = self._gate(predicted, accuracy.measured_with())
        if not self._unsigned or platform.machine().lower() not in _X86:
            return gate
        older = predict_without_vnni(quantized, self._batches, self._hw, threads=self._threads)
        same = accuracy.agreement(predicted, older)
        _log.info(f"{100 * same:.2f}% of labels are the same with and without VNNI")
        return max(gate, self._gate(older, f"{gate.measured_with}, without VNNI"), key=_harm)

    def _gate(self, predicted: list[Labels], measured_with: str) -> Gate:
        fp32 = int8 = drop = None
        if self._truth is not None:
            fp32 = accuracy.miou(self._reference, self._truth)
            int8 = accuracy.miou(predicted, self._truth)
            drop = 100 * (fp32 - int8)
        return Gate(
            measured_on=self._name,
            images=len(self._batches),
            fp32_miou=fp32,
            int8_miou=int8,
            drop_points=drop,
            agreement=accuracy.agreement(self._reference, predicted),
            measured_with=measured_with,
            label_miou=accuracy.label_miou(self._reference, predicted, self._num_classes),
        )

    def _predict(self, onnx_model: Any, stage: str) -> list[Labels]:
        clock = StageClock(stage, self._progress)
        return accuracy.predict(
            onnx_model, self._batches, self._hw, threads=self._threads, clock=clock
        )


def _harm(gate: Gate | None) -> float:
    """What to compare measurements of one network by: less is better."""
    assert gate is not None
    if gate.drop_points is not None:
        return gate.drop_points
    return -(gate.label_miou or 0.0)


def _line(calibration: Calibration) -> str:
    gate = calibration.gate
    assert gate is not None
    spared = f", float: {', '.join(calibration.float_layers)}" if calibration.float_layers else ""
    same = f"{100 * gate.agreement:.2f}% of labels as in fp32"
    if gate.drop_points is None or gate.fp32_miou is None or gate.int8_miou is None:
        with_fp32 = f"mean IoU with fp32 {gate.label_miou:.3f}"
        return f"{gate.measured_on} ({gate.images} frames): {same}, {with_fp32}{spared}"
    return (
        f"{gate.measured_on} ({gate.images} frames): mIoU {100 * gate.fp32_miou:.2f} in fp32, "
        f"{100 * gate.int8_miou:.2f} in int8 ({-gate.drop_points:+.2f} points), {same}{spared}"
    )
