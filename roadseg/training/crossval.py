"""Leave-one-drive-out: what a recipe's weights are worth on roads that they have not seen."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roadseg.core.errors import ModelError, UsageError
from roadseg.core.files import write_json, writing
from roadseg.core.records import read_record
from roadseg.core.weights_file import best_weights
from roadseg.core.wording import option
from roadseg.datasets.drives import DRIVE_PATTERN, drives_of
from roadseg.models import load_weights
from roadseg.training.folder import LAST
from roadseg.training.loop import TrainingResult, train
from roadseg.training.progress import ShowTraining
from roadseg.training.record import run_record
from roadseg.training.spec import RunSpec
from roadseg.training.validation import confusion
from roadseg.weights.manifest import sha256_of

RESULT = "crossval.json"
"""The folds that are done, in the folder of a cross-validation."""

_FOLD = "fold.json"
_SHARED = "shared"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fold:
    """One drive, scored by a network that has not seen it.

    Attributes:
        drive: the name of the drive left out.
        trained_on, scored: numbers of frames.
        epochs: that were trained.
        miou: mean intersection over union on the drive left out, 0..1.
        iou: of each class by name; None for one that the drive lacks.
    """

    drive: str
    trained_on: int
    scored: int
    epochs: int
    miou: float
    iou: Mapping[str, float | None]


@dataclass(frozen=True)
class CrossValidation:
    """All folds.

    Attributes:
        folds: one a drive.
        settings: what all were trained with.
    """

    folds: Sequence[Fold]
    settings: Mapping[str, Any]

    @property
    def mean(self) -> float:
        """mIoU averaged over drives: each counts alike, however many frames it has."""
        return float(np.mean([fold.miou for fold in self.folds]))

    @property
    def spread(self) -> float:
        """Standard deviation of the drives' mIoU, of the sample; NaN for one drive."""
        mious = [fold.miou for fold in self.folds]
        return float(np.std(mious, ddof=1)) if len(mious) > 1 else math.nan

    def class_mean(self, name: str) -> float | None:
        """IoU of one class, averaged over the drives that have it."""
        found = [iou for fold in self.folds if (iou := fold.iou[name]) is not None]
        return float(np.mean(found)) if found else None

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "mean": round(self.mean, 4),
            "spread": None if math.isnan(self.spread) else round(self.spread, 4),
            "folds": [dataclasses.asdict(fold) for fold in self.folds],
            "settings": dict(self.settings),
        }


def cross_validate(
    spec: RunSpec,
    *,
    quick: bool = False,
    pattern: str = DRIVE_PATTERN,
    progress: ShowTraining | None = None,
) -> CrossValidation:
    """Train once for every drive on all the others, and score it on the one left out.

    >>> spec = roadseg.RunSpec.opening("CamVid", recipe="lite", epochs=40, output="runs/crossval")
    >>> result = roadseg.cross_validate(spec)
    >>> result.mean, result.spread
    (0.61, 0.05)

    Each fold's weights are those at the end of its schedule: were they chosen by the drive left
    out, its score would flatter. `spec.validation` is not looked at. A fold is a run of its own in
    `spec.output/DRIVE`; `crossval.json` beside them has the folds that are done. An interrupted
    cross-validation goes on when it is started again with the same settings.

    Args:
        spec: the run that every fold is, on all drives; its time or epochs are those of one fold.
            Its teacher must not have seen any drive, or is the folder of another
            cross-validation over the same drives: each fold then learns from the network that
            has not seen its drive either.
        quick: train one network on `spec.extra` alone first, which shows no drive, and let every
            fold start from it.
        pattern: see `roadseg.datasets.drives.drives_of`.
        progress: gets a state after every step and every epoch, of one run after the other.

    Raises:
        UsageError: `quick` without `spec.extra`, or beside `spec.init`; the folder holds a
            cross-validation with other settings; a pattern that is none; teachers of other drives.
        DataError: frames without a drive, or of one drive only; a frame or label is unusable.
        ModelError: a fold has diverged, or its files are damaged.
        BackendError: the device has too little memory.
        SinkError: the folder cannot be written.
    """
    if quick and spec.extra is None:
        raise UsageError(
            f"{option('--quick', True)} needs frames that show no drive",
            fix=f"render some with 'roadseg render-sample' and give them with {option('--extra')}",
        )
    if quick and spec.init is not None:
        raise UsageError(
            f"{option('--quick', True)} and {option('--init')} exclude each other",
            fix="give one of them",
        )
    drives = drives_of(spec.data, pattern)
    teachers = _teachers(spec, drives)
    settings = run_record(spec) | {"quick": quick, "drives": list(drives)}
    if teachers:
        settings["teacher_sha256"] = [sha256_of(path) for path in teachers.values()]
    _check_settings(spec.output, settings)
    if quick:
        # What the encoder began with is in there.
        shared = _shared_start(spec, progress)
        spec = dataclasses.replace(spec, init=shared, encoder_weights=None)
    folds: list[Fold] = []
    for drive, held_out in drives.items():
        fold = _read_fold(spec.output / drive)
        if fold is None:
            _log.info(f"{drive} is left out: {len(held_out)} of {len(spec.data)} frames")
            own = dataclasses.replace(spec, teacher=teachers.get(drive, spec.teacher))
            fold = _run_fold(own, drive, held_out, progress)
        folds.append(fold)
        result = CrossValidation(folds, settings)
        write_json(spec.output / RESULT, result.to_json())
    return result


