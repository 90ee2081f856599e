"""PyTorch in FP32 with the scores behind its labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from roadseg.backends.torch.backend import TorchBackend
from roadseg.core.scores import best_of_each


class TorchScoringBackend(TorchBackend):
    """A network run operation by operation; arguments and errors are those of `TorchBackend`."""

    def infer_scores(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `ScoringBackend.infer_scores`.

        Raises:
            ValueError: the batch has another shape or dtype.
            BackendError: PyTorch failed, for example for lack of memory, or the backend is closed.
        """
        values: npt.NDArray[np.float32] = self._run(
            batch_bgr, lambda scores: scores.float().contiguous()
        )
        return values

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `Backend.infer`."""
        return best_of_each(self.infer_scores(batch_bgr))
