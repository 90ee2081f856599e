"""What INT8 may cost: the gate that every quantised network passes before it is used."""

from __future__ import annotations

import math

from roadseg.errors import QualityGateError, UsageError
from roadseg.export.scales import Calibration

__all__ = ["check_drop", "check_gate"]


def check_drop(points: float) -> None:
    """Refuse an allowance that can only be a mistake, before anything that takes long.

    Raises:
        UsageError: it is negative, infinite or a NaN.
    """
    if not 0 <= points < math.inf:  # nor a NaN
        raise UsageError(f"a drop of {points:g} points: use for example --max-drop 0.5")


def check_gate(
    calibration: Calibration, *, max_drop_points: float = 0.5, force: bool = False
) -> None:
    """Refuse INT8 that costs too much accuracy, or nobody knows how much.

    Args:
        calibration: with what was measured.
        max_drop_points: points (hundredths) of mIoU that INT8 may cost.
        force: accept it in any case.

    Raises:
        QualityGateError: it costs more, or was never measured against labels.
    """
    if force:
        return
    gate = calibration.gate
    if gate is None or gate.drop_points is None:
        known = "nothing was measured"
        if gate is not None:
            known = (
                f"{gate.measured_on} has no labels; {100 * gate.agreement:.2f}% of its pixels "
                "keep their label"
            )
        raise QualityGateError(
            f"what INT8 costs {calibration.model} is unknown ({known}): measure it with 'roadseg "
            f"calibrate --model {calibration.model} --data FOLDER' on a folder in the CamVid "
            "layout, which has val.txt, or use --force"
        )
    # A NaN compares false and is refused, as it should be.
    if not gate.drop_points <= max_drop_points:
        raise QualityGateError(
            f"INT8 costs {calibration.model} {gate.drop_points:.2f} points of mIoU on "
            f"{gate.measured_on} ({100 * (gate.fp32_miou or 0):.2f} in FP32), allowed are "
            f"{max_drop_points:g}: calibrate on more frames, allow more with --max-drop, or use "
            "--force"
        )