def _teachers(spec: RunSpec, drives: Mapping[str, Sequence[int]]) -> dict[str, Path]:
    """For each drive the weights that teach its fold, where they are another's folds; else none.

    Raises:
        UsageError: there is none that has not seen a drive.
    """
    if spec.teacher is None or not spec.teacher.is_dir():
        return {}
    found = {}
    for drive, held_out in drives.items():
        fold = _read_fold(spec.teacher / drive)
        if fold is None or fold.scored != len(held_out):
            raise UsageError(
                f"{spec.teacher} has no fold that left {drive} out of these frames",
                fix="give a cross-validation of the same data that is done, or a file of weights",
            )
        found[drive] = best_weights(spec.teacher / drive)
    return found


def _run_fold(
    spec: RunSpec, drive: str, held_out: Sequence[int], progress: ShowTraining | None
) -> Fold:
    left_out = set(held_out)
    rest = [index for index in range(len(spec.data)) if index not in left_out]
    own = dataclasses.replace(
        spec,
        data=spec.data.subset(rest, f"all but {drive}"),
        validation=spec.data.subset(held_out, drive),
        output=spec.output / drive,
        # Nothing is chosen by the drive left out.
        keep_last=True,
    )
    result = _go_on_or_start(own, progress)
    # The weights as they were written: the log has scores from before the class biases.
    model, _ = load_weights(result.weights, spec.classes)
    matrix = confusion(model, list(own.validation), spec.classes.num_classes)
    iou = [None if math.isnan(value) else round(float(value), 4) for value in matrix.per_class_iou]
    fold = Fold(
        drive,
        len(rest),
        len(held_out),
        result.epochs,
        matrix.miou,
        dict(zip(spec.classes.names, iou, strict=True)),
    )
    write_json(own.output / _FOLD, dataclasses.asdict(fold))
    return fold


def _shared_start(spec: RunSpec, progress: ShowTraining | None) -> Path:
    """Weights of a network that saw the extra frames alone."""
    assert spec.extra is not None
    folder = spec.output / _SHARED
    if (folder / _FOLD).exists():
        return best_weights(folder)
    _log.info(f"the start of every fold is trained on {len(spec.extra)} frames of no drive")
    own = dataclasses.replace(
        spec,
        data=spec.extra,
        # Frames that it learnt from: their score says only that it learnt.
        validation=spec.extra.subset(range(min(len(spec.extra), 8)), "seen"),
        extra=None,
        teacher=None if spec.teacher is None or spec.teacher.is_dir() else spec.teacher,
        output=folder,
        keep_last=True,
    )
    result = _go_on_or_start(own, progress)
    write_json(folder / _FOLD, {"epochs": result.epochs})
    return result.weights


def _go_on_or_start(spec: RunSpec, progress: ShowTraining | None) -> TrainingResult:
    if not (spec.output / LAST).exists():
        return train(spec, progress=progress)
    # What a run starts from is in its checkpoint.
    return train(dataclasses.replace(spec, resume=True, init=None), progress=progress)


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings; remember these.

    Raises:
        UsageError: the folder's are others.
        ModelError: the record of them is damaged.
        SinkError: the folder cannot be written.
    """
    path = folder / "settings.json"
    plain = json.loads(json.dumps(settings))
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        with writing(folder, f"choose another {option('--output')}"):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(path, plain)
        return
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path} is damaged", fix=f"choose another {option('--output')}") from exc
    if before != plain:
        changed = sorted(k for k in plain.keys() | before.keys() if plain.get(k) != before.get(k))
        raise UsageError(
            f"{folder} holds a cross-validation with other settings ({', '.join(changed)})",
            fix=f"give the same ones to go on, or choose another {option('--output')}",
        )


def _read_fold(folder: Path) -> Fold | None:
    try:
        return read_record(
            folder / _FOLD, Fold, ModelError, fix="delete it, and the fold is done again"
        )
    except FileNotFoundError:
        return None
