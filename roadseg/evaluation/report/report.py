"""`roadseg eval --report`: what a table of scores cannot show, as an HTML page with pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2

from roadseg.core.files import write_bytes, write_text, writing
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.types import Image, Labels
from roadseg.core.wording import option
from roadseg.evaluation.evaluate import FrameResult, Scores
from roadseg.evaluation.flicker import Flicker
from roadseg.evaluation.reliability import Reliability
from roadseg.evaluation.report.borders import FARTHEST_PX, BorderErrors
from roadseg.evaluation.report.frames import Extremes, RankedFrame, paint
from roadseg.evaluation.report.html import Figures, Shots, page
from roadseg.evaluation.robustness import Robustness
from roadseg.metrics.boundary import TOLERANCE
from roadseg.metrics.confusion import ConfusionMatrix

PAGE = "index.html"
"""Name of the page in its folder."""

_PICTURES = "frames"

# Wider pictures are shown no larger than this; a quarter of the page is 280 pixels.
_WIDEST_PX = 960


class Report:
    """Watches an evaluation (it is an observer of `evaluate_backend`) and writes the page.

    Args:
        frames: how many frames there will be.
        names: what to call each frame; by default its number.
        flicker: the flicker score of a video, which is counted elsewhere.
        classes: what the frames are labelled with.
        temperature: that scores are divided by before softmax.
    """

    def __init__(
        self,
        frames: int,
        names: Sequence[str] | None = None,
        flicker: Flicker | None = None,
        classes: ClassSet = CAMVID,
        temperature: float = 1.0,
    ) -> None:
        self._classes, self._temperature = classes, temperature
        self._names, self._flicker = names, flicker
        self._confusion = ConfusionMatrix(classes.num_classes)
        self._borders = BorderErrors(classes.num_classes)
        self._reliability: Reliability | None = None
        # A twelfth of the frames apart: each of three lies in another part of the drive.
        self._extremes = Extremes(
            self._draw, gap=max(1, frames // 12), num_classes=classes.num_classes
        )
        self._tolerance_px = 1

    def __call__(self, result: FrameResult) -> None:
        """Count one frame."""
        self._confusion.update(result.predicted_ids, result.true_ids)
        self._borders.update(result.predicted_ids, result.true_ids)
        if result.scores is not None:
            if self._reliability is None:
                self._reliability = Reliability(self._classes.num_classes, self._temperature)
            self._reliability.update(result.scores, result.predicted_ids, result.true_ids)
        self._extremes.update(result)
        self._tolerance_px = _tolerance_px(result.true_ids)

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error, 0..1; None without class scores."""
        reliability = self._reliability
        return None if reliability is None else reliability.expected_calibration_error

    def write(
        self,
        folder: Path,
        title: str,
        facts: Sequence[str],
        scores: Scores,
        origin: Mapping[str, str] | None = None,
        robustness: Robustness | None = None,
    ) -> Path:
        """Write the page and its pictures; those of an earlier report are replaced.

        Args:
            folder: created where it is missing.
            title: what was scored.
            facts: where and how, in words.
            scores: what `evaluate_backend` returned.
            origin: what it was measured with and on: the weights' checksum, the data.
            robustness: what corruption leaves, where it was measured.

        Returns:
            The page.

        Raises:
            SinkError: the folder cannot be written.
        """
        with writing(folder, _fix()):
            (folder / _PICTURES).mkdir(parents=True, exist_ok=True)
        worst = self._extremes.worst()
        # Of a few frames, the best would be the worst ones once more.
        shown = {frame.index for frame in worst}
        best = [frame for frame in self._extremes.best() if frame.index not in shown]
        figures = Figures(
            title=title,
            classes=self._classes,
            facts=facts,
            origin={} if origin is None else origin,
            scores=scores,
            confusion=self._confusion,
            borders=self._borders,
            tolerance_px=self._tolerance_px,
            reliability=self._reliability,
            flicker=self._flicker,
            robustness=robustness,
            worst=self._shots(folder, "worst", worst),
            best=self._shots(folder, "best", best),
        )
        # Last, so that a page never names a picture that is not there.
        write_text(folder / PAGE, page(figures), fix=_fix())
        return folder / PAGE

    def _shots(self, folder: Path, kind: str, frames: Sequence[RankedFrame]) -> list[Shots]:
        shots = []
        for place, frame in enumerate(frames, start=1):
            files = {}
            for name, picture in frame.pictures.items():
                files[name] = f"{_PICTURES}/{kind}-{place}-{name}.jpg"
                write_bytes(folder / files[name], picture, fix=_fix())
            title = f"frame {frame.index}" if self._names is None else self._names[frame.index]
            shots.append(Shots(title, frame.miou, files))
        return shots

    def _draw(self, result: FrameResult) -> dict[str, bytes]:
        pictures = paint(result, _tolerance_px(result.true_ids), self._classes)
        return {name: _jpeg(picture) for name, picture in pictures.items()}


def _fix() -> str:
    return f"free some space, or choose another {option('--report', parameter='folder')}"


def _tolerance_px(true_ids: Labels) -> int:
    """The tolerance of boundary F1, in whole pixels."""
    tolerance_px = round(TOLERANCE * math.hypot(*true_ids.shape))
    return min(max(1, tolerance_px), FARTHEST_PX)


def _jpeg(picture_bgr: Image) -> bytes:
    height, width = picture_bgr.shape[:2]
    if width > _WIDEST_PX:
        size_wh = (_WIDEST_PX, max(1, round(height * _WIDEST_PX / width)))
        picture_bgr = cv2.resize(picture_bgr, size_wh, interpolation=cv2.INTER_AREA)
    # Full chroma: thin coloured outlines smear at half resolution.
    options = [cv2.IMWRITE_JPEG_QUALITY, 90]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", picture_bgr, options)[1].tobytes()
