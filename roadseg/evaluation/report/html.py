"""The report as one HTML page: everything inline but the pictures, which lie beside it.

What the page says and how it looks is in `templates/`; here are the figures that it shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from roadseg.core.labels import ClassSet, palette_bgr
from roadseg.core.page import page_environment
from roadseg.core.version import __version__
from roadseg.evaluation.corruptions.kinds import KINDS
from roadseg.evaluation.evaluate import Scores
from roadseg.evaluation.flicker import Flicker
from roadseg.evaluation.reliability import BINS, Reliability
from roadseg.evaluation.report.borders import FARTHEST_PX, BorderErrors
from roadseg.evaluation.report.chart import Chart
from roadseg.evaluation.robustness import Robustness
from roadseg.metrics.confusion import ConfusionMatrix


@dataclass(frozen=True)
class Shots:
    """Pictures of one frame: a caption and files beside the page, by what they show."""

    title: str
    miou: float
    files: Mapping[str, str]


@dataclass(frozen=True)
class Figures:
    """Everything that the page shows.

    Attributes:
        title: what was scored.
        classes: what the frames are labelled with.
        facts: where and how, in words.
        origin: weights and data, in words, so that the scores can be measured again.
        scores: the figures of `roadseg eval`.
        confusion: pixels by true and predicted class.
        borders: errors by their distance from borders.
        tolerance_px: errors up to this far from a border are painted as border errors.
        reliability: None where the backend gave no scores.
        flicker: None for frames that are no video.
        robustness: None where frames were scored only as they are.
        worst, best: frames with pictures.
    """

    title: str
    classes: ClassSet
    facts: Sequence[str]
    origin: Mapping[str, str]
    scores: Scores
    confusion: ConfusionMatrix
    borders: BorderErrors
    tolerance_px: int
    reliability: Reliability | None
    flicker: Flicker | None
    robustness: Robustness | None
    worst: Sequence[Shots]
    best: Sequence[Shots]


def page(figures: Figures) -> str:
    """The page as text."""
    environment = page_environment("roadseg.evaluation.report")
    environment.filters["percent"] = percent
    return environment.get_template("report.html").render(
        vars(figures)
        | _confusion(figures)
        | _borders(figures)
        | _reliability(figures.reliability)
        | _robustness(figures.robustness)
        | {
            "names": figures.classes.names,
            "colours": [
                f"rgb({red} {green} {blue})"
                for blue, green, red in palette_bgr(classes=figures.classes)
            ],
            "px": "{:.1f}".format,
            "version": __version__,
            "now": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        }
    )


def percent(share: float, digits: int = 1) -> str:
    """A share in percent, without the sign; a dash for NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}"


def _confusion(figures: Figures) -> dict[str, Any]:
    names, matrix = figures.classes.names, figures.confusion.matrix
    true = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, true, out=np.zeros(matrix.shape), where=true > 0)
    wrong = [(shares[i, j], i, j) for i, j in np.ndindex(shares.shape) if i != j]
    return {
        "pixels": true[:, 0] / max(int(true.sum()), 1),
        "confusion": [
            [_cell(share, i == j) if true[i, 0] else None for j, share in enumerate(row)]
            for i, row in enumerate(shares)
        ],
        "mistakes": [
            (share, names[i], names[j])
            for share, i, j in sorted(wrong, reverse=True)[:5]
            if share > 0
        ],
    }


def _cell(share: float, right: bool) -> dict[str, Any]:
    # The root makes shares of a few percent visible.
    strength = share if right else math.sqrt(share)
    css = ("right" if right else "wrong") + (" strong" if strength > 0.7 else "")
    text = percent(share, 0).removeprefix("0")
    return {"share": share, "css": css, "strength": strength, "text": text}


def _borders(figures: Figures) -> dict[str, Any]:
    borders, k = figures.borders, figures.tolerance_px
    chart = Chart(
        (0, FARTHEST_PX, "pixels from a true border, at most"),
        (0, 100, "share, %"),
        "Share of errors and of pixels by distance from a border",
    )
    steps = range(1, FARTHEST_PX + 1)
    for share, label, css in (
        (borders.share_of_pixels, "of all pixels", "pixels"),
        (borders.share_of_errors, "of the errors", "errors"),
    ):
        chart.line(zip(steps, 100 * share, strict=True), label, css, dots=True)
    inside = borders.errors[k:].sum() / max(int(borders.pixels[k:].sum()), 1)
    return {"border_chart": chart, "wrong_inside": inside}


def _robustness(robustness: Robustness | None) -> dict[str, Any]:
    """Rows of kinds, and cells that are the darker, the more is lost."""
    if robustness is None:
        return {}
    return {
        "kinds": [
            (
                KINDS[kind].family,
                kind,
                [_left(robustness.kept_at(kind, s)) for s in robustness.severities],
                _left(robustness.kept(kind)),
                [_left(kept) for kept in robustness.class_kept(kind)],
            )
            for kind in robustness.kinds
        ]
    }


def _left(kept: float) -> dict[str, Any]:
    lost = 0.0 if math.isnan(kept) else min(max(1 - kept, 0.0), 1.0)
    css = "wrong strong" if lost > 0.7 else "wrong"
    return {"css": css, "strength": lost, "text": percent(kept, 0)}


def _reliability(reliability: Reliability | None) -> dict[str, Any]:
    if reliability is None:
        return {}
    chart = Chart(
        (0, 100, "confidence of the label (softmax), %"),
        (0, 100, "share, %"),
        "Accuracy and share of pixels by confidence",
    )
    total = max(int(reliability.pixels.sum()), 1)
    chart.bars(
        [(100 * b / BINS, 100 * (b + 1) / BINS) for b in range(BINS)],
        100 * reliability.pixels / total,
        "of all pixels",
        "share",
    )
    chart.line([(0, 0), (100, 100)], "perfectly calibrated", "ideal")
    measured = zip(100 * reliability.mean_confidence, 100 * reliability.accuracy, strict=True)
    chart.line(measured, "labels that are right", "errors", dots=True)
    return {
        "bins": BINS,
        "reliability_chart": chart,
        "sure": float(reliability.confidence_sum.sum()) / total,
        "right": int(reliability.right.sum()) / total,
    }
