"""PyTorch in FP32 with the scores behind its labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from roadseg.backends.base import check_batch
from roadseg.backends.torch import TorchBackend, _first_line, _import_torch
from roadseg.errors import BackendError

__all__ = ["TorchScoringBackend"]


class TorchScoringBackend(TorchBackend):
    """A network run operation by operation; arguments and errors are those of `TorchBackend`."""

    def infer_scores(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `ScoringBackend.infer_scores`.

        Raises:
            ValueError: the batch has another shape or dtype.
            BackendError: PyTorch failed, for example for lack of memory, or the backend is closed.
        """
        check_batch(batch_bgr, self.network_hw)
        if self._model is None:
            raise BackendError("the torch backend is closed: create another one")
        torch = _import_torch()
        try:
            with torch.inference_mode():
                frames = torch.from_numpy(np.array(batch_bgr, order="C")).to(self._device)
                scores = self._model(frames.permute(0, 3, 1, 2).float().div_(255))
                values: npt.NDArray[np.float32] = scores.float().contiguous().cpu().numpy()
        except RuntimeError as exc:
            raise BackendError(f"PyTorch failed while inferring: {_first_line(exc)}") from exc
        return values

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `Backend.infer`."""
        labels: npt.NDArray[np.uint8] = self.infer_scores(batch_bgr).argmax(1).astype(np.uint8)
        return labels
