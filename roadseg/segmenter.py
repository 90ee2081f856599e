"""The network on frames: what `roadseg run` uses, for your own programs."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from roadseg.backends.select import create_backend, input_multiple
from roadseg.errors import UsageError
from roadseg.postprocess import postprocess
from roadseg.preprocess import network_size, preprocess
from roadseg.types import Geometry, Image, LabelMap, Labels

if TYPE_CHECKING:
    from roadseg.backends.base import Backend, BackendInfo

__all__ = ["Segmenter", "check_size"]

# Compiled networks to keep. A stream that switches between portrait and landscape needs two;
# each costs tens of megabytes.
_MAX_BACKENDS = 3


class Segmenter:
    """Labels the pixels of road scenes with the 11 CamVid classes.

    >>> import cv2
    >>> from roadseg import Segmenter
    >>> from roadseg.labels import class_id
    >>> with Segmenter() as segmenter:
    ...     label_map = segmenter(cv2.imread("street.jpg"))
    >>> label_map.ids                                 # (H, W) uint8, the size of the picture
    >>> (label_map.ids == class_id("road")).mean()    # share of the picture that is road

    Frames may have any size, and may change size: the network's input follows the aspect ratio
    of the frame, and networks compiled for earlier sizes are kept. An instance must be used by
    one thread at a time; threads of your own need one each.

    Args:
        model: a name from `roadseg.weights`, or a path to `.xml`, `.onnx` or `.pt`.
        backend: `auto`, `openvino`, `torch` or `fake`.
        size_hw: height and width of the network's input; default: chosen for each frame size.
        threads: CPU threads of the backend; default: the backend's choice.

    Attributes:
        size_hw: as given.
        backend_info: what runs; None before the first frame.
        network_hw: input size of the network in use; None before the first frame.

    Raises:
        UsageError: unknown model or backend, a size the network cannot take, `threads` below 1.
        ModelError: the model file is damaged or has the wrong checksum.
    """

    def __init__(
        self,
        model: str = "segnet-lite",
        backend: str = "auto",
        *,
        size_hw: tuple[int, int] | None = None,
        threads: int | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"cannot use {threads} threads: use --threads 1 or more")
        self._model = model
        self._backend_name = backend
        self._threads = threads
        self._multiple = input_multiple(model, backend)
        if size_hw is not None:
            check_size(size_hw, self._multiple)
        self.size_hw = size_hw
        self.backend_info: BackendInfo | None = None
        self.network_hw: tuple[int, int] | None = None
        self._backends: OrderedDict[tuple[int, int], Backend] = OrderedDict()
        self._resized: Image | None = None

    def __call__(self, frame_bgr: Image) -> LabelMap:
        """Segment one picture.

        Args:
            frame_bgr: (H, W, 3) uint8 BGR, as `cv2.imread` returns it.

        Returns:
            The labels; `.ids` is (H, W) uint8 at the size of the picture.

        Raises:
            ValueError: not (H, W, 3) uint8; grey and BGRA pictures name their conversion.
            BackendError: the runtime is missing or failed.
        """
        network_bgr, geometry = self.preprocess(frame_bgr)
        network_ids = self.infer(network_bgr)
        return self.postprocess(network_ids, geometry)

    def prepare(self, source_hw: tuple[int, int]) -> None:
        """Compile the network for frames of this size now, rather than at the first frame.

        Raises:
            ModelError: the model file cannot be used.
            BackendError: the runtime is missing or failed.
        """
        self._backend(self._network_hw(source_hw))

    def preprocess(self, frame_bgr: Image) -> tuple[Image, Geometry]:
        """The network's input, (h, w, 3) uint8 BGR, and the way back.

        The array may be overwritten by the next call.

        Raises:
            ValueError: see `__call__`.
        """
        _check_frame(frame_bgr)
        network_hw = self._network_hw((frame_bgr.shape[0], frame_bgr.shape[1]))
        if frame_bgr.shape[:2] == network_hw:
            return preprocess(frame_bgr, network_hw)
        if self._resized is None or self._resized.shape[:2] != network_hw:
            self._resized = np.empty((*network_hw, 3), np.uint8)
        return preprocess(frame_bgr, network_hw, out=self._resized)

    def infer(self, network_bgr: Image) -> Labels:
        """(h, w, 3) uint8 BGR at the network's size to (h, w) uint8 class ids.

        Raises:
            BackendError: the runtime is missing or failed.
        """
        backend = self._backend((network_bgr.shape[0], network_bgr.shape[1]))
        ids: Labels = backend.infer(network_bgr[np.newaxis])[0]
        return ids

    def postprocess(self, network_ids: Labels, geometry: Geometry) -> LabelMap:
        """Network labels with the way back to the frame."""
        return postprocess(network_ids, geometry)

    def close(self) -> None:
        """Give all compiled networks back; a second call does nothing."""
        while self._backends:
            self._backends.popitem()[1].close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _network_hw(self, source_hw: tuple[int, int]) -> tuple[int, int]:
        return self.size_hw or network_size(source_hw, multiple=self._multiple)

    def _backend(self, network_hw: tuple[int, int]) -> Backend:
        backend = self._backends.get(network_hw)
        if backend is None:
            if len(self._backends) >= _MAX_BACKENDS:
                self._backends.popitem(last=False)[1].close()
            backend = create_backend(
                self._model, self._backend_name, network_hw, threads=self._threads
            )
            self._backends[network_hw] = backend
        if network_hw != self.network_hw:
            self._backends.move_to_end(network_hw)
            self.network_hw = network_hw
            self.backend_info = backend.info
        return backend


def _check_frame(frame_bgr: Image) -> None:
    shape, dtype = frame_bgr.shape, frame_bgr.dtype
    if dtype == np.uint8 and len(shape) == 3 and shape[2] == 3 and shape[0] and shape[1]:
        return
    hint = ""
    if dtype != np.uint8:
        hint = ": scale it to 0..255 and convert with .astype(np.uint8)"
    elif len(shape) == 2 or shape[2:] == (1,):
        hint = ": convert grey pictures with cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)"
    elif shape[2:] == (4,):
        hint = ": convert BGRA pictures with cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)"
    raise ValueError(f"expected a (H, W, 3) uint8 BGR frame, got {shape} {dtype}{hint}")


def check_size(size_hw: tuple[int, int], multiple: int) -> None:
    """Refuse a size of the network's input whose sides are not multiples of `multiple`.

    Raises:
        UsageError: the message names the nearest sizes that fit.
    """
    height, width = size_hw
    if height > 0 and width > 0 and height % multiple == 0 and width % multiple == 0:
        return
    below = tuple(max(side // multiple, 1) * multiple for side in size_hw)
    above = tuple(max(-(-side // multiple), 1) * multiple for side in size_hw)
    nearest = " or ".join(dict.fromkeys(f"{h}x{w}" for h, w in (below, above)))
    raise UsageError(
        f"size {height}x{width} does not fit the network, whose sides are multiples of "
        f"{multiple}: use --size {nearest}"
    )
