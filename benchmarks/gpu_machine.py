"""What is measured on, and its two ceilings: bytes and multiplications per second."""

from __future__ import annotations

from dataclasses import asdict
from importlib import metadata
from typing import Any

import torch

from benchmarks.gpu_kernels import copy_gb_s
from benchmarks.gpu_steps import Recorder, SkippedError
from benchmarks.gpu_timing import matmul_tflops
from roadseg.core.machine import describe_machine

__all__ = ["machine"]

_PACKAGES = (
    "triton",
    "onnx",
    "cuda-bindings",
    "pycuda",
    "nvidia-cuda-nvrtc",
    "tensorrt",
    "tensorrt-rtx",
    "pytest",
)


def machine(recorder: Recorder) -> None:
    """The step: names and versions, a large copy, a large FP16 matrix product."""
    settings = recorder.settings
    recorder.put("machine", asdict(describe_machine()) | {"packages": _versions()})
    if settings.device == "cuda":
        if not torch.cuda.is_available():
            raise SkippedError("PyTorch sees no GPU")
        recorder.put("gpu", _gpu())
    recorder.put("copy", copy_gb_s(2**16 if settings.dry else 2 * 2**30, settings.device))
    side = 64 if settings.dry else 8192
    recorder.put("matmul_side", side)
    recorder.put("matmul_tflops", round(matmul_tflops(settings.device, side), 3))


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # noqa: PERF203
            continue
    return found


def _gpu() -> dict[str, Any]:
    # Its type is not told by PyTorch.
    properties: Any = torch.cuda.get_device_properties(0)
    cudnn: Any = torch.backends.cudnn
    return {
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "multiprocessors": properties.multi_processor_count,
        "l2_mib": round(getattr(properties, "L2_cache_size", 0) / 2**20, 1),
        "torch_cuda": torch.version.cuda,
        "cudnn": cudnn.version(),
    }
