"""The report as one HTML page: everything inline but the pictures, which lie beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape

import numpy as np

from roadseg.core.labels import ClassSet, palette_bgr
from roadseg.core.version import __version__
from roadseg.evaluation.evaluate import Scores
from roadseg.evaluation.flicker import Flicker
from roadseg.evaluation.report.borders import FARTHEST_PX, BorderErrors
from roadseg.evaluation.report.reliability import BINS, Reliability
from roadseg.evaluation.report.style import CSS
from roadseg.evaluation.report.svg import Line, Plot
from roadseg.metrics.confusion import ConfusionMatrix

__all__ = ["Figures", "Shots", "page"]

_MANY_CLASSES = 13


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
    worst: Sequence[Shots]
    best: Sequence[Shots]


def page(figures: Figures) -> str:
    """The page as text."""
    # A confusion matrix of many classes takes the width of the page.
    columns = "two" if figures.classes.num_classes <= _MANY_CLASSES else "one"
    body = "\n".join(
        (
            f"<h1>{escape(figures.title)}</h1>",
            f'<p class="lead">{escape(" · ".join(figures.facts))}</p>',
            _origin(figures.origin),
            _tiles(figures),
            f'<div class="{columns}">{_classes(figures)}{_confusion(figures)}</div>',
            _frames("Worst frames", figures.worst, figures),
            _frames("Best frames", figures.best, figures),
            f'<div class="two">{_borders(figures)}{_reliability(figures.reliability)}</div>',
            "" if figures.flicker is None else _flicker(figures.flicker),
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(figures.title)}</title><style>{CSS}</style></head>\n"
        f"<body><main>\n{body}\n"
        f"<footer>Written by roadseg {__version__} eval --report, {_now()}. Void is not counted "
        "anywhere.</footer>"
        "</main></body></html>\n"
    )


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _origin(origin: Mapping[str, str]) -> str:
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in origin.items()
    )
    return f'<dl class="origin">{rows}</dl>' if rows else ""


def _tiles(figures: Figures) -> str:
    scores = figures.scores
    tiles = [
        (_signed(scores.miou), "mIoU"),
        (_signed(scores.global_accuracy), "global accuracy"),
        (_signed(scores.class_accuracy), "class accuracy"),
        (_signed(scores.bf_ground_truth), "boundary F1"),
    ]
    if figures.reliability is not None:
        error = figures.reliability.expected_calibration_error
        tiles.append((_signed(error), "calibration error"))
    if figures.flicker is not None:
        tiles.append((_signed(figures.flicker.score, 2), "flicker"))
    tiles.append((str(scores.images), "frame" if scores.images == 1 else "frames"))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for value, name in tiles
        )
        + "</div>"
    )


def _classes(figures: Figures) -> str:
    scores, true = figures.scores, figures.confusion.matrix.sum(axis=1)
    shares = true / max(int(true.sum()), 1)
    rows = []
    for i, name in enumerate(figures.classes.names):
        iou = scores.per_class_iou[i]
        bar = "" if math.isnan(iou) else f'<i style="width:{100 * iou:.1f}%"></i>'
        rows.append(
            f'<tr><td><i class="swatch" style="background:{_colour(figures.classes, i)}"></i>'
            f"{escape(name)}</td>"
            f'<td class="bar"><div class="track"><div>{bar}</div>'
            f"<span>{percent(iou)}</span></div></td>"
            f"<td>{percent(scores.per_class_accuracy[i])}</td>"
            f"<td>{percent(scores.per_class_bf[i])}</td><td>{percent(shares[i])}</td></tr>"
        )
    return (
        "<section><h2>Classes</h2>"
        '<p class="note">In percent. BF: boundary F1. Pixels: share of the labelled pixels. '
        "A dash: the class does not occur.</p>"
        '<table class="classes"><thead><tr><th>class</th><th>IoU</th>'
        "<th>accuracy</th><th>BF</th><th>pixels</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></section>"
    )


def _confusion(figures: Figures) -> str:
    names = [escape(name) for name in figures.classes.names]
    matrix = figures.confusion.matrix
    true = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, true, out=np.zeros(matrix.shape), where=true > 0)
    head = "".join(f"<th><span>{name}</span></th>" for name in names)
    rows = []
    for i, name in enumerate(names):
        cells = "".join(
            _cell(shares[i, j], i == j, f"{name} labelled {names[j]}")
            if true[i, 0]
            else "<td></td>"
            for j in range(len(names))
        )
        rows.append(f"<tr><th>{name}</th>{cells}</tr>")
    mistakes = sorted(
        ((shares[i, j], i, j) for i in range(len(shares)) for j in range(len(shares)) if i != j),
        reverse=True,
    )[:5]
    worst = "".join(
        f"<li><b>{percent(share, 0)}&thinsp;%</b> of {names[i]} is labelled {names[j]}</li>"
        for share, i, j in mistakes
        if share > 0
    )
    return (
        "<section><h2>Confusion</h2>"
        '<p class="note">Each row is a true class, in percent of its pixels; columns are what the '
        "network said.</p>"
        f'<div class="scroll"><table class="confusion"><thead><tr><th></th>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><ul class="list">{worst}</ul></section>'
    )


def _cell(share: float, right: bool, title: str) -> str:
    # The root makes shares of a few percent visible.
    strength = math.sqrt(share) if not right else share
    css = "right" if right else "wrong"
    if strength > 0.7:
        css += " strong"
    text = f"{100 * share:.0f}".removeprefix("0")
    return (
        f'<td class="{css}" style="--s:{strength:.2f}" '
        f'title="{title}: {100 * share:.2f} %">{text}</td>'
    )


def _frames(title: str, frames: Sequence[Shots], all_figures: Figures) -> str:
    if not frames:
        return ""
    figures = []
    for shots in frames:
        pictures = "".join(
            f'<a href="{escape(file)}"><img src="{escape(file)}" '
            f'alt="{name} of {escape(shots.title)}" loading="lazy"><span>{name}</span></a>'
            for name, file in shots.files.items()
        )
        figures.append(
            f"<figure><figcaption><b>{escape(shots.title)}</b> · mIoU of the classes in it "
            f"{percent(shots.miou)}&thinsp;%</figcaption>"
            f'<div class="shots">{pictures}</div></figure>'
        )
    return (
        f"<section><h2>{title}</h2>"
        '<p class="key"><span><i class="near"></i>wrong, within '
        f"{all_figures.tolerance_px} pixels of a true border</span>"
        '<span><i class="inner"></i>wrong, farther inside</span></p>'
        f"{''.join(figures)}{_legend(all_figures.classes)}</section>"
    )


def _borders(figures: Figures) -> str:
    borders = figures.borders
    errors, pixels = borders.share_of_errors, borders.share_of_pixels
    plot = Plot(
        (0, FARTHEST_PX, "pixels from a true border, at most"),
        (0, 100, "share, %"),
        "Share of errors and of pixels by distance from a border",
    )
    steps = range(1, FARTHEST_PX + 1)
    for share, label, css in (
        (pixels, "of all pixels", "pixels"),
        (errors, "of the errors", "errors"),
    ):
        points = [(float(k), 100 * float(share[k - 1])) for k in steps]
        plot.line(Line(points, label, css, dots=True))
    k = figures.tolerance_px
    inside = borders.errors[k:].sum() / max(int(borders.pixels[k:].sum()), 1)
    note = "No pixel is wrong."
    if borders.errors.any():
        note = (
            f"{percent(errors[k - 1])}&thinsp;% of the errors lie within {k} pixels of a border "
            f"between classes, where {percent(pixels[k - 1])}&thinsp;% of the pixels are. Farther "
            f"inside, {percent(float(inside))}&thinsp;% of the pixels are wrong."
        )
    return f'<section><h2>Errors at borders</h2><p class="note">{note}</p>{plot.svg()}</section>'


def _reliability(reliability: Reliability | None) -> str:
    title = "<section><h2>Reliability</h2>"
    if reliability is None:
        return (
            f'{title}<p class="note">This curve needs class scores, and this backend gives labels '
            "only. Score the same weights on the backend openvino or torch to see "
            "it.</p></section>"
        )
    plot = Plot(
        (0, 100, "confidence of the label (softmax), %"),
        (0, 100, "share, %"),
        "Accuracy and share of pixels by confidence",
    )
    total = max(int(reliability.pixels.sum()), 1)
    edges = [(100 * b / BINS, 100 * (b + 1) / BINS) for b in range(BINS)]
    heights = zip(edges, reliability.pixels, strict=True)
    plot.bars(((a, b, 100 * int(n) / total) for (a, b), n in heights), "share", "of all pixels")
    plot.line(Line([(0, 0), (100, 100)], "perfectly calibrated", "ideal"))
    points = zip(reliability.mean_confidence, reliability.accuracy, strict=True)
    measured = [(100 * float(c), 100 * float(a)) for c, a in points if not math.isnan(c)]
    plot.line(Line(measured, "labels that are right", "errors", dots=True))
    sure = float(reliability.confidence_sum.sum()) / total
    right = int(reliability.right.sum()) / total
    if abs(sure - right) < 0.005:
        tendency = "as sure of itself as it should be"
    else:
        tendency = "too sure of itself" if sure > right else "too modest"
    return (
        f'{title}<p class="note">Labels that the network gives 80&thinsp;% should be right four '
        "times in five. Expected calibration error over "
        f"{BINS} bins: {percent(reliability.expected_calibration_error, 2)}&thinsp;%. Its mean "
        f"confidence is {percent(sure)}&thinsp;% and its accuracy {percent(right)}&thinsp;%: on "
        f"the whole it is {tendency}.</p>{plot.svg()}</section>"
    )


def _flicker(flicker: Flicker) -> str:
    pairs = max(flicker.frames - 1, 0)
    return (
        "<section><h2>Flicker</h2>"
        f'<p class="note">{percent(flicker.score, 2)}&thinsp;% of the pixels whose true class did '
        "not change from one frame to the next changed their label: "
        f"{flicker.changed:,} of {flicker.steady:,}, over {pairs:,} pairs of frames.</p></section>"
    )


def percent(share: float, digits: int = 1) -> str:
    """A share in percent, without the sign; a dash for NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}"


def _signed(share: float, digits: int = 1) -> str:
    sign = "" if math.isnan(share) else "<small>&thinsp;%</small>"
    return percent(share, digits) + sign


def _legend(classes: ClassSet) -> str:
    chips = "".join(
        f'<span><i style="background:{_colour(classes, i)}"></i>{escape(name)}</span>'
        for i, name in enumerate(classes.names)
    )
    return f'<p class="key legend">{chips}</p>'


def _colour(classes: ClassSet, class_id: int) -> str:
    blue, green, red = palette_bgr(classes=classes)[class_id]
    return f"rgb({red} {green} {blue})"
