"""TensorRT, or TensorRT-RTX, on the same networks, frames and clock, where it is installed.

TensorRT-RTX is for GeForce and RTX cards, and roadseg refuses it elsewhere. Where it is all there
is, the step counts as skipped; but it tries once all the same, and records what came of it: whether
its engines run on a data-centre GPU at all, only a run on one can tell.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu_latency import agreement, reference_labels
from benchmarks.gpu_networks import frames_bgr, load
from benchmarks.gpu_steps import MODELS, Recorder, SkippedError
from benchmarks.gpu_timing import host_latency
from roadseg.core.errors import BackendError, EngineError

__all__ = ["RefusedError", "tensorrt", "usable_runtime"]


class RefusedError(SkippedError):
    """TensorRT-RTX is installed, and is not for this GPU.

    Attributes:
        runtime: it.
    """

    def __init__(self, reason: str, runtime: Any) -> None:
        super().__init__(reason)
        self.runtime = runtime


def usable_runtime() -> Any:
    """The TensorRT that builds engines for the GPU that is here.

    Raises:
        SkippedError: there is none, and why.
        RefusedError: the one that there is does not run on this GPU.
    """
    try:
        from roadseg.engine.runtime import load_runtime

        runtime = load_runtime("auto")
    except (BackendError, ImportError) as exc:
        raise SkippedError(str(exc)) from exc
    if runtime.target == "tensorrt-rtx":
        from roadseg.backends.tensorrt.builder.compile import choose_sm
        from roadseg.cuda.load import load_cuda

        try:
            cuda = load_cuda()
        except BackendError as exc:
            raise SkippedError(str(exc)) from exc
        try:
            choose_sm((), runtime, cuda.device)
        except EngineError as exc:
            raise RefusedError(str(exc), runtime) from exc
        finally:
            cuda.close()
    return runtime


def tensorrt(recorder: Recorder) -> None:
    """The step: build an FP16 engine for each network and batch size, check it, time it."""
    settings = recorder.settings
    if settings.dry:
        raise SkippedError("engines need a GPU")
    try:
        runtime = usable_runtime()
    except RefusedError as refused:
        _try_refused(refused, recorder)
        raise
    recorder.put("runtime", f"{runtime.target} {runtime.version_text}")
    for name in MODELS:
        for batch in settings.batches:
            recorder.attempt(f"{name}:{batch}", partial(_engine, name, batch, runtime, recorder))


def _try_refused(refused: RefusedError, recorder: Recorder) -> None:
    """Build and run an engine for what TensorRT-RTX does know, from Ampere on; keep what it says.

    Should it end the process, what was put before is on the disk.
    """
    from roadseg.backends.tensorrt.builder.compile import available_sm
    from roadseg.engine.messages import listen

    runtime, name, batch = refused.runtime, MODELS[1], recorder.settings.batches[0]
    recorder.put("runtime", f"{runtime.target} {runtime.version_text}")
    recorder.put("refused", str(refused))
    sm = tuple(number for number in available_sm(runtime) if number > 75)
    tried: dict[str, Any] = {"network": name, "batch": batch, "sm": sm, "runs": None}
    recorder.put("tried_all_the_same", tried)
    with listen(runtime.trt) as (_logger, said):
        try:
            tried |= _engine(name, batch, runtime, recorder, sm=sm) | {"runs": True}
        except SkippedError as exc:
            tried["message"] = str(exc)
        except Exception as exc:  # noqa: BLE001 - whatever it says is the answer
            tried |= {"runs": False, "message": f"{type(exc).__name__}: {exc}"}
    # In TensorRT's own words, too: the message has the first of them, shortened.
    recorder.put("tried_all_the_same", tried | {"tensorrt_said": said.lines})


def _engine(
    name: str, batch: int, runtime: Any, recorder: Recorder, *, sm: tuple[int, ...] = ()
) -> dict[str, Any]:
    from roadseg.backends.tensorrt.backend import TensorRtBackend
    from roadseg.backends.tensorrt.builder.build_engine import build_engine
    from roadseg.cuda.load import load_cuda
    from roadseg.engine.spec import EngineSpec
    from roadseg.models import save_weights

    if recorder.left_s < 30:
        raise SkippedError(f"{recorder.left_s:.0f} s left")
    settings = recorder.settings
    network = load(name, settings)
    frames = frames_bgr(batch, settings.size_hw)
    reference = reference_labels(network, frames, settings.device)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / f"{name}.safetensors"
        save_weights(weights, network.module, name)
        rtx = runtime.target == "tensorrt-rtx"
        spec = EngineSpec(
            model=str(weights),
            precision="fp16",
            size_hw=settings.size_hw,
            batch=(batch, batch, batch),
            target=runtime.target,
            lowering="native" if rtx else "plugin",
            sm=sm,
        )
        engine = build_engine(spec, output=Path(folder) / "engine.plan", runtime=runtime)
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
