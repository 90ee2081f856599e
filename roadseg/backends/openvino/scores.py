"""OpenVINO with the scores behind its labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.backends.openvino.backend import OpenVinoBackend, closed
from roadseg.core.errors import ModelError
from roadseg.core.openvino import import_openvino
from roadseg.core.scores import best_of_each
from roadseg.core.wording import option
from roadseg.export.argmax import scores_in_blocks


class OpenVinoScoringBackend(OpenVinoBackend):
    """The same network, INT8 or not, cut off before the operation that picks the best class.

    Arguments and errors are those of `OpenVinoBackend`.
    """

    def _with_outputs(self, network: Any, shown: str) -> Any:
        ov = import_openvino()
        scores = scores_in_blocks(network) or _scores_behind(network.outputs[0])
        if scores is None:
            raise ModelError(
                f"{shown} picks its classes in a way that shows no scores",
                fix=f"write it again with 'roadseg export', or use {option('--backend', 'torch')}",
            )
        return ov.Model([scores], network.get_parameters(), network.get_name())

    def infer_scores(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `ScoringBackend.infer_scores`.

        Raises:
            ValueError: the batch has another shape or dtype.
            BackendError: OpenVINO failed, or the backend is closed.
        """
        if self._compiled is None:
            raise closed()
        shape = self._compiled.output(0).shape
        scores = np.empty((len(batch_bgr), *shape[1:]), np.float32)
        for own, values in zip(scores, self._results(batch_bgr), strict=True):
            np.copyto(own, values)
        return scores

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `Backend.infer`."""
        return best_of_each(self.infer_scores(batch_bgr))


def _scores_behind(labels: Any) -> Any:
    """The output that labels are picked from; None where it cannot be told.

    ArgMax of an ONNX file is read as TopK; the graphs of `roadseg quantize` compare the scores
    with their maximum. Either operation is the one of its kind that is nearest to the labels.
    """
    frontier, seen = [labels.get_node()], set()
    while frontier:
        node = frontier.pop(0)
        if node.get_type_name() in ("TopK", "ReduceMax"):
            scores = node.input_value(0)
            shape = scores.get_partial_shape()
            return scores if len(shape) == 4 and shape[1].is_static else None
        for port in node.input_values():
            before = port.get_node()
            if before.get_friendly_name() not in seen:
                seen.add(before.get_friendly_name())
                frontier.append(before)
    return None
