"""From a specification to a proved engine on disk: export, build, compare, publish.

Nothing appears under the engine's name before the last step, so a build that fails or is
interrupted leaves what was there before.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.backends.tensorrt.build.compile import choose_sm, compile_plan
from roadseg.backends.tensorrt.build.graph import Int8Options, NetworkGraph, export_graph
from roadseg.backends.tensorrt.build.interrupt import DeferredInterrupt
from roadseg.backends.tensorrt.build.lock import build_lock
from roadseg.backends.tensorrt.build.other_process import built_meanwhile
from roadseg.backends.tensorrt.build.parity import Labeller, check_parity, compare, parity_frames
from roadseg.backends.tensorrt.build.progress import BuildProgress, StageClock
from roadseg.backends.tensorrt.build.publish import Draft, claim_engine
from roadseg.core.cache import user_cache_dir
from roadseg.core.errors import BackendError, UsageError
from roadseg.core.version import __version__
from roadseg.core.wording import option
from roadseg.engine.manifest import EngineManifest, Gpu, ParityFacts, TensorFacts
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
from roadseg.weights import resolve_weights
from roadseg.weights.gate import check_drop

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from roadseg.cuda import Cuda, DeviceInfo

__all__ = ["BuildProgress", "build_engine"]

_REFERENCE = "PyTorch FP32"

Report = Callable[[str], None]
Progress = Callable[[BuildProgress], None]


def build_engine(
    spec: EngineSpec,
    *,
    output: Path | None = None,
    calibration: Path | None = None,
    data: Path | None = None,
    max_drop_points: float = 0.5,
    force: bool = False,
    runtime: Runtime | None = None,
    open_cuda: Callable[[], Cuda] | None = None,
    progress: Progress = lambda _progress: None,
    report: Report = lambda _line: None,
    log: Report = lambda _line: None,
) -> EngineFile:
    """Build an engine, compare its labels with PyTorch's, and write it with its manifest.

    If another process is building the same engine, this waits, and returns what that one built.

    Args:
        spec: what to build.
        output: a file, or a folder for the usual name; default: `engines_dir()`.
        calibration: for INT8: what `roadseg calibrate` wrote; default: see `find_calibration`.
        data: frames to compare labels on, a folder of images or a video; default: the sample clip.
        max_drop_points: points (hundredths) of mIoU that INT8 may cost.
        force: build INT8 although it costs more, or nobody knows how much.
        runtime: what builds; default: loaded.
        open_cuda: gives the GPU to use, which the caller closes afterwards; default: the first GPU
            there is, opened and closed here.
        progress: told how far each stage is.
        report: told, in a line each, what the user should know.
        log: told, in a line each, what TensorRT has to remark.

    Returns:
        The engine.

    Raises:
        UsageError: the specification cannot be built by this TensorRT, or names no model; or
            `output` or `max_drop_points` cannot be meant.
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
    check_drop(max_drop_points)
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
        sm = choose_sm(spec.sm, runtime, device) if spec.target == "tensorrt-rtx" else ()
        weights = resolve_weights(spec.model)
        int8 = Int8Options(calibration, max_drop_points, force)
        path = _path(spec, output, runtime, device, sm, weights.sha256)
        claim_engine(path)
        frames = None
        if data is not None or cuda is not None:
            frames = _frames(data, spec.size_hw, progress)
        began = _now()
        waited = stack.enter_context(build_lock(path, lambda pid: report(_waiting(path, pid))))
        if waited:
            engine = built_meanwhile(path, spec, sm, runtime, weights.sha256, began, int8)
            if engine is not None:
                report(f"{path.name} was built meanwhile")
                return engine
        clock = StageClock("exporting")
        progress(clock.at(0.0))
        graph = export_graph(
            spec,
            int8,
            report=report,
            progress=lambda fraction: progress(clock.at(fraction)),
        )
        plan, build_s = _compile(graph, spec, runtime, sm, device, progress, log)
        manifest = _describe(spec, graph, runtime, device, sm, plan, build_s)
        draft = stack.enter_context(Draft(path))
        draft.write_plan(plan)
        del plan
        reason = f"no GPU: {no_gpu}" if cuda is None else _foreign(manifest, cuda)
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
        from roadseg.cuda import load_cuda

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
    sm: tuple[int, ...],
    weights_sha256: str,
) -> Path:
    if output is not None and output.suffix and not output.is_dir():
        if output.suffix.lower() in (SUFFIX, ".plan"):
            return output
        raise UsageError(
            f"{output} is neither an engine's name nor a folder",
            fix=f"use {option('--output', f'FILE{SUFFIX}')}, or a folder that exists",
        )
    return engine_path(spec, runtime, device, sm=sm, weights_sha256=weights_sha256, folder=output)


