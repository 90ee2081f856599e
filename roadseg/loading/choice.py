"""What runs, decided once: backend, model file, classes, size of the input and precision.

>>> choice = choose("segnet-lite")
>>> choice.backend, choice.precision, choice.classes
('openvino', 'int8', ...)
>>> backend = choice.open((352, 480))

With the model `auto` all is decided that needs no source; `roadseg.loading.auto` then fits the
choice to a source.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.backends.gpu import has_nvidia_driver, why_not_tensorrt
from roadseg.core.backend import SIDE_MULTIPLE
from roadseg.core.cache import user_cache_dir
from roadseg.core.errors import ModelError, UsageError, reading
from roadseg.core.geometry import PIXEL_BUDGET, network_size
from roadseg.core.labels import CAMVID, ClassSet, known_class_set
from roadseg.core.processor import usable_cores
from roadseg.core.size import SizeHW, takes_only
from roadseg.core.weights_file import is_weights
from roadseg.core.wording import option
from roadseg.loading.arguments import whole_number
from roadseg.loading.classes import classes_of_file, require_torch
from roadseg.loading.ladder.pick import Pick
from roadseg.weights import ModelFile, is_engine, load_manifest, resolve_model

if TYPE_CHECKING:
    from roadseg.backends.openvino.reading import ReadAhead
    from roadseg.core.backend import Backend
    from roadseg.core.progress import ShowProgress
    from roadseg.engine.store import EngineFile

AUTO = "auto"
"""The model that means: the best rung that keeps up."""

DEFAULT_MODEL = "segnet-lite"
"""What runs where nothing is asked for, and where there is nothing to choose from."""

BACKEND_NAMES = ("auto", "tensorrt", "openvino", "torch", "fake")
"""What `--backend` takes; `auto`: see `choose_backend`. `tensorrt` is TensorRT-RTX, too."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """A model and what runs it.

    Attributes:
        model: as asked for: a name from `roadseg.weights`, or a path.
        backend: the backend's name, which is never `auto`.
        file: the model's file, found and checked; the engine where one was named; None for the
            fake backend. TensorRT's engines are built from the weights that are PyTorch's.
        classes: what the model tells apart.
        size_hw: size of the network's input, as asked for, or the only one that an engine or a
            file takes; None: it follows the frames.
        precision: `int8`, `fp16` or `fp32`: of the file, or of an engine that is still to be
            built; None where the backend's device decides.
        threads: CPU threads; None: the runtime's choice.
        throughput: frames a second count, and not how long each of them takes: on the CPU several
            are in flight at once, where there are threads for them.
        auto: the rung is still to be chosen, see `roadseg.loading.auto`.
        pixels: area of the input where nothing fixes its size.
        pick: how the rung was chosen; None where it was not.
    """

    model: str
    backend: str
    file: ModelFile | EngineFile | None
    classes: ClassSet
    size_hw: SizeHW | None
    precision: str | None
    threads: int | None
    throughput: bool = False
    auto: bool = False
    pixels: int = PIXEL_BUDGET
    pick: Pick | None = None

    def network_hw(self, source_hw: SizeHW) -> SizeHW:
        """The size of the network's input for frames of one size.

        Where nothing fixes it, it follows the frames in multiples of `SIDE_MULTIPLE` for every
        network and backend, so that they are compared on the same pixels.
        """
        if self.size_hw is not None:
            return self.size_hw
        return network_size(source_hw, multiple=SIDE_MULTIPLE, budget=self.pixels)

    def weights(self) -> tuple[str, str] | None:
        """Name and SHA-256, in hexadecimal, of the file that holds the weights.

        Of OpenVINO's two files that is the `.bin`; of an engine built for a model, the weights that
        it was built from. None for the fake backend, which has no weights.
        """
        if self.file is None or isinstance(self.file, ModelFile):
            return None if self.file is None else self.file.weights()
        return self.file.path.name, self.file.manifest.plan_sha256

    @property
    def temperature(self) -> float:
        """What the network's scores are divided by before softmax: 1 for all but what ships."""
        return self.file.temperature if isinstance(self.file, ModelFile) else 1.0

    def read_ahead(self) -> ReadAhead | None:
        """Begin to read the file, for `open`; None where that would save nothing."""
        if self.backend != "openvino" or self.file is None:
            return None
        from roadseg.backends.openvino.reading import ReadAhead

        return ReadAhead(self.file.path)

    def open(
        self,
        network_hw: SizeHW,
        *,
        scores: bool = False,
        progress: ShowProgress | None = None,
        ahead: ReadAhead | None = None,
    ) -> Backend:
        """Load the network for frames of one size.

        Args:
            network_hw: height and width of the network's input.
            scores: a `ScoringBackend`, where the runtime can be one: OpenVINO and PyTorch, which
                then runs in FP32, and the fake backend. TensorRT's engines hold labels alone.
            progress: shows how far the building of an engine is.
            ahead: of `read_ahead`.

        Raises:
            UsageError: the engine takes another size.
            ModelError: the model file cannot be used.
            BackendError: the runtime is missing or cannot run the model.
            EngineError: an engine cannot be built, or the one given cannot be used.
        """
        if self.file is None:
            from roadseg.backends.fake import FakeBackend, FakeScoringBackend

            return (FakeScoringBackend if scores else FakeBackend)(network_hw)
        if not isinstance(self.file, ModelFile):
            from roadseg.loading.tensorrt import open_engine

            return open_engine(self.file, network_hw)
        if self.backend == "tensorrt":
            from roadseg.loading.tensorrt import find_or_build

            return find_or_build(self.model, self.file, network_hw, progress=progress)
        path, name, threads = self.file.path, self.file.name, self.threads
        if self.backend == "torch":
            if scores:
                from roadseg.backends.torch.scores import TorchScoringBackend

                return TorchScoringBackend(path, network_hw, name=name, threads=threads)
            from roadseg.backends.torch.backend import open_torch_backend

            return open_torch_backend(path, network_hw, name=name, threads=threads)
        from roadseg.backends.openvino.backend import OpenVinoBackend
        from roadseg.backends.openvino.compiling import is_worth_keeping
        from roadseg.backends.openvino.pipelined import STREAMS, OpenVinoPipelinedBackend
        from roadseg.backends.openvino.scores import OpenVinoScoringBackend

        several = self.throughput and (threads or usable_cores()) >= STREAMS
        kind = OpenVinoPipelinedBackend if several else OpenVinoBackend
        if scores:
            kind = OpenVinoScoringBackend
        return kind(
            path,
            network_hw,
            name=name,
            precision=self.file.precision,
            threads=threads,
            cache=user_cache_dir() / "compiled" if is_worth_keeping(path) else None,
            ahead=ahead,
        )


