"""The engine that a run needs: found, or explained if it does not fit, and then built."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from roadseg.backends.gpu import shared_cuda
from roadseg.backends.tensorrt.backend import TensorRtBackend
from roadseg.backends.tensorrt.builder.build_engine import build_engine
from roadseg.core.errors import BackendError, EngineError, SinkError
from roadseg.core.size import SizeHW, takes_only
from roadseg.core.wording import option
from roadseg.cuda.failure import GpuError
from roadseg.engine.runtime import load_runtime
from roadseg.engine.spec import EngineSpec, usual_lowering
from roadseg.engine.store import EngineFile, find_engine, read_plan, stale_reasons

if TYPE_CHECKING:
    from roadseg.core.progress import ShowProgress
    from roadseg.cuda.api import Cuda
    from roadseg.engine.runtime import Runtime
    from roadseg.weights import ModelFile


_log = logging.getLogger(__name__)

_NAMES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}


def find_or_build(
    model: str,
    file: ModelFile,
    network_hw: SizeHW,
    *,
    progress: ShowProgress | None = None,
) -> TensorRtBackend:
    """TensorRT with the engine for a model and a size on this GPU; built if there is none.

    What is built is FP16. An engine in another precision, made with `roadseg build-engine`, is
    used where there is no FP16 one. One that is stale, or was built for another GPU or another
    TensorRT, is said to be so, and another is built.

    Args:
        model: as asked for: a shipped model's name, or a file of weights.
        file: its weights.
        network_hw: height and width of the network's input.
        progress: shows how far the building is.

    Raises:
        UsageError: no engine can be built for that size.
        ModelError: the model's weights are damaged.
        BackendError: there is no GPU, no TensorRT, or not enough memory.
        EngineError: none can be built.
        SinkError: the engine that was built cannot be written.
    """
    cuda, runtime = shared_cuda(), load_runtime("auto")
    spec = EngineSpec(
        model, size_hw=network_hw, target=runtime.target, lowering=usual_lowering(runtime.target)
    )
    engine = _find(spec, runtime, cuda, file)
    if engine is not None:
        try:
            return TensorRtBackend(engine, runtime=runtime, cuda=cuda)
        except EngineError as exc:
            # Its manifest promises more than the file holds.
            _log.info("%s", exc)
    height, width = network_hw
    # TensorRT-RTX leaves the choice of kernels to the first run.
    duration = "about a minute" if runtime.target == "tensorrt-rtx" else "some minutes"
    _log.info(
        f"building {spec.model_name} in FP16 for {height}x{width} frames on {cuda.device.name} "
        f"with {runtime.name}: {duration}, once"
    )
    try:
        engine = build_engine(spec, weights=file, runtime=runtime, progress=progress)
    except SinkError as exc:
        # Its advice is for 'roadseg build-engine'; the --output of a run is something else.
        raise SinkError(
            exc.what,
            fix="make room for it there, or build it elsewhere with 'roadseg build-engine --output "
            f"FILE.engine' and use {option('--model', 'FILE.engine')}",
        ) from exc
    return TensorRtBackend(engine, runtime=runtime, cuda=cuda)


def has_engine(model: str, file: ModelFile, network_hw: SizeHW) -> bool:
    """Whether `find_or_build` finds an engine; nothing is said about those that do not fit.

    Raises:
        BackendError: there is no GPU, or no TensorRT.
    """
    cuda, runtime = shared_cuda(), load_runtime("auto")
    spec = EngineSpec(
        model, size_hw=network_hw, target=runtime.target, lowering=usual_lowering(runtime.target)
    )
    return any(
        find_engine(wanted, runtime, cuda.device, weights_sha256=file.sha256).engine is not None
        for wanted in _preferences(spec)
    )


def open_engine(engine: EngineFile, network_hw: SizeHW) -> TensorRtBackend:
    """The engine that was named, and no other.

    Raises:
        UsageError: it takes another size.
        BackendError: there is no GPU, or no TensorRT.
        EngineError: it is damaged, or does not fit.
    """
    path = engine.path
    own_hw = engine.manifest.size_hw
    if own_hw != network_hw:
        raise takes_only(str(path), own_hw)
    plan = read_plan(engine)  # before the GPU is asked for: a damaged file is damaged everywhere
    manifest = engine.manifest
    try:
        cuda, runtime = shared_cuda(), load_runtime(manifest.target)
    except BackendError as exc:
        # Another backend does not take engines.
        repair = exc.repair if isinstance(exc, GpuError) else exc.fix
        raise BackendError(
            f"{path} needs an NVIDIA GPU with {_NAMES[manifest.target]}, and {exc.what}",
            fix=(f"{repair}, or " if repair else "")
            + "run the network that it is of, on what is there, with "
            + option("--model", manifest.source),
        ) from exc
    if manifest.portable:
        manifest = replace(manifest, kernels_sha256=None)  # it holds the ones that it needs
    # Someone who names a file wants it as it is, whatever roadseg would export by now.
    reasons = stale_reasons(
        manifest, runtime=runtime, device=cuda.device, graph_sha256=lambda: manifest.graph_sha256
    )
    if reasons:
        raise EngineError(
            f"{path} does not fit: {'; '.join(reasons)}",
            fix=f"build it again: {engine.manifest.build_command()}",
        )
    return TensorRtBackend(engine, runtime=runtime, cuda=cuda, plan=plan)


def _find(spec: EngineSpec, runtime: Runtime, cuda: Cuda, weights: ModelFile) -> EngineFile | None:
    """The best engine that fits; None, and why, where the first choice has to be built again."""
    stale: list[tuple[EngineFile, list[str]]] = []
    for wanted in _preferences(spec):
        found = find_engine(wanted, runtime, cuda.device, weights_sha256=weights.sha256)
        if wanted == spec:
            for problem in found.damaged:  # of the whole folder, so once
                _log.info("%s", problem)
        if found.engine is not None:
            return found.engine
        stale += found.stale
        if wanted == spec and stale:
            break
    if stale:
        engine, reasons = stale[0]
        line = f"the engine {engine.path.name} does not fit: {'; '.join(reasons)}"
        if engine.manifest.precision != spec.precision:  # what is built now does not replace it
            line += f": to build it again: {engine.manifest.build_command()}"
        _log.info(line)
    return None


def _preferences(spec: EngineSpec) -> Iterator[EngineSpec]:
    """`spec`, then what else would do."""
    for precision in ("fp16", "int8", "fp32"):
        yield replace(spec, precision=precision)
        if spec.target == "tensorrt":
            yield replace(spec, precision=precision, portable=True)
            yield replace(spec, precision=precision, lowering="native")