def _compile(
    graph: NetworkGraph,
    spec: EngineSpec,
    runtime: Runtime,
    sm: tuple[int, ...],
    device: DeviceInfo | None,
    progress: Progress,
    log: Report,
) -> tuple[bytes, float]:
    """The plan, and how many seconds it took."""
    from roadseg.export.onnx import INPUT_NAME

    clock = StageClock("building")
    progress(clock.at(0.0))
    start_s = time.monotonic()
    with DeferredInterrupt() as interrupt:
        plan = compile_plan(
            graph.content,
            spec,
            runtime,
            sm=sm,
            input_name=INPUT_NAME,
            timing_cache=None if device is None else _timing_cache(runtime, device),
            tell=lambda fraction, phase: progress(clock.at(fraction, phase)),
            cancelled=lambda: interrupt.requested,
            log=log,
        )
    # Only Ctrl-C cancels, and that has left the block already.
    assert plan is not None
    progress(clock.at(1.0))
    return plan, time.monotonic() - start_s


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
    sm: tuple[int, ...],
    plan: bytes,
    build_s: float,
) -> EngineManifest:
    from roadseg.kernels.kernels import source_hash

    own = spec.model != spec.model_name
    only_here = spec.target == "tensorrt" and device is not None
    return EngineManifest(
        model=spec.model_name,
        source=str(Path(spec.model).resolve()) if own else spec.model,
        architecture=graph.architecture,
        weights_sha256=graph.weights_sha256,
        graph_sha256=graph.sha256,
        export_sha256=export_sha256(),
        precision=spec.precision,
        size_hw=spec.size_hw,
        batch=spec.batch,
        lowering=spec.lowering,
        portable=spec.portable,
        kernels_sha256=source_hash() if spec.lowering == "plugin" else None,
        target=spec.target,
        tensorrt_version=runtime.version_text,
        gpu=Gpu(device.name, device.compute_capability) if device and only_here else None,
        sm=sm,
        workspace_mb=spec.workspace_mb,
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


def _foreign(manifest: EngineManifest, cuda: Cuda) -> str | None:
    """Why the GPU that is here cannot run the engine; None if it can."""
    reasons = stale_reasons(manifest, device=cuda.device)
    return reasons[0] if reasons else None


def _frames(
    data: Path | None, size_hw: tuple[int, int], progress: Progress
) -> tuple[npt.NDArray[np.uint8], str]:
    """What labels are compared on; read before anything that takes long, for it may be missing."""
    if data is None:
        return parity_frames(None, size_hw)
    clock = StageClock("reading")

    def show(done: int, total: int | None) -> None:
        progress(clock.at(min(done / total, 1.0) if total else 0.0))

    return parity_frames(data, size_hw, progress=show)


def _prove(
    engine: EngineFile,
    runtime: Runtime,
    cuda: Cuda,
    weights: Path,
    parity: tuple[npt.NDArray[np.uint8], str],
    progress: Progress,
) -> ParityFacts:
    manifest = engine.manifest
    clock = StageClock("comparing")
    progress(clock.at(0.0))
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
            progress=lambda done, total: progress(clock.at(done / total)),
        )
    return ParityFacts(round(agreement, 6), len(frames), measured_on, _REFERENCE)


def _reference(weights: Path, size_hw: tuple[int, int], stack: ExitStack) -> Labeller:
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
