"""From a specification to a proved engine on disk: export, build, compare, publish.

Nothing appears under the engine's name before the last step, so a build that fails or is
interrupted leaves what was there before.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.backends.tensorrt.builder.compile import choose_sm, compile_plan
from roadseg.backends.tensorrt.builder.graph import NetworkGraph, export_graph
from roadseg.backends.tensorrt.builder.interrupt import DeferredInterrupt
from roadseg.backends.tensorrt.builder.lock import already_built, build_lock
from roadseg.backends.tensorrt.builder.parity import Labeller, check_parity, compare, parity_frames
from roadseg.backends.tensorrt.builder.publish import Draft, claim_engine
from roadseg.core.cache import user_cache_dir
from roadseg.core.errors import BackendError, UsageError
from roadseg.core.progress import ShowProgress, StageClock
from roadseg.core.size import SizeHW
from roadseg.core.version import __version__
from roadseg.core.wording import option
from roadseg.engine.manifest import OF_SPEC, EngineManifest, Gpu, ParityFacts, TensorFacts
from roadseg.engine.runtime import Runtime, load_runtime
from roadseg.engine.spec import EngineSpec
from roadseg.engine.store import (
    SUFFIX,
    EngineFile,
    engine_path,
    export_sha256,
    read_engine,
    stale_reasons,
)
from roadseg.weights import ModelFile, resolve_weights

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from roadseg.cuda.api import Cuda, DeviceInfo


_REFERENCE = "PyTorch FP32"

_log = logging.getLogger(__name__)


def build_engine(
    spec: EngineSpec,
    *,
    output: Path | None = None,
    data: Path | None = None,
    weights: ModelFile | None = None,
    runtime: Runtime | None = None,
    open_cuda: Callable[[], Cuda] | None = None,
    progress: ShowProgress | None = None,
) -> EngineFile:
    """Build a TensorRT engine, compare its labels with PyTorch's, and write it with its manifest.

    >>> engine = roadseg.build_engine(EngineSpec("segnet-lite", precision="fp16"))
    >>> engine.path, engine.manifest.parity
    >>> segmenter = roadseg.Segmenter(engine.path)

    If another process is building the same engine, this waits, and returns what that one built.
    What the user should know is logged; what TensorRT has to remark, as debugging details.

    Args:
        spec: what to build.
        output: a file, or a folder for the usual name; default: `engines_dir()`.
        data: frames to compare labels on, a folder of images or a video; default: the sample clip.
        weights: of the model, where they have been found already.
        runtime: what builds; default: loaded.
        open_cuda: gives the GPU to use, which the caller closes afterwards; default: the first GPU
            there is, opened and closed here.
        progress: shows how far each stage is: `reading` (of `data`), `exporting`, `building`,
            `comparing`.

    Returns:
        The engine.

    Raises:
        UsageError: the specification cannot be built by this TensorRT, or names no model; or
            `output` cannot be meant.
        DataError: `data` holds no frames, or unreadable ones.
        SourceError: it is not a readable video.
        ModelError: the weights or the calibration are missing, damaged, or of another network; or
            the network cannot take frames of that size.
        BackendError: PyTorch, TensorRT, CUDA or the driver is missing or cannot be used.
        QualityGateError: INT8 costs too much.
        SinkError: the engine cannot be written.
        EngineError: TensorRT cannot build it, or its labels are not those of the network.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    runtime = runtime or load_runtime(spec.target)
    if runtime.target != spec.target:
        raise UsageError(
            f"an engine for {spec.target} cannot be built by {runtime.name}",
            fix=f"use {option('--target', runtime.target)}",
        )
    with ExitStack() as stack:
        cuda, no_gpu = _open(spec, open_cuda)
        if cuda is not None and open_cuda is None:
            stack.callback(cuda.close)
        device = cuda.device if cuda is not None else None
        if spec.target == "tensorrt-rtx":
            spec = replace(spec, sm=choose_sm(spec.sm, runtime, device))
        weights = weights or resolve_weights(spec.model)
        path = _path(spec, output, runtime, device, weights.sha256)
        claim_engine(path)
        frames = None
        if data is not None or cuda is not None:
            # Before anything that takes long, for they may be missing.
            shown = progress if data is not None else None
            frames = parity_frames(data, spec.size_hw, progress=shown)
        began = _now()
        if stack.enter_context(build_lock(path, lambda pid: _log.info(_waiting(path, pid)))):
            engine = already_built(
                path, spec, since=began, runtime=runtime, weights_sha256=weights.sha256
            )
            if engine is not None:
                _log.info("%s was built meanwhile", path.name)
                return engine
        graph = export_graph(spec, weights, progress=progress)
        clock, began_s = StageClock("building", progress), time.monotonic()
        clock.at(0.0)
        with DeferredInterrupt() as interrupt:
            plan = compile_plan(
                graph.content,
                spec,
                runtime,
                timing_cache=None if device is None else _timing_cache(runtime, device),
                on_phase=clock.at,
                cancelled=lambda: interrupt.requested,
            )
        # Only Ctrl-C cancels, and that has left the block already.
        assert plan is not None
        clock.at(1.0)
        build_s = time.monotonic() - began_s
        manifest = _describe(spec, graph, runtime, device, plan, build_s)
        draft = stack.enter_context(Draft(path))
        draft.write_plan(plan)
        del plan
        # Where the GPU that is here cannot run it, it cannot be proved.
        reason: str | None = f"no GPU: {no_gpu}"
        if cuda is not None:
            reason = next(iter(stale_reasons(manifest, device=cuda.device)), None)
        if cuda is not None and frames is not None and reason is None:
            engine = EngineFile(draft.plan_path, manifest)
            parity = _prove(engine, runtime, cuda, weights.path, frames, progress)
            check_parity(parity, spec.precision, name=runtime.name)
            manifest = replace(manifest, parity=parity)
        draft.publish(replace(manifest, not_verified=reason))
    return read_engine(path)


