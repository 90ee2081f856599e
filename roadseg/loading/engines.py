"""The engine that a run needs: found, or explained if it does not fit, and then built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.backends.gpu import shared_cuda
from roadseg.backends.tensorrt.backend import TensorRtBackend
from roadseg.backends.tensorrt.build.builder import build_engine
from roadseg.core.errors import BackendError, EngineError, SinkError, UsageError
from roadseg.core.wording import option
from roadseg.cuda.failure import GpuError
from roadseg.engine.runtime import load_runtime
from roadseg.engine.spec import EngineSpec
from roadseg.engine.store import (
    EngineFile,
    calibration_sha256,
    checksum_problem,
    find_engine,
    read_engine,
    stale_reasons,
)
from roadseg.weights import is_engine, resolve_model

if TYPE_CHECKING:
    from roadseg.backends.tensorrt.build.builder import BuildProgress
    from roadseg.cuda import Cuda
    from roadseg.engine.runtime import Runtime

__all__ = ["open_tensorrt"]

_NAMES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}


def open_tensorrt(
    model: str,
    network_hw: tuple[int, int],
    *,
    report: Callable[[str], None] | None = None,
    progress: Callable[[BuildProgress], None] | None = None,
) -> TensorRtBackend:
    """TensorRT with the engine for a model and a size on this GPU; built if there is none.

    What is built is FP16. An engine in another precision, made with `roadseg build-engine`, is
    used where there is no FP16 one. One that is stale, or was built for another GPU or another
    TensorRT, is said to be so, and another is built.

    Args:
        model: a shipped model's name, a file of weights, or the `.engine` file to run and no other.
        network_hw: height and width of the network's input.
        report: told, in one line each, what is wrong with engines, and that one is built.
        progress: told how far that is.

    Raises:
        UsageError: the engine takes another size, or no engine can be built from such a model.
        ModelError: the model's weights are missing or damaged.
        BackendError: there is no GPU, no TensorRT, or not enough memory.
        EngineError: the engine given is damaged or does not fit, or none can be built.
        SinkError: the engine that was built cannot be written.
    """
    say = report or _say_nothing
    if is_engine(model):
        return _open_given(Path(model), network_hw)
    file = resolve_model(model, "tensorrt")
    cuda, runtime = shared_cuda(), load_runtime("auto")
    spec = EngineSpec(
        model=model,
        precision="fp16",
        size_hw=network_hw,
        batch=(1, 1, 1),
        target=runtime.target,
        lowering="native" if runtime.target == "tensorrt-rtx" else "plugin",
    )
    engine = _find(spec, runtime, cuda, file.sha256, say)
    if engine is not None:
        try:
            return TensorRtBackend(engine, runtime=runtime, cuda=cuda)
        except EngineError as exc:
            # Its manifest promises more than the file holds.
            say(str(exc))
    height, width = network_hw
    say(
        f"building {spec.model_name} in FP16 for {height}x{width} frames on {cuda.device.name} "
        f"with {runtime.name}: {_duration(runtime)}, once"
    )
    try:
        engine = build_engine(spec, runtime=runtime, progress=progress or _show_nothing, report=say)
    except SinkError as exc:
        # Its advice is for 'roadseg build-engine'; the --output of a run is something else.
        raise SinkError(
            exc.what,
            fix="make room for it there, or build it elsewhere with 'roadseg build-engine --output "
            f"FILE.engine' and use {option('--model', 'FILE.engine')}",
        ) from exc
    return TensorRtBackend(engine, runtime=runtime, cuda=cuda)


def _open_given(path: Path, network_hw: tuple[int, int]) -> TensorRtBackend:
    engine = read_engine(path)
    own_hw = engine.manifest.size_hw
    if own_hw != network_hw:
        raise UsageError(
            f"{path} takes {own_hw[0]}x{own_hw[1]} frames only",
            fix=f"use {option('--size', own_hw)}",
        )
    # Before the GPU is asked for: a damaged file is damaged everywhere.
    damage = checksum_problem(engine)
    if damage is not None:
        raise EngineError(
            f"{path} cannot be used: {damage}",
            fix=f"copy it again, or build it again: {engine.manifest.build_command()}",
        )
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
    return TensorRtBackend(engine, runtime=runtime, cuda=cuda)


def _find(
    spec: EngineSpec,
    runtime: Runtime,
    cuda: Cuda,
    weights_sha256: str,
    say: Callable[[str], None],
) -> EngineFile | None:
    """The best engine that fits; None, and why, where the first choice has to be built again."""
    stale: list[tuple[EngineFile, list[str]]] = []

    def explain(error: EngineError) -> None:
        say(str(error))

    for wanted in _preferences(spec):
        found = find_engine(
            wanted,
            runtime,
            cuda.device,
            weights_sha256=weights_sha256,
            calibration_of=calibration_sha256,
            problem=explain if wanted == spec else _say_nothing,  # of the whole folder, so once
        )
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
        say(line)
    return None


def _preferences(spec: EngineSpec) -> Iterator[EngineSpec]:
    """`spec`, then what else would do."""
    for precision in ("fp16", "int8", "fp32"):
        yield replace(spec, precision=precision)
        if spec.target == "tensorrt":
            yield replace(spec, precision=precision, portable=True)
            yield replace(spec, precision=precision, lowering="native")


def _duration(runtime: Runtime) -> str:
    # TensorRT-RTX leaves the choice of kernels to the first run.
    return "about a minute" if runtime.target == "tensorrt-rtx" else "some minutes"


def _say_nothing(_line: object) -> None:
    pass


def _show_nothing(_progress: BuildProgress) -> None:
    pass
