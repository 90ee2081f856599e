"""OpenVINO on the CPU: the default where there is no GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.backends.openvino.compiling import compile_network
from roadseg.backends.openvino.reading import ReadAhead, open_core, read_network
from roadseg.core.backend import SIDE_MULTIPLE, BackendInfo, check_batch
from roadseg.core.errors import BackendError, ModelError, UsageError
from roadseg.core.openvino import inference_failure, openvino_failure
from roadseg.core.processor import cpu_quota, usable_cores
from roadseg.core.size import takes_only
from roadseg.core.wording import option


class OpenVinoBackend:
    """A network compiled for one input size on the CPU.

    Latency is what is optimised: one frame at a time on all the threads given. A batch is run
    frame by frame, which costs nothing on a CPU and keeps the network compiled for one shape.
    Where frames a second count, see `roadseg.backends.openvino.pipelined`.
    Layers that are not INT8 run in FP32, on processors with BF16 units, too, so that results do
    not depend on the machine.

    Args:
        model: a `.xml` or `.onnx` file, or an `openvino.Model`, which is not changed.
        network_hw: height and width of the input.
        name: the model's name, for reports.
        precision: `int8`, `fp32`..., for reports.
        threads: CPU threads; default: OpenVINO's choice, one per core.
        cache: folder for what is compiled; None for nowhere.
        ahead: reads the file already; None: it is read now.

    Raises:
        BackendError: OpenVINO is missing or cannot compile the network.
        ModelError: the file is damaged, or not one of ours.
        UsageError: the network does not take that size.
    """

    def __init__(
        self,
        model: Path | Any,
        network_hw: tuple[int, int],
        *,
        name: str,
        precision: str,
        threads: int | None = None,
        cache: Path | None = None,
        ahead: ReadAhead | None = None,
    ) -> None:
        core, network = _opened(model, ahead)
        shown = str(model) if isinstance(model, Path) else name
        _check_ports(network, shown)
        _set_size(network, network_hw, shown)
        network = self._with_outputs(network, shown)
        try:
            self._compiled: Any = compile_network(core, network, self._options(threads), cache)
            self._open_requests()
            used = self._compiled.get_property("INFERENCE_NUM_THREADS")
        except RuntimeError as exc:
            raise openvino_failure(
                exc, f"OpenVINO cannot compile {shown}", "see 'roadseg doctor'", BackendError
            ) from exc
        self.network_hw = network_hw
        count = f"{used} thread" if used == 1 else f"{used} threads"
        self.info = BackendInfo(
            name="openvino", model=name, precision=precision, device=self._device(count)
        )

    def _options(self, threads: int | None) -> dict[str, Any]:
        """What the network is compiled with."""
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads is None and cpu_quota() is not None:
            threads = usable_cores()  # OpenVINO counts cores that are visible
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
            # They would be held to the first cores, and those of all processes to the same ones.
            options["ENABLE_CPU_PINNING"] = False
        return options

    def _open_requests(self) -> None:
        """Make what runs a frame, once the network is compiled."""
        self._request: Any = self._compiled.create_infer_request()

    def _device(self, threads: str) -> str:
        """What runs it, for reports; `threads`: `2 threads`."""
        return f"CPU ({threads})"

    def _with_outputs(self, network: Any, shown: str) -> Any:
        """The network to compile: this one, unless a subclass wants other outputs."""
        del shown
        return network

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `Backend.infer`.

        Raises:
            ValueError: the batch has another shape or dtype.
            BackendError: OpenVINO failed, or the backend is closed.
        """
        labels = np.empty((len(batch_bgr), *self.network_hw), np.uint8)
        for own, result in zip(labels, self._results(batch_bgr), strict=True):
            np.copyto(own, result)
        return labels

    def _results(self, batch_bgr: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[Any]]:
        """What the network gives for each frame: views of memory that the next one overwrites."""
        check_batch(batch_bgr, self.network_hw)
        for position in range(len(batch_bgr)):
            if self._request is None:
                raise closed()
            frame = np.ascontiguousarray(batch_bgr[position : position + 1])
            try:
                results = self._request.infer([frame], share_inputs=True, share_outputs=True)
            except RuntimeError as exc:
                raise inference_failure(exc) from exc
            yield results[0][0]

    def close(self) -> None:
        """Give the compiled network back; a second call does nothing."""
        self._request = self._compiled = None


def closed() -> BackendError:
    """What is said to whoever goes on after `close`."""
    return BackendError("the openvino backend is closed", fix="create another one")


def _opened(model: Path | Any, ahead: ReadAhead | None) -> tuple[Any, Any]:
    """An `openvino.Core`, and the network, which nobody else has."""
    if not isinstance(model, Path):
        return open_core(), model.clone()
    read = None if ahead is None else ahead.take(model)
    if read is not None:
        return read
    core = open_core()
    return core, read_network(core, model)


def _check_ports(network: Any, shown: str) -> None:
    inputs, outputs = network.inputs, network.outputs
    fits = len(inputs) == 1 and len(outputs) == 1
    if fits:
        frame, labels = inputs[0].get_partial_shape(), outputs[0].get_partial_shape()
        kinds = {
            inputs[0].get_element_type().to_string(),
            outputs[0].get_element_type().to_string(),
        }
        fits = kinds == {"u8"} and len(frame) == 4 and len(labels) == 3
        fits = fits and frame[3].is_static and frame[3].get_length() == 3
    if not fits:
        raise ModelError(
            f"{shown} has other inputs or outputs: a roadseg network takes uint8 frames "
            "(N, H, W, 3) and gives uint8 labels (N, H, W)",
            fix="write one with 'roadseg export'",
        )


def _set_size(network: Any, network_hw: tuple[int, int], shown: str) -> None:
    h, w = network_hw
    shape = network.inputs[0].get_partial_shape()
    if shape[1].is_static and shape[2].is_static:
        own_hw = (shape[1].get_length(), shape[2].get_length())
        if own_hw != network_hw:
            raise takes_only(shown, own_hw)
    elif h <= 0 or w <= 0 or h % SIDE_MULTIPLE or w % SIDE_MULTIPLE:
        near = tuple(max(round(side / SIDE_MULTIPLE), 1) * SIDE_MULTIPLE for side in network_hw)
        raise UsageError(
            f"network input {h}x{w}: its sides must be multiples of {SIDE_MULTIPLE}",
            fix=f"use {option('--size', near)}",
        )
    try:
        network.reshape([1, h, w, 3])
    except RuntimeError as exc:
        raise openvino_failure(
            exc,
            f"{shown} does not take {h}x{w} frames",
            f"use another {option('--size')}, or write it again with 'roadseg export'",
            ModelError,
        ) from exc
