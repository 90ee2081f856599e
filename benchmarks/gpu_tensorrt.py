"""TensorRT, or TensorRT-RTX, on the same networks, frames and clock, where it is installed."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu_latency import agreement, reference_labels
from benchmarks.gpu_networks import frames_bgr, load
from benchmarks.gpu_steps import MODELS, Recorder, SkippedError
from benchmarks.gpu_timing import host_latency
from roadseg.errors import BackendError

__all__ = ["tensorrt"]


def tensorrt(recorder: Recorder) -> None:
    """The step: build an FP16 engine for each network and batch size, check it, time it."""
    settings = recorder.settings
    if settings.dry:
        raise SkippedError("engines need a GPU")
    try:
        from roadseg.engine.runtime import load_runtime

        runtime = load_runtime("auto")
    except (BackendError, ImportError) as exc:
        raise SkippedError(str(exc)) from exc
    recorder.put("runtime", f"{runtime.target} {runtime.version_text}")
    for name in MODELS:
        for batch in settings.batches:
            recorder.attempt(f"{name}:{batch}", partial(_engine, name, batch, runtime, recorder))


def _engine(name: str, batch: int, runtime: Any, recorder: Recorder) -> dict[str, Any]:
    from roadseg.backends.tensorrt import TensorRtBackend
    from roadseg.cuda import load_cuda
    from roadseg.engine.build import build_engine
    from roadseg.engine.spec import EngineSpec
    from roadseg.models import save_weights

    if recorder.left_s < 30:
        raise SkippedError(f"{recorder.left_s:.0f} s left")
    settings = recorder.settings
    network = load(name, settings)
    frames = frames_bgr(batch, settings.size_hw)
    reference = reference_labels(network, frames, settings.device)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / f"{name}.pt"
        save_weights(weights, network.module, name)
        rtx = runtime.target == "tensorrt-rtx"
        spec = EngineSpec(
            model=str(weights),
            precision="fp16",
            size_hw=settings.size_hw,
            batch=(batch, batch, batch),
            target=runtime.target,
            lowering="native" if rtx else "plugin",
        )
        engine = build_engine(spec, output=Path(folder) / "engine.plan")
        cuda = load_cuda()
        backend = TensorRtBackend(engine, runtime=runtime, cuda=cuda)
        try:
            labels = backend.infer(frames)
            result = {"agreement_fp32": agreement(labels, reference)}
            measured = host_latency(lambda: backend.infer(frames))
        finally:
            backend.close()
            cuda.close()
    fps = round(batch * 1000 / measured.p50_ms, 1)
    return result | measured.to_json() | {"batch": batch, "fps": fps}
