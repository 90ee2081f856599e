"""torch.compile on the same networks, frames and clock."""

from __future__ import annotations

import copy
import time
from functools import partial
from typing import Any

import torch

from benchmarks.gpu_latency import reference_labels, time_staged
from benchmarks.gpu_networks import FrameNetwork, frames_bgr, load
from benchmarks.gpu_steps import Recorder
from roadseg.backends.torch_cuda.graph import fastest_algorithms

__all__ = ["compiled"]

_MODES = ("reduce-overhead", "max-autotune")
# What `max-autotune` may need for one network; a shorter rest of the time is not worth a start.
_AUTOTUNE_S = 40.0


def compiled(recorder: Recorder, name: str) -> None:
    """The step: `reduce-overhead` (CUDA graphs) at every batch size, then `max-autotune` at one.

    The dry run compiles nothing: it runs the network as it is, for the programme's sake.
    """
    settings = recorder.settings
    device = settings.device
    network = load(name, settings)
    frames = frames_bgr(max(settings.batches), settings.size_hw)
    reference = reference_labels(network, frames, device)
    plan = [(_MODES[0], batch) for batch in settings.batches] + [(_MODES[1], settings.batches[0])]

    def measure(mode: str, batch: int) -> dict[str, Any]:
        dtype = torch.float32 if device == "cpu" else torch.float16
        model: Any = copy.deepcopy(network.module)
        model = model.to(device=device, dtype=dtype, memory_format=torch.channels_last)
        wrapped = FrameNetwork(model, dtype)
        call: Any = wrapped
        if device != "cpu":
            torch.compiler.reset()
            call = torch.compile(wrapped, mode=mode)
        started_s = time.monotonic()
        with fastest_algorithms():
            with torch.inference_mode():
                call(torch.from_numpy(frames[:batch]).to(device))
            compile_s = round(time.monotonic() - started_s, 1)
            timed = time_staged(call, frames[:batch], reference[:batch], settings)
        return timed | {"compile_s": compile_s}

    for mode, batch in plan:
        key = f"{mode}:{batch}"
        if mode == _MODES[1] and (settings.quick or recorder.left_s < _AUTOTUNE_S):
            recorder.put(key, {"skipped": f"{recorder.left_s:.0f} s left, or --quick"})
            continue
        recorder.attempt(key, partial(measure, mode, batch))
