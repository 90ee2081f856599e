"""A model's scores on labelled frames: what `roadseg eval` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.core.backend import BackendInfo
from roadseg.core.errors import DataError, reading
from roadseg.core.files import claim_file
from roadseg.core.size import SizeHW
from roadseg.core.wording import option
from roadseg.datasets.clip import LabelledClip
from roadseg.datasets.labelled import LabelledSet
from roadseg.datasets.opening import open_dataset
from roadseg.evaluation.evaluate import Scores, evaluate_backend, no_frames
from roadseg.evaluation.flicker import Flicker
from roadseg.evaluation.report.report import PAGE, Report
from roadseg.evaluation.robustness import Corruptions, Robustness, evaluate_corruptions
from roadseg.loading.auto import choose_for
from roadseg.loading.choice import Choice, choose

if TYPE_CHECKING:
    from roadseg.core.progress import ShowProgress


@dataclass(frozen=True)
class Evaluation:
    """What a model scored, and with what.

    Attributes:
        scores: the figures.
        model: as reports call it: by its name, or by the path of a file.
        choice: the model and what ran it.
        info: the backend that ran.
        network_hw: height and width of the network's input.
        data, split: what it was scored on; the split is None for a video.
        flicker: of a video; None for separate frames.
        calibration_error: how far the network's confidence is from its accuracy, 0..1, where a
            report was written and the backend gives scores.
        robustness: what corruption leaves; None where it was not asked for.
        page: the report; None where none was asked for.
    """

    scores: Scores
    model: str
    choice: Choice
    info: BackendInfo
    network_hw: SizeHW
    data: Path
    split: str | None
    flicker: Flicker | None
    calibration_error: float | None
    robustness: Robustness | None
    page: Path | None

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`: the keys of `Scores.to_json`, and where they come from."""
        document = {
            **self.scores.to_json(),
            "backend": self.info.name,
            "model": self.model,
            "precision": self.info.precision,
            "device": self.info.device,
            "size_hw": list(self.network_hw),
            "data": str(self.data),
            "split": self.split,
        }
        weights = self.choice.weights()
        if weights is not None:
            document["weights"], document["weights_sha256"] = weights
        if self.flicker is not None:
            document["flicker"] = self.flicker.score if self.flicker.steady else None
        if self.calibration_error is not None:
            document["calibration_error"] = self.calibration_error
        if self.robustness is not None:
            document["corruptions"] = self.robustness.to_json()
        return document


def evaluate_model(
    data: Path,
    *,
    split: str = "val",
    labels: Path | None = None,
    model: str = "segnet-lite",
    backend: str = "auto",
    size_hw: SizeHW | None = None,
    threads: int | None = None,
    report: Path | None = None,
    corruptions: Corruptions | None = None,
    progress: ShowProgress | None = None,
) -> Evaluation:
    """Score a model on labelled frames.

    >>> result = roadseg.evaluate_model(Path("CamVid"), model="segnet-lite")
    >>> result.scores.miou, result.scores.per_class_iou
    (0.61, (0.92, ...))

    Accuracies, mIoU and boundary F1 at the labels' own resolution; void is ignored. For a video,
    the flicker score, too: label changes on pixels whose true class did not change.

    Args:
        data: labelled frames in a layout of docs/data.md; or, with `labels`, a video.
        split: which part of the data set to score.
        labels: of the frames of a video: a folder of PNGs or an `.npz` file.
        model, backend, threads: see `roadseg.Segmenter`; `auto` is the most accurate.
        size_hw: height and width of the network's input; default: what the first frame gives.
        report: folder for an HTML page with pictures; None for none.
        corruptions: score the frames corrupted, too; None for as they are alone.
        progress: shows how many frames are done, and how far an engine is that is built.

    Raises:
        UsageError: see `roadseg.Segmenter`.
        ModelError: the model file cannot be used, or knows other classes than the data set.
        DataError: the data set is missing or damaged, or has no frames or no labels.
        BackendError, EngineError: the runtime is missing or failed.
        SinkError: the report cannot be written.
    """
    if report is not None:
        claim_file(report / PAGE)
    choice = choose(model, backend, size_hw=size_hw, threads=threads)
    frames = _open(data, split, labels, choice)
    if choice.auto:
        choice = choose_for(choice, _first_hw(frames), 0)  # an evaluation has time
    network_hw = choice.size_hw or choice.network_hw(_first_hw(frames))
    classes = frames.classes
    flicker = None if labels is None else Flicker(classes.num_classes)
    page = None
    if report is not None:
        names = None
        if isinstance(frames, LabelledSet):
            names = [image.name for image, _ in frames.pairs]
        page = Report(len(frames), names, flicker, classes, choice.temperature)
    # Scores cost the memory traffic that labels in the graph save.
    sure = page is not None or corruptions is not None
    running = choice.open(network_hw, scores=sure, progress=progress)
    robustness = None
    try:
        observers = [observer for observer in (flicker, page) if observer is not None]
        scores = evaluate_backend(
            running, frames, progress=progress, observers=observers, classes=classes
        )
        info = running.info
        if corruptions is not None:
            robustness = evaluate_corruptions(
                running,
                frames,
                corruptions,
                temperature=choice.temperature,
                progress=progress,
                classes=classes,
            )
    finally:
        running.close()
    # All runs of `roadseg train` are called best.safetensors: a file goes by its path.
    shown = model if Path(model).is_file() else info.model
    path = None
    if page is not None and report is not None:
        where = f"{data.name}, {split}" if labels is None else data.name
        frame_count = f"{scores.images} {'frame' if scores.images == 1 else 'frames'}"
        size_text = f"input {network_hw[0]}x{network_hw[1]}"
        facts = [where, frame_count, size_text, f"{info.name}, {info.device}"]
        part = f"split {split}" if labels is None else f"labels in {labels.resolve()}"
        origin = {"data": f"{data.resolve()}, {part}; {classes.brief}"}
        weights = choice.weights()
        if weights is not None:
            origin = {"weights": f"{weights[0]}, SHA-256 {weights[1]}", **origin}
        path = page.write(report, f"{shown} {info.precision}", facts, scores, origin, robustness)
    return Evaluation(
        scores=scores,
        model=shown,
        choice=choice,
        info=info,
        network_hw=network_hw,
        data=data,
        split=split if labels is None else None,
        flicker=flicker,
        calibration_error=None if page is None else page.calibration_error,
        robustness=robustness,
        page=path,
    )


def _open(
    data: Path, split: str, labels: Path | None, choice: Choice
) -> LabelledSet | LabelledClip:
    if labels is not None:
        return LabelledClip(data, labels, choice.classes)
    with reading(DataError, data):
        is_file = data.is_file()
    if is_file:
        raise DataError(
            f"{data} is a file", fix=f"give the labels of its frames with {option('--labels')}"
        )
    frames = open_dataset(data, split)
    frames.check_model(choice.model, choice.classes)
    return frames


def _first_hw(frames: LabelledSet | LabelledClip) -> SizeHW:
    first = next(iter(frames), None)
    if first is None:
        raise no_frames()
    height, width = first[0].shape[:2]
    return height, width
