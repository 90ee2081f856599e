"""How much accuracy is left on corrupted frames: mIoU kept, by kind, severity and class.

Kamann and Rother 2020, "Benchmarking the robustness of semantic segmentation models", use the
corruptions of Hendrycks and Dietterich 2019 the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roadseg.core.backend import Backend, ScoringBackend
from roadseg.core.geometry import Geometry, postprocess, preprocess
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.progress import ShowProgress, StageClock
from roadseg.core.types import Image, Labels
from roadseg.evaluation.corruptions.kinds import KINDS, check_kinds, check_severities, corrupt
from roadseg.evaluation.evaluate import LabelledFrames, no_frames
from roadseg.evaluation.reliability import Reliability
from roadseg.metrics.confusion import ConfusionMatrix


@dataclass(frozen=True)
class Corruptions:
    """What frames are corrupted with.

    Attributes:
        kinds: names of `corruptions.kinds.KINDS`; all for none.
        severities: from 1 to 5; 1, 3 and 5 for none.

    Raises:
        UsageError: a kind or a severity that does not exist.
    """

    kinds: tuple[str, ...] = ()
    severities: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", check_kinds(self.kinds))
        object.__setattr__(self, "severities", check_severities(self.severities))


@dataclass(frozen=True)
class Tally:
    """Figures of all frames under one corruption, fractions 0..1, NaN where undefined.

    Attributes:
        miou: mean intersection over union.
        per_class_iou: by class id.
        calibration_error: expected calibration error; None from a backend without class scores.
    """

    miou: float
    per_class_iou: tuple[float, ...]
    calibration_error: float | None


@dataclass(frozen=True)
class Robustness:
    """What corruption leaves.

    Attributes:
        clean: of the frames as they are.
        corrupted: by kind and severity.
        class_names: names by class id.
    """

    clean: Tally
    corrupted: Mapping[tuple[str, int], Tally]
    class_names: tuple[str, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that were measured."""
        return tuple(dict.fromkeys(kind for kind, _ in self.corrupted))

    @property
    def severities(self) -> tuple[int, ...]:
        """The severities that were measured."""
        return tuple(dict.fromkeys(severity for _, severity in self.corrupted))

    def kept(self, kind: str) -> float:
        """Share of the clean mIoU that is left, averaged over the severities of one kind."""
        return float(np.mean([self.kept_at(kind, severity) for severity in self.severities]))

    def kept_at(self, kind: str, severity: int) -> float:
        """Share of the clean mIoU that is left; NaN where clean frames score nothing."""
        return _share(self.corrupted[kind, severity].miou, self.clean.miou)

    @property
    def mean_kept(self) -> float:
        """`kept`, averaged over kinds."""
        return float(np.mean([self.kept(kind) for kind in self.kinds]))

    @property
    def worst(self) -> str:
        """The kind that keeps least."""
        return min(self.kinds, key=self.kept)

    def class_kept(self, kind: str) -> tuple[float, ...]:
        """Share of each class's clean IoU that is left, averaged over severities, by class id."""
        left = np.array([self.corrupted[kind, s].per_class_iou for s in self.severities])
        return tuple(map(_share, left.mean(axis=0).tolist(), self.clean.per_class_iou))

    @property
    def mean_calibration_error(self) -> float | None:
        """Of corrupted frames, averaged over kinds and severities; None without class scores."""
        errors = [tally.calibration_error for tally in self.corrupted.values()]
        found = [error for error in errors if error is not None]
        return float(np.mean(found)) if found else None

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`: NaN becomes None, classes go by name."""
        return {
            "clean_miou": _or_none(self.clean.miou),
            "clean_calibration_error": _or_none(self.clean.calibration_error),
            "severities": list(self.severities),
            "mean_kept": _or_none(self.mean_kept),
            "worst": {"kind": self.worst, "kept": _or_none(self.kept(self.worst))},
            "mean_calibration_error": _or_none(self.mean_calibration_error),
            "kinds": {
                kind: {
                    "family": KINDS[kind].family,
                    "kept": _or_none(self.kept(kind)),
                    "class_kept": self._by_name(self.class_kept(kind)),
                    "miou": self._by_severity(kind, "miou"),
                    "calibration_error": self._by_severity(kind, "calibration_error"),
                }
                for kind in self.kinds
            },
        }

    def _by_severity(self, kind: str, figure: str) -> dict[str, float | None]:
        tallies = {severity: self.corrupted[kind, severity] for severity in self.severities}
        return {str(s): _or_none(getattr(tally, figure)) for s, tally in tallies.items()}

    def _by_name(self, values: Sequence[float]) -> dict[str, float | None]:
        return {n: _or_none(v) for n, v in zip(self.class_names, values, strict=True)}


def evaluate_corruptions(
    backend: Backend,
    dataset: LabelledFrames,
    corruptions: Corruptions,
    *,
    temperature: float = 1.0,
    progress: ShowProgress | None = None,
    classes: ClassSet = CAMVID,
) -> Robustness:
    """Score a backend on frames as they are, and corrupted.

    Corruption comes before the resize to the backend's input, as it would come from a camera.
    Where pixels move, the labels move with them. The same data give the same figures.

    Args:
        backend: takes (1, h, w, 3) uint8 BGR batches; left open. A `ScoringBackend` gives
            calibration errors, too.
        dataset: the labelled frames.
        corruptions: kinds and severities.
        temperature: that scores are divided by before softmax.
        progress: shows how many frames are done.
        classes: what the frames are labelled with, and the backend must tell apart.

    Raises:
        DataError: the data set has no frames, or one of them is damaged.
        BackendError: the runtime failed.
    """
    counting = _Counting(backend, temperature, classes.num_classes)
    clean = counting.fresh()
    sums = {(k, s): counting.fresh() for k in corruptions.kinds for s in corruptions.severities}
    clock, total = StageClock("corrupting", progress), len(dataset)
    done = 0
    for done, (image_bgr, true_ids) in enumerate(dataset, start=1):
        counting.add(clean, image_bgr, true_ids)
        for (kind, severity), tally in sums.items():
            corrupted = corrupt(image_bgr, true_ids, kind, severity, done - 1, classes.void_id)
            counting.add(tally, *corrupted)
        clock.step(done, total)
    if not done:
        raise no_frames()
    figures = {key: tally.figures() for key, tally in sums.items()}
    return Robustness(clean.figures(), figures, classes.names)


class _Sums:
    """Counts of all frames under one corruption."""

    def __init__(self, num_classes: int, reliability: Reliability | None) -> None:
        self.confusion = ConfusionMatrix(num_classes)
        self.reliability = reliability

    def figures(self) -> Tally:
        sure = self.reliability
        return Tally(
            self.confusion.miou,
            tuple(self.confusion.per_class_iou.tolist()),
            None if sure is None else sure.expected_calibration_error,
        )


class _Counting:
    """Runs the network on one frame after the other, into the same buffer."""

    def __init__(self, backend: Backend, temperature: float, num_classes: int) -> None:
        self._backend, self._temperature, self._num_classes = backend, temperature, num_classes
        self._batch_bgr: npt.NDArray[np.uint8] = np.empty((1, *backend.network_hw, 3), np.uint8)

    def fresh(self) -> _Sums:
        sure = Reliability(self._num_classes, self._temperature)
        return _Sums(self._num_classes, sure if isinstance(self._backend, ScoringBackend) else None)

    def add(self, sums: _Sums, image_bgr: Image, true_ids: Labels) -> None:
        backend = self._backend
        preprocess(image_bgr, backend.network_hw, out=self._batch_bgr[0])
        geometry = Geometry((true_ids.shape[0], true_ids.shape[1]), backend.network_hw)
        scores = None
        if isinstance(backend, ScoringBackend):
            scores = backend.infer_scores(self._batch_bgr)[0]
            ids = scores.argmax(axis=0).astype(np.uint8)
        else:
            ids = backend.infer(self._batch_bgr)[0]
        predicted_ids = postprocess(ids, geometry).ids
        sums.confusion.update(predicted_ids, true_ids)
        if scores is not None and sums.reliability is not None:
            sums.reliability.update(scores, predicted_ids, true_ids)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


def _or_none(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value
