"""Flicker: how often labels change where the truth stands still."""

from __future__ import annotations

from roadseg.core.labels import NUM_CLASSES
from roadseg.core.types import Labels
from roadseg.evaluation.evaluate import FrameResult


class Flicker:
    """Label changes between consecutive frames on pixels whose true class did not change.

    A pixel counts when it has the same true class, void excepted, in both frames; what moves in
    the world is thereby left out, and what remains is the network's own unrest. A score of 0.02
    means that one such pixel in fifty has another label than one frame before.

    >>> flicker = Flicker()
    >>> still = np.zeros((1, 4), np.uint8)
    >>> flicker.update(still, still)
    >>> flicker.update(np.array([[0, 0, 3, 0]], np.uint8), still)
    >>> flicker.score
    0.25

    Args:
        num_classes: true ids from here up are void.

    Attributes:
        frames: frames seen so far.
        steady: pixels whose true class did not change, over all pairs of frames.
        changed: those among them whose label did.
    """

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        self.num_classes = num_classes
        self.frames = self.steady = self.changed = 0
        self._last: tuple[Labels, Labels] | None = None

    def __call__(self, result: FrameResult) -> None:
        """Count a frame of an evaluation; see `evaluate_backend`."""
        self.update(result.predicted_ids, result.true_ids)

    def update(self, predicted_ids: Labels, true_ids: Labels) -> None:
        """Count the next frame.

        Args:
            predicted_ids: (H, W) uint8 class ids.
            true_ids: (H, W) uint8 class ids; from `num_classes` up they are void.

        Raises:
            ValueError: the two differ in shape.
        """
        if predicted_ids.shape != true_ids.shape:
            raise ValueError(
                f"expected predicted and true ids of one shape, "
                f"got {predicted_ids.shape} and {true_ids.shape}"
            )
        # A frame of another size is no successor of the one before.
        if self._last is not None and self._last[1].shape == true_ids.shape:
            last_predicted, last_true = self._last
            steady = (true_ids == last_true) & (true_ids < self.num_classes)
            self.steady += int(steady.sum())
            self.changed += int((steady & (predicted_ids != last_predicted)).sum())
        self._last = (predicted_ids.copy(), true_ids.copy())
        self.frames += 1

    @property
    def score(self) -> float:
        """Share of the steady pixels that changed their label; NaN when there are none."""
        return self.changed / self.steady if self.steady else float("nan")
