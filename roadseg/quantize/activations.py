"""How large a network's activations get on real frames, and which INT8 scale follows from that.

The float network runs over the calibration frames, and what each tensor held is kept as a histogram
of magnitudes. Its bins are those of floating-point numbers themselves (the exponent and the upper
bits of the fraction), so that one pass is enough, whatever the range turns out to be, and counts
of different frames add up exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from roadseg.backends.openvino.reading import open_core
from roadseg.core.errors import BackendError, ModelError
from roadseg.core.openvino import openvino_failure
from roadseg.core.progress import ShowProgress, StageClock

Method = Literal["absmax", "percentile", "mse"]

METHODS: tuple[Method, ...] = get_args(Method)
"""Ways to choose a scale: see `choose_scale`."""

DEFAULT_METHOD: Method = "percentile"
"""What cost the least mIoU: docs/calibration.md has the figures."""

_LEVELS = 127
_SCALE_BITS = 4
_PERCENTILE = 99.99
# 8 of the 23 bits of the fraction: bins are 1/256 to 1/512 of their values wide, less than a step
# of the INT8 grid at its upper end.
_SHIFT = 15
_BINS = 1 << (31 - _SHIFT)


@dataclass
class Histogram:
    """How often each magnitude occurred.

    Attributes:
        counts: (65536,) int64, by the upper 16 bits that follow the sign of a float32.
        peak: the greatest magnitude, exactly.
    """

    counts: npt.NDArray[np.int64]
    peak: float

    @classmethod
    def empty(cls) -> Histogram:
        """Of nothing."""
        return cls(np.zeros(_BINS, np.int64), 0.0)

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count values of any shape.

        Raises:
            ModelError: one is infinite or not a number.
        """
        magnitudes = np.abs(values.astype(np.float32, copy=False)).ravel()
        peak = float(magnitudes.max(initial=0))
        if not np.isfinite(peak):
            raise ModelError(
                "the network yields infinite values or NaN on a calibration frame: its weights "
                "are damaged",
                fix="train it again",
            )
        self.counts += np.bincount(magnitudes.view(np.uint32) >> _SHIFT, minlength=_BINS)
        self.peak = max(self.peak, peak)

    def percentile(self, percent: float) -> float:
        """The magnitude that `percent` of the values do not exceed, to the upper end of its bin."""
        total = int(self.counts.sum())
        reached = int(np.searchsorted(np.cumsum(self.counts), total * percent / 100))
        if reached == 0:
            return 0.0
        edge = np.array([min(reached + 1, _BINS - 1) << _SHIFT], np.uint32)
        return min(float(edge.view(np.float32)[0]), self.peak)

    def squared_error(self, scale: float) -> float:
        """Mean squared error of rounding to the INT8 grid of that scale."""
        used = np.flatnonzero(self.counts)
        middles = ((used << _SHIFT) + (1 << (_SHIFT - 1))).astype(np.uint32).view(np.float32)
        values = middles.astype(np.float64)
        values[used == 0] = 0.0
        error = values - np.minimum(np.rint(values / scale), _LEVELS) * scale
        weights = self.counts[used]
        return float((weights * error * error).sum() / max(int(weights.sum()), 1))


def choose_scale(histogram: Histogram, method: Method) -> float:
    """The step of the INT8 grid, whose largest magnitude is 127 steps.

    A step has four significant bits, so that its multiples up to 128 are exact in FP16. A pool in
    the native lowering compares dequantised values: they must be the same numbers whether a runtime
    dequantises in FP32 or in FP16. It also keeps the noise of summation order out of the result.

    Args:
        histogram: of the tensor.
        method: `absmax`: nothing is clipped. `percentile`: one value in 10,000 is, or hardly more.
            `mse`: what gives the least squared error.

    Returns:
        A positive number; 1/128 for a tensor of zeros.
    """
    if histogram.peak == 0:
        return 1 / 128
    widest = _short(histogram.peak / _LEVELS, math.ceil)
    if method == "absmax":
        return widest
    if method == "percentile":
        # Of a tensor in which hardly anything is not zero, the percentile may be zero, too.
        reach = histogram.percentile(_PERCENTILE) or histogram.peak
        return min(_short(reach / _LEVELS, round), widest)
    candidates = [widest]
    while candidates[-1] > histogram.peak / _LEVELS / 8:
        candidates.append(_short(candidates[-1] * (1 - 2.0**-_SCALE_BITS), math.floor))
    return min(candidates, key=histogram.squared_error)


def _short(value: float, rounding: Callable[[float], int]) -> float:
    """`value` to four significant bits."""
    fraction, exponent = math.frexp(value)
    return math.ldexp(rounding(math.ldexp(fraction, _SCALE_BITS)), exponent - _SCALE_BITS)


def observe_activations(
    onnx_model: Any,
    tensors: Sequence[str],
    batches: Sequence[npt.NDArray[np.uint8]],
    *,
    threads: int | None = None,
    progress: ShowProgress | None = None,
) -> dict[str, Histogram]:
    """Run a float network over frames and count what its tensors held.

    Args:
        onnx_model: in the native lowering and FP32, as `build_onnx` returns it.
        tensors: names of the tensors to look at.
        batches: (1, h, w, 3) uint8 BGR frames, all of one size.
        threads: CPU threads; default: OpenVINO's choice.
        progress: shows how many frames are done.

    Raises:
        ModelError: a tensor is not finite.
        BackendError: OpenVINO is missing, or failed.
    """
    core = open_core()
    observed = _with_outputs(onnx_model, tensors)
    histograms = {name: Histogram.empty() for name in tensors}
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    request: Any = None
    clock = StageClock("ranges", progress)
    for done, batch in enumerate(batches, start=1):
        try:
            if request is None:
                network = core.read_model(observed.SerializeToString())
                network.reshape(list(batch.shape))
                request = core.compile_model(network, "CPU", options).create_infer_request()
            request.infer([batch], share_inputs=True, share_outputs=True)
        except RuntimeError as exc:
            what = "OpenVINO cannot run the float network"
            raise openvino_failure(exc, what, "see 'roadseg doctor'", BackendError) from exc
        for name, histogram in histograms.items():
            histogram.add(request.get_tensor(name).data)
        clock.step(done, len(batches))
    return histograms


def choose_scales(histograms: Mapping[str, Histogram], method: Method) -> dict[str, float]:
    """`choose_scale` for each tensor."""
    return {name: choose_scale(histogram, method) for name, histogram in histograms.items()}


def _with_outputs(onnx_model: Any, tensors: Sequence[str]) -> Any:
    """A copy that gives the tensors, and no labels: ArgMax would be computed for nothing."""
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(onnx_model)
    del copied.graph.output[:]
    for name in tensors:
        info = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        copied.graph.output.append(info)
    return copied
