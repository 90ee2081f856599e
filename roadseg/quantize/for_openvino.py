"""INT8 networks for the CPU: calibrated on frames, and refused when they lose too much accuracy."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from roadseg.core.errors import BackendError, QualityGateError, first_line, last_line
from roadseg.core.installing import install, require
from roadseg.core.types import Labels
from roadseg.core.wording import option
from roadseg.datasets.frames import CalibrationFrames
from roadseg.export.ir import finish_ir
from roadseg.quantize import accuracy
from roadseg.quantize.quantizers import index_operations, place_quantizers
from roadseg.weights.calibration import Gate
from roadseg.weights.gate import bounds_text, check_drop, cost_text, passes

__all__ = [
    "PLANS",
    "QuantizationPlan",
    "Quantized",
    "QuantizedAlike",
    "calibrate",
    "check_libraries",
    "quantize_alike",
    "quantize_within",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuantizationPlan:
    """One way to quantise.

    Attributes:
        name: for reports.
        preset: `performance` has symmetric ranges throughout, `mixed` asymmetric ones for
            activations that go negative.
        accurate_bias: correct biases layer by layer on the network quantised so far, rather
            than all from the statistics of the FP32 network; takes minutes.
        float_indices: find the places of maxima on FP32 features, where rounding makes no ties;
            a quarter slower.
        float_ends: leave the first and the last convolution in FP32.
    """

    name: str
    preset: Literal["performance", "mixed"]
    accurate_bias: bool = False
    float_indices: bool = False
    float_ends: bool = False


PLANS = (
    QuantizationPlan("performance", "performance"),
    QuantizationPlan("mixed", "mixed"),
    QuantizationPlan("float indices", "mixed", float_indices=True),
    QuantizationPlan("float indices and ends", "mixed", float_indices=True, float_ends=True),
    QuantizationPlan(
        "float indices and ends, accurate bias",
        "mixed",
        accurate_bias=True,
        float_indices=True,
        float_ends=True,
    ),
)
"""From the fastest network to the most accurate; the first that passes the gate is taken."""


@dataclass(frozen=True)
class Quantized:
    """An INT8 network that passed the gate.

    Attributes:
        model: an `openvino.Model`, uint8 frames in, uint8 labels out.
        plan: how it was made.
        fp32_miou: validation mIoU of the FP32 network, 0..1.
        int8_miou: that of this one.
    """

    model: Any
    plan: QuantizationPlan
    fp32_miou: float
    int8_miou: float

    @property
    def drop_points(self) -> float:
        """What INT8 cost, in points of mIoU (hundredths); negative for a gain."""
        return 100 * (self.fp32_miou - self.int8_miou)


@dataclass(frozen=True)
class QuantizedAlike:
    """An INT8 network whose labels are nearly those of the FP32 network.

    Attributes:
        model, plan: see `Quantized`.
        gate: what was measured.
    """

    model: Any
    plan: QuantizationPlan
    gate: Gate


def check_libraries() -> None:
    """Make sure that NNCF and what it needs are there, before anything that takes long.

    Raises:
        BackendError: one is not.
    """
    require("quantising", ("torch", "onnx", "nncf"), "export")


def calibrate(
    model: Any, frames: Sequence[npt.NDArray[np.uint8]], plan: QuantizationPlan = PLANS[0]
) -> Any:
    """Quantise a network.

    Args:
        model: an FP32 `openvino.Model` as `roadseg.export.ir.from_onnx` returns it; not changed.
        frames: (1, h, w, 3) uint8 BGR frames, all of one size.
        plan: how.

    Returns:
        An INT8 `openvino.Model` for the same sizes.

    Raises:
        BackendError: NNCF is missing, or failed.
    """
    # NNCF draws progress bars on stdout, which belongs to the command, and warns of its own
    # internals, which nobody here can change.
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nncf = _import_nncf()
        ignored = index_operations(model)
        if plan.float_ends:
            ignored += _ends(model)
        presets = {
            "performance": nncf.QuantizationPreset.PERFORMANCE,
            "mixed": nncf.QuantizationPreset.MIXED,
        }
        try:
            quantized = nncf.quantize(
                model.clone(),
                nncf.Dataset(frames),
                preset=presets[plan.preset],
                subset_size=len(frames),
                fast_bias_correction=not plan.accurate_bias,
                ignored_scope=nncf.IgnoredScope(names=ignored),
            )
        except (RuntimeError, nncf.ValidationError, nncf.InternalError) as exc:
            raise BackendError(f"NNCF cannot quantise the network: {last_line(exc)}") from exc
    place_quantizers(quantized, shared_pools=not plan.float_indices)
    finish_ir(quantized)
    return quantized


def quantize_within(
    model: Any,
    frames: Sequence[npt.NDArray[np.uint8]],
    miou_of: Callable[[Any, str], float],
    *,
    max_drop_points: float = 0.5,
    plans: Sequence[QuantizationPlan] = PLANS,
) -> Quantized:
    """Quantise a network without losing more than so much accuracy. Each measurement is logged.

    Args:
        model: see `calibrate`.
        frames: see `calibrate`.
        miou_of: measures the validation mIoU, 0..1, of an `openvino.Model` of a given precision
            (`fp32` or `int8`).
        max_drop_points: how many points (hundredths) of mIoU INT8 may cost.
        plans: what to try, in this order.

    Raises:
        UsageError: `max_drop_points` cannot be meant.
        QualityGateError: every plan costs more.
        BackendError: NNCF is missing, or failed.
    """
    check_drop(max_drop_points)
    reference = model.clone()
    finish_ir(reference)
    fp32_miou = miou_of(reference, "fp32")
    _log.info(f"fp32: mIoU {100 * fp32_miou:.2f}")
    best = float("inf")
    for plan in plans:
        quantized = calibrate(model, frames, plan)
        result = Quantized(quantized, plan, fp32_miou, miou_of(quantized, "int8"))
        drop = result.drop_points
        _log.info(f"int8, {plan.name}: mIoU {100 * result.int8_miou:.2f} ({-drop:+.2f} points)")
        # A NaN compares false and is refused, as it should be.
        if drop <= max_drop_points:
            return result
        best = min(best, drop)
    raise QualityGateError(
        f"INT8 costs {best:.2f} points of validation mIoU ({100 * fp32_miou:.2f} in FP32), "
        f"allowed are {max_drop_points:g}: nothing was written",
        fix=f"calibrate on more frames, or allow more with {option('--max-drop')}",
    )


def quantize_alike(
    model: Any,
    frames: CalibrationFrames,
    num_classes: int,
    *,
    threads: int | None = None,
    plans: Sequence[QuantizationPlan] = PLANS,
) -> QuantizedAlike:
    """Quantise a network on frames without labels, so that its labels stay nearly the same.

    Args:
        model: see `calibrate`.
        frames: what ranges are measured on, and labels compared.
        num_classes: how many classes the network knows.
        threads: CPU threads; default: OpenVINO's choice.
        plans: see `quantize_within`.

    Raises:
        QualityGateError: every plan changes more labels than `roadseg.weights.gate` allows.
        BackendError: NNCF is missing, or failed.
    """
    reference = model.clone()
    finish_ir(reference)

    def labels_of(candidate: Any) -> list[Labels]:
        hw = frames.network_hw
        return accuracy.predict_openvino(candidate, frames.batches, hw, threads=threads)

    wanted = labels_of(reference)
    best: Gate | None = None
    for plan in plans:
        quantized = calibrate(model, frames.batches, plan)
        labels = labels_of(quantized)
        gate = Gate(
            measured_on=frames.described,
            images=len(frames.batches),
            fp32_miou=None,
            int8_miou=None,
            drop_points=None,
            agreement=accuracy.agreement(wanted, labels),
            measured_with=accuracy.measured_with(),
            label_miou=accuracy.label_miou(wanted, labels, num_classes),
        )
        _log.info(f"int8, {plan.name}: {cost_text(gate)}")
        if passes(gate):
            return QuantizedAlike(quantized, plan, gate)
        if best is None or (gate.label_miou or 0) > (best.label_miou or 0):
            best = gate
    assert best is not None
    raise QualityGateError(
        f"{cost_text(best)} ({bounds_text()}): nothing was written",
        fix="calibrate on more frames, or on labelled ones, which tell what it really costs",
    )


def _ends(model: Any) -> list[str]:
    kinds = ("Convolution", "ConvolutionBackpropData")
    names = [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in kinds
    ]
    return [names[0], names[-1]]


def _import_nncf() -> Any:
    try:
        import nncf
    except ImportError as exc:
        raise BackendError(
            f"quantising needs NNCF, which cannot be loaded ({first_line(exc)})",
            fix=install("export"),
        ) from exc
    nncf.set_log_level(logging.ERROR)
    return nncf
