"""What a run trains on and is judged by, read into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roadseg.core.errors import DataError
from roadseg.training.augment import CropTargets
from roadseg.training.balance import ClassFrequencies, class_frequencies, class_weights, rare_ids
from roadseg.training.distributed import World
from roadseg.training.feed import Feed, LabelledFrame, Share, build_feed
from roadseg.training.spec import RunSpec


@dataclass(frozen=True)
class TrainingData:
    """The frames of a run.

    Attributes:
        feed: training batches.
        frames: the training frames, for batch-norm statistics.
        validation: labelled frames that choose the snapshot.
        class_weights: (C,) of the classes in the cross-entropy.
    """

    feed: Feed
    frames: Sequence[LabelledFrame]
    validation: Sequence[LabelledFrame]
    class_weights: npt.NDArray[np.float32]


def read_data(spec: RunSpec, place: World) -> TrainingData:
    """Read all frames of a run.

    Args:
        spec: of the run.
        place: the process, which makes its part of each batch on its device.

    Raises:
        DataError: a frame or label is unusable, or all labels are void.
    """
    classes, recipe = spec.classes, spec.recipe
    frequencies = class_frequencies(spec.data)
    frames, validation = list(spec.data), list(spec.validation)
    counted = ClassFrequencies.of((labels for _, labels in validation), classes.num_classes)
    for part, found in ((spec.data, frequencies), (spec.validation, counted)):
        if not found.pixels.any():
            raise DataError(
                f"every pixel of the {part.split} labels of {part.root} is void",
                fix=f"look at one of them, {part.pairs[0][1]}",
            )
    targets = CropTargets(classes.void_id, rare_ids(frequencies, classes))
    share = Share(place.rank, place.size)
    feed = build_feed(frames, list(spec.extra or ()), recipe, place.device, share, targets)
    weights = class_weights(frequencies, recipe.class_weighting, classes)
    return TrainingData(feed, frames, validation, weights)