def _open(spec: EngineSpec, open_cuda: Callable[[], Cuda] | None) -> tuple[Cuda | None, str]:
    """The GPU, or why there is none, which only TensorRT-RTX does not mind."""
    if open_cuda is None:
        from roadseg.cuda.load import load_cuda

        open_cuda = load_cuda
    try:
        return open_cuda(), ""
    except BackendError as exc:
        if spec.target == "tensorrt":
            raise
        # Without its advice: nothing is wrong here.
        return None, exc.what


def _path(
    spec: EngineSpec,
    output: Path | None,
    runtime: Runtime,
    device: DeviceInfo | None,
    weights_sha256: str,
) -> Path:
    if output is not None and output.suffix and not output.is_dir():
        if output.suffix.lower() in (SUFFIX, ".plan"):
            return output
        raise UsageError(
            f"{output} is neither an engine's name nor a folder",
            fix=f"use {option('--output', f'FILE{SUFFIX}')}, or a folder that exists",
        )
    return engine_path(spec, runtime, device, weights_sha256=weights_sha256, folder=output)


def _timing_cache(runtime: Runtime, device: DeviceInfo) -> Path:
    """Where one TensorRT on one GPU keeps how long kernels take."""
    major, minor = device.compute_capability
    words = f"{runtime.target}-{runtime.version_text}-sm{major}{minor}-{device.name}".lower()
    name = "".join(letter if letter.isalnum() or letter == "." else "-" for letter in words)
    return user_cache_dir() / "timing" / f"{name}.cache"


def _describe(
    spec: EngineSpec,
    graph: NetworkGraph,
    runtime: Runtime,
    device: DeviceInfo | None,
    plan: bytes,
    build_s: float,
) -> EngineManifest:
    from roadseg.kernels.kernels import source_hash

    own = spec.model != spec.model_name
    only_here = spec.target == "tensorrt" and device is not None
    return EngineManifest(
        **{name: getattr(spec, name) for name in OF_SPEC},
        model=spec.model_name,
        source=str(Path(spec.model).resolve()) if own else spec.model,
        architecture=graph.architecture,
        weights_sha256=graph.weights_sha256,
        graph_sha256=graph.sha256,
        export_sha256=export_sha256(),
        kernels_sha256=source_hash() if spec.lowering == "plugin" else None,
        tensorrt_version=runtime.version_text,
        gpu=Gpu(device.name, device.compute_capability) if device and only_here else None,
        classes=graph.classes.names,
        palette_rgb=tuple((int(r), int(g), int(b)) for b, g, r in graph.classes.palette_bgr),
        calibration=graph.calibration,
        parity=None,
        not_verified=None,
        build_s=round(build_s, 2),
        created=_now(),
        roadseg_version=__version__,
        plan_bytes=len(plan),
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        tensors=_tensors(spec),
    )


def _tensors(spec: EngineSpec) -> tuple[TensorFacts, ...]:
    """What `roadseg.export.onnx` writes: frames in, labels out."""
    from roadseg.export.onnx import INPUT_NAME

    frames = -1 if spec.is_dynamic else spec.batch[0]
    height, width = spec.size_hw
    return (
        TensorFacts(INPUT_NAME, "input", "uint8", (frames, height, width, 3), "NHWC, BGR"),
        TensorFacts("labels", "output", "uint8", (frames, height, width), "NHW, class ids"),
    )


def _prove(
    engine: EngineFile,
    runtime: Runtime,
    cuda: Cuda,
    weights: Path,
    parity: tuple[npt.NDArray[np.uint8], str],
    progress: ShowProgress | None,
) -> ParityFacts:
    manifest = engine.manifest
    frames, measured_on = parity
    from roadseg.backends.tensorrt.backend import TensorRtBackend

    with ExitStack() as stack:
        backend = TensorRtBackend(engine, runtime=runtime, cuda=cuda)
        stack.callback(backend.close)
        agreement = compare(
            backend.infer,
            _reference(weights, manifest.size_hw, stack),
            frames,
            batch=manifest.batch[1],
            progress=progress,
        )
    return ParityFacts(round(agreement, 6), len(frames), measured_on, _REFERENCE)


def _reference(weights: Path, size_hw: SizeHW, stack: ExitStack) -> Labeller:
    """PyTorch in FP32, on the CPU: on a GPU it rounds what convolutions multiply to 10 bits."""
    from roadseg.backends.torch.backend import TorchBackend

    backend = TorchBackend(weights, size_hw, device="cpu")
    stack.callback(backend.close)
    return backend.infer


def _waiting(path: Path, pid: int | None) -> str:
    by = "another process" if pid is None else f"process {pid}"
    return f"{by} is building {path.name}: waiting for it"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
