"""What the SegNet paper reports (Badrinarayanan, Kendall, Cipolla, PAMI 2017), by network.

All accuracies are on CamVid's test frames at 360x480. Table 1 was timed on an NVIDIA Titan; its
networks learnt from CamVid's 367 frames with median-frequency balancing. Table 3 is the column of
more than 80 K iterations, from 3433 images without balancing. Table 6 has times for one image, the
memory for training four at a time and for inference on one, and the FCN with learnt deconvolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from roadseg.core.errors import UsageError
from roadseg.core.wording import option

PAPER_CONDITIONS = "CamVid's 233 test frames, 360x480, NVIDIA Titan"
"""Where the paper's figures come from, in words."""


@dataclass(frozen=True)
class PaperFigures:
    """One row of the paper; None where it says nothing.

    Attributes:
        title: the network's name there.
        tables: which tables the figures come from.
        global_accuracy, class_accuracy, miou, bf: in percent.
        parameters_m: millions.
        forward_ms, backward_ms: per image.
        training_mb, inference_mb: GPU memory for four images and for one.
        model_mb: size of the file.
    """

    title: str
    tables: tuple[int, ...]
    global_accuracy: float | None = None
    class_accuracy: float | None = None
    miou: float | None = None
    bf: float | None = None
    parameters_m: float | None = None
    forward_ms: float | None = None
    backward_ms: float | None = None
    training_mb: float | None = None
    inference_mb: float | None = None
    model_mb: float | None = None


def _table_1(
    title: str,
    accuracies: tuple[float, float, float, float],
    parameters_m: float,
    forward_ms: float,
) -> PaperFigures:
    return PaperFigures(title, (1,), *accuracies, parameters_m=parameters_m, forward_ms=forward_ms)


def _tables_3_and_6(
    title: str,
    accuracies: tuple[float, float, float, float],
    costs: tuple[float, float, float, float, float] | None,
) -> PaperFigures:
    if costs is None:
        return PaperFigures(title, (3,), *accuracies)
    return PaperFigures(title, (3, 6), *accuracies, None, *costs)


_FIGURES: Mapping[str, PaperFigures] = {
    "bilinear-interpolation": _table_1(
        "Bilinear-Interpolation", (77.9, 61.1, 43.3, 20.83), 0.625, 24.2
    ),
    "segnet-basic": _table_1("SegNet-Basic", (82.7, 62.0, 47.7, 35.78), 1.425, 52.6),
    "segnet-basic-encoder-addition": _table_1(
        "SegNet-Basic-EncoderAddition", (83.4, 63.6, 48.5, 35.92), 1.425, 53.0
    ),
    "segnet-basic-single-channel-decoder": _table_1(
        "SegNet-Basic-SingleChannelDecoder", (81.2, 60.7, 46.1, 31.62), 0.625, 33.1
    ),
    "fcn-basic": _table_1("FCN-Basic", (81.7, 62.4, 47.3, 38.11), 0.65, 24.2),
    "fcn-basic-no-addition": _table_1(
        "FCN-Basic-NoAddition", (80.5, 58.6, 44.1, 31.96), 0.65, 23.8
    ),
    "fcn-basic-no-dim-reduction": _table_1(
        "FCN-Basic-NoDimReduction", (84.1, 63.4, 50.1, 37.37), 1.625, 44.8
    ),
    "fcn-basic-no-addition-no-dim-reduction": _table_1(
        "FCN-Basic-NoAddition-NoDimReduction", (80.5, 61.6, 45.9, 30.47), 1.625, 43.9
    ),
    "segnet": _tables_3_and_6(
        "SegNet", (90.40, 71.20, 60.10, 46.84), (422.5, 488.7, 6803, 1052, 117)
    ),
    "deeplab-largefov": _tables_3_and_6(
        "DeepLab-LargeFOV", (88.20, 62.53, 53.88, 32.77), (110.1, 160.7, 5618, 1993, 83)
    ),
    "fcn-8s": _tables_3_and_6("FCN", (83.27, 59.56, 49.83, 27.99), None),
    "fcn-8s-learnt": _tables_3_and_6(
        "FCN (learnt deconvolution)",
        (83.14, 64.21, 51.96, 33.18),
        (317.1, 484.1, 9735, 1806, 539),
    ),
    "deconvnet": _tables_3_and_6(
        "DeconvNet", (89.58, 70.24, 59.77, 52.23), (474.7, 602.2, 9731, 1872, 877)
    ),
}

TABLES: tuple[int, ...] = (1, 3, 6)
"""The tables that `roadseg compare --table` knows."""


def table_models(table: int) -> tuple[str, ...]:
    """Names of a table's networks for `build_model`, in the table's order.

    Raises:
        UsageError: there is no such table here.
    """
    if table not in TABLES:
        raise UsageError(
            f"table {table} of the paper is not one to compare with",
            fix=f"use {option('--table', *TABLES)}, or {option('--models', 'a,b,c')}",
        )
    return tuple(name for name, figures in _FIGURES.items() if table in figures.tables)


def paper_figures(model: str) -> PaperFigures | None:
    """What the paper says of a network; None for one that it does not have."""
    return _FIGURES.get(model)