def choose(
    model: str,
    backend: str = "auto",
    *,
    size_hw: SizeHW | None = None,
    threads: int | None = None,
) -> Choice:
    """Decide what runs a model, and check its file; nothing is loaded yet.

    Args:
        model: a name from `roadseg.weights`, or a path to `.xml`, `.onnx`, `.safetensors` or
            `.engine`; or `auto`. A size that is given with `auto` holds, for `DEFAULT_MODEL`.
        backend: a name from `BACKEND_NAMES`.
        size_hw: height and width of the network's input; default: see `Choice.network_hw`.
        threads: CPU threads; default: the runtime's choice.

    Raises:
        TypeError: `threads` is no whole number.
        UsageError: unknown model or backend, a model that the backend does not take, a size that
            the network cannot take, or `threads` below 1.
        ModelError: the model file is missing, damaged or has the wrong checksum.
        EngineError: an engine is not there, or its manifest is missing or damaged.
        BackendError: a file of weights, without PyTorch.
    """
    if threads is not None and (threads := whole_number("threads", threads)) < 1:
        raise UsageError(
            f"cannot use {threads} threads", fix=f"use {option('--threads', 1)} or more"
        )
    auto = model == AUTO and size_hw is None
    if model == AUTO:
        model = DEFAULT_MODEL
    name = choose_backend(model, backend)
    file: ModelFile | EngineFile | None = None
    classes = CAMVID
    precision: str | None = None
    own_hw: SizeHW | None = None
    if name == "tensorrt" and is_engine(model):
        from roadseg.engine.store import read_engine

        file = read_engine(Path(model))
        classes = known_class_set(file.manifest.classes, file.manifest.palette_rgb)
        precision = file.manifest.precision
        own_hw = file.manifest.size_hw
    elif name != "fake":
        file = resolve_model(model, name)
        classes = file.classes or classes_of_file(file.path)
        precision = {"openvino": file.precision, "tensorrt": "fp16"}.get(name)
        own_hw = file.size_hw
    if own_hw is not None and size_hw not in (None, own_hw):
        raise takes_only(model, own_hw)
    if size_hw is not None and own_hw is None:
        # Engines are built for one size, whatever it is.
        _check_size(size_hw, 1 if name == "tensorrt" else SIDE_MULTIPLE)
    return Choice(model, name, file, classes, size_hw or own_hw, precision, threads, auto=auto)


def choose_backend(model: str, backend: str = "auto") -> str:
    """The name of the backend that `auto` means for this model, on this machine.

    TensorRT if it works on the GPU, else PyTorch if that does, else OpenVINO. Without an NVIDIA
    driver it is OpenVINO, and nothing is loaded to find out. A model that is a file goes to the
    backend that takes such files: one of weights to PyTorch where TensorRT cannot be used. Why a
    GPU is not used as it could be is logged.

    Args:
        model: a name from `roadseg.weights`, or a path.
        backend: a name; any but `auto` is returned as it is.

    Raises:
        UsageError: no backend has that name.
        BackendError: `auto` for a file of weights, without PyTorch.
    """
    if backend not in BACKEND_NAMES:
        raise UsageError(
            f"unknown backend {backend!r}", fix=f"use {option('--backend', *BACKEND_NAMES)}"
        )
    if backend != "auto":
        return backend
    if is_engine(model):
        return "tensorrt"
    on_cpu = "openvino"
    if is_weights(model):
        # PyTorch does not help where there is no file.
        with reading(ModelError, model):
            if Path(model).is_file():
                require_torch(model)
        on_cpu = "torch"
    if not has_nvidia_driver() or not _has_weights(model):
        return on_cpu
    problem = why_not_tensorrt()
    if problem is None:
        return "tensorrt"
    from roadseg.backends.torch.gpu import torch_sees_gpu

    chosen = "torch" if torch_sees_gpu() else on_cpu
    _log.info("running on %s, because TensorRT cannot be used: %s", chosen, problem)
    return chosen


def _check_size(size_hw: SizeHW, multiple: int) -> None:
    height, width = size_hw
    if height > 0 and width > 0 and height % multiple == 0 and width % multiple == 0:
        return
    below = tuple(max(side // multiple, 1) * multiple for side in size_hw)
    above = tuple(max(-(-side // multiple), 1) * multiple for side in size_hw)
    nearest = " or ".join(dict.fromkeys(option("--size", size) for size in (below, above)))
    raise UsageError(
        f"size {height}x{width} does not fit the network, whose sides are multiples of {multiple}",
        fix=f"use {nearest}",
    )


def _has_weights(model: str) -> bool:
    """Whether there are weights to build an engine from, or for PyTorch."""
    entry = load_manifest().get(model)
    if entry is None:
        return is_weights(model)
    return "torch" in entry.files
