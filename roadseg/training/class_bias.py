"""The balance between the classes, set after training by the frames that were trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from roadseg.core.errors import ModelError
from roadseg.core.geometry import network_size, preprocess
from roadseg.metrics.class_bias import best_class_bias
from roadseg.models.abilities import classifier_bias
from roadseg.training.feed import LabelledFrame, to_batch

_PIXELS = 1_500_000
_PER_FRAME = 16_384


@torch.inference_mode()
def fit_class_bias(
    model: nn.Module, frames: Sequence[LabelledFrame], *, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Add to a network's class scores what makes its mean IoU on some frames highest.

    The search sees pixels drawn from every frame, whole frames, as validation shows them to the
    network; see `roadseg.metrics.class_bias`. Labels alone change: the features stay.

    Args:
        model: a network whose `classifier` has a bias, which is changed; left in eval mode.
        frames: labelled frames, those of training. Validation frames would flatter its score.
        seed: of the pixels.

    Returns:
        (C,) float32, what was added.

    Raises:
        ModelError: the network ends in no classifier with a bias.
    """
    bias = classifier_bias(model)
    if bias is None:
        raise ModelError(
            f"{type(model).__name__} has no bias in its last layer",
            fix="leave class_bias out of the recipe",
        )
    model.eval()
    count, device = len(bias), bias.device
    rng = np.random.default_rng(seed)
    per_frame = max(1, min(_PER_FRAME, _PIXELS // max(1, len(frames))))
    scores, true = [], []
    for image, labels in frames:
        network_hw = network_size(labels.shape, budget=labels.size)
        resized, _ = preprocess(image, network_hw)
        images, _ = to_batch([(resized, labels)], device)
        rows, columns = (rng.integers(side, size=per_frame) for side in network_hw)
        # A pixel of the network and the label under its centre.
        height, width = labels.shape
        ids = labels[
            (2 * rows + 1) * height // (2 * network_hw[0]),
            (2 * columns + 1) * width // (2 * network_hw[1]),
        ]
        known = ids < count
        places = torch.from_numpy(rows[known]), torch.from_numpy(columns[known])
        scores.append(model(images)[0][:, places[0], places[1]].float().cpu().numpy())
        true.append(ids[known])
    found = best_class_bias(np.concatenate(scores, axis=1), np.concatenate(true))
    bias += torch.from_numpy(found).to(bias)
    return found
