"""What INT8 may cost: the gate that every quantised network passes before it is used.

Labelled frames tell what INT8 costs: points of mIoU. On frames without labels its labels are held
against those of the FP32 network, in two figures. The share of pixels that keep their label says
how much of the picture changes. The mean IoU between the two label maps counts small classes as
much as large ones, and bounds what INT8 costs: for each class, 1 - IoU is a distance, so the IoU
with the truth, which nobody knows here, falls by no more than 1 minus the IoU with FP32.
"""

from __future__ import annotations

import math

from roadseg.core.errors import QualityGateError, UsageError
from roadseg.core.wording import option
from roadseg.weights.calibration import Calibration, Gate

MIN_AGREEMENT = 0.985
"""Share of pixels that must keep FP32's label where there are no labels to judge by.

Of the shipped networks' calibrations, spoilt step by step (docs/calibration.md), every one that
cost more than half a point of mIoU kept 98.1% of the labels or fewer; as calibrated, all keep 99%.
"""

MIN_LABEL_MIOU = 0.91
"""Mean IoU with FP32's labels that is needed there; those had at most 0.89, and 0.93 and more."""


def check_drop(points: float) -> None:
    """Refuse an allowance that can only be a mistake, before anything that takes long.

    Raises:
        UsageError: it is negative, infinite or a NaN.
    """
    if not 0 <= points < math.inf:  # nor a NaN
        raise UsageError(
            f"a drop of {points:g} points", fix=f"use for example {option('--max-drop', 0.5)}"
        )


def passes(gate: Gate | None, max_drop_points: float = 0.5) -> bool:
    """Whether INT8 costs no more than it may.

    Args:
        gate: what was measured; None fails.
        max_drop_points: points (hundredths) of mIoU that INT8 may cost; without labels, the two
            bounds of this module count.
    """
    if gate is None:
        return False
    # A NaN compares false and is refused, as it should be.
    if gate.drop_points is not None:
        return gate.drop_points <= max_drop_points
    if gate.label_miou is None:
        return False
    return gate.agreement >= MIN_AGREEMENT and gate.label_miou >= MIN_LABEL_MIOU


def is_measured(gate: Gate | None) -> bool:
    """Whether there is anything to judge by."""
    return gate is not None and (gate.drop_points is not None or gate.label_miou is not None)


def cost_text(gate: Gate) -> str:
    """What INT8 costs, for people.

    >>> cost_text(gate)
    'INT8 costs 0.15 points of mIoU on val.txt'
    >>> cost_text(unlabelled)
    'INT8 keeps 99.28% of the labels of FP32 on drive.mp4, mean IoU with them 0.951'
    """
    if gate.drop_points is not None:
        return f"INT8 costs {gate.drop_points:.2f} points of mIoU on {gate.measured_on}"
    kept = f"INT8 keeps {100 * gate.agreement:.2f}% of the labels of FP32 on {gate.measured_on}"
    return kept if gate.label_miou is None else f"{kept}, mean IoU with them {gate.label_miou:.3f}"


def bounds_text() -> str:
    """What is needed without labels, for people."""
    return f"{100 * MIN_AGREEMENT:g}% and {MIN_LABEL_MIOU:g} are needed without labels"


def result_text(calibration: Calibration, max_drop_points: float = 0.5) -> str:
    """What was measured, and how it was judged, for people.

    >>> result_text(calibration)
    '25 scales, 1 layer left float; INT8 costs 0.15 points of mIoU on val.txt (0.5 allowed)'
    """
    gate = calibration.gate
    assert gate is not None
    count = len(calibration.float_layers)
    left = f", {count} layer{'' if count == 1 else 's'} left float" if count else ""
    allowed = bounds_text() if gate.drop_points is None else f"{max_drop_points:g} allowed"
    return f"{len(calibration.scales)} scales{left}; {cost_text(gate)} ({allowed})"


def check_gate(
    calibration: Calibration, *, max_drop_points: float = 0.5, force: bool = False
) -> None:
    """Refuse INT8 that costs too much accuracy, or nobody knows how much.

    Args:
        calibration: with what was measured.
        max_drop_points: points (hundredths) of mIoU that INT8 may cost.
        force: accept it in any case.

    Raises:
        QualityGateError: it costs more, or was never measured.
    """
    gate = calibration.gate
    if force or passes(gate, max_drop_points):
        return
    if gate is None or not is_measured(gate):
        known = "nothing was measured" if gate is None else "measured by an older roadseg"
        raise QualityGateError(
            f"what INT8 costs {calibration.model} is unknown ({known})",
            fix=f"measure it with 'roadseg calibrate --model {calibration.model} --data "
            f"DIR|VIDEO', or use {option('--force', True)}",
        )
    if gate.drop_points is None:
        raise QualityGateError(
            f"{cost_text(gate)} ({bounds_text()})",
            fix="calibrate on more frames, or on labelled ones, which tell what it really costs, "
            f"or use {option('--force', True)}",
        )
    raise QualityGateError(
        f"INT8 costs {calibration.model} {gate.drop_points:.2f} points of mIoU on "
        f"{gate.measured_on} ({100 * (gate.fp32_miou or 0):.2f} in FP32), allowed are "
        f"{max_drop_points:g}",
        fix=f"calibrate on more frames, allow more with {option('--max-drop')}, or use "
        f"{option('--force', True)}",
    )
