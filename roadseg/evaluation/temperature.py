"""Temperature scaling: one number that makes a network as sure as it is right.

Guo et al. 2017, "On calibration of modern neural networks", section 4.2: scores are divided by a
temperature before softmax, chosen for the least negative log-likelihood on held-out labels. The
labels stay as they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from roadseg.core.labels import NUM_CLASSES
from roadseg.evaluation.evaluate import FrameResult

_PER_FRAME = 4096
_LOWEST, _HIGHEST = 0.05, 20.0
_STEPS = 40


class TemperatureFit:
    """Watches an evaluation (it is an observer of `evaluate_backend`) and fits the temperature.

    Args:
        num_classes: true ids from here up are void.
        seed: of the pixels that are looked at, some thousand of each frame.
    """

    def __init__(self, num_classes: int = NUM_CLASSES, seed: int = 0) -> None:
        self._num_classes = num_classes
        self._rng = np.random.default_rng(seed)
        self._scores: list[npt.NDArray[np.float32]] = []
        self._true: list[npt.NDArray[np.int64]] = []

    def __call__(self, result: FrameResult) -> None:
        """Take pixels of one frame; those of a backend that gives labels alone are passed over."""
        if result.scores is None:
            return
        scores = result.scores.reshape(self._num_classes, -1)
        height, width = result.scores.shape[1:]
        at = self._rng.integers(scores.shape[1], size=_PER_FRAME)
        # A pixel of the network and the label under its centre.
        rows, columns = np.divmod(at, width)
        true_h, true_w = result.true_ids.shape
        true = result.true_ids[
            (2 * rows + 1) * true_h // (2 * height), (2 * columns + 1) * true_w // (2 * width)
        ]
        known = true < self._num_classes
        self._scores.append(scores[:, at[known]])
        self._true.append(true[known].astype(np.int64))

    def temperature(self) -> float:
        """The best temperature; 1 where no frame had class scores.

        The likelihood has one best place, which golden sections close in on.
        """
        if not self._true or not sum(map(len, self._true)):
            return 1.0
        scores, true = np.concatenate(self._scores, axis=1), np.concatenate(self._true)
        scores = scores - scores.max(axis=0)
        own = scores[true, np.arange(len(true))]

        def loss(log_temperature: float) -> float:
            cool = np.float32(np.exp(-log_temperature))
            return float((np.log(np.exp(scores * cool).sum(axis=0)) - own * cool).mean())

        golden = (np.sqrt(5) - 1) / 2
        low, high = np.log(_LOWEST), np.log(_HIGHEST)
        left, right = high - golden * (high - low), low + golden * (high - low)
        at_left, at_right = loss(left), loss(right)
        for _ in range(_STEPS):
            if at_left < at_right:
                high, right, at_right = right, left, at_left
                left = high - golden * (high - low)
                at_left = loss(left)
            else:
                low, left, at_left = left, right, at_right
                right = low + golden * (high - low)
                at_right = loss(right)
        return float(np.exp((low + high) / 2))
