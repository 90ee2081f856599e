"""What the GPU and its libraries are like: driver, CUDA from Python, NVRTC, TensorRT."""

from __future__ import annotations

from typing import Any

from roadseg.core.installing import gpu_extra, install, is_jetson
from roadseg.cuda.failure import MINIMUM_CUDA, cuda_error, driver_too_old
from roadseg.doctor.libraries import explain_failure
from roadseg.doctor.probing import Probe
from roadseg.doctor.report import Verdict, note, ok, problem

_DRIVERS = "install it from https://www.nvidia.com/drivers"
_CONTAINER = "start the container with --gpus all"


def has_gpu(probe: Probe) -> bool:
    """Whether a GPU can be used."""
    facts = probe.facts
    return bool(
        facts.get("gpus")
        and facts["error"] is None
        and tuple(facts["cuda"] or MINIMUM_CUDA) >= MINIMUM_CUDA
    )


def check_gpu(probe: Probe, *, nvidia_hardware: bool, in_container: bool) -> Verdict:
    """GPU, driver and CUDA.

    Args:
        probe: how the driver answered.
        nvidia_hardware: whether the machine has an NVIDIA GPU, usable or not.
        in_container: whether this is a container.
    """
    if probe.failed:
        text = f"the NVIDIA driver cannot be asked: it {probe.message}"
        return note(text, "nvidia-smi")
    facts = probe.facts
    if not facts["library"]:
        if not nvidia_hardware:
            text = "no NVIDIA GPU: frames run on the CPU"
            return note(text, None, facts)
        if in_container:
            text = "an NVIDIA GPU, which this container may not use"
            return note(text, _CONTAINER, facts)
        text = "an NVIDIA GPU without its driver (libcuda cannot be loaded)"
        return note(text, _DRIVERS, facts)
    trouble = None
    if facts["cuda"] is not None and tuple(facts["cuda"]) < MINIMUM_CUDA:
        trouble = driver_too_old((facts["cuda"][0], facts["cuda"][1]))
    elif facts["error"] is not None or not facts["gpus"]:
        trouble = cuda_error(facts["error"] or "CUDA_ERROR_NO_DEVICE", "starting CUDA")
    if trouble is not None:
        return note(trouble.what, trouble.fix, facts)
    gpus = "; ".join(_describe(gpu) for gpu in facts["gpus"])
    driver = "" if facts["driver"] is None else f", driver {facts['driver']}"
    cuda = "" if facts["cuda"] is None else f", CUDA {_dotted(facts['cuda'])}"
    return ok(f"{gpus}{driver}{cuda}", facts)


def check_backend(probe: Probe, *, gpu: bool) -> Verdict:
    """Which backend `--backend auto` is.

    Args:
        probe: how it was chosen.
        gpu: whether there is one that it could be for.
    """
    if probe.failed:
        text = f"auto does not work ({probe.message})"
        return problem(text, "roadseg run --backend openvino")
    name = probe.facts["backend"]
    facts = {"backend": name}
    if gpu and name == "openvino":
        text = "auto is openvino, which leaves the GPU unused: see below"
        return note(text, None, facts)
    if gpu and name == "torch":
        text = "auto is torch, which is slower on a GPU than TensorRT: see below"
        return note(text, None, facts)
    return ok(f"auto is {name}", facts)


def check_cuda(probe: Probe, *, gpu: bool) -> Verdict:
    """CUDA from Python: cuda-bindings or pycuda.

    Args:
        probe: how it loaded.
        gpu: whether there is one to use it with.
    """
    if not gpu:
        return note("not used: there is no GPU")
    if probe.failed:
        text, fix = explain_failure(probe, "cuda-bindings", "cuda", gpu_extra())
        return note(text, fix)
    name = probe.facts["name"]
    if not probe.facts["graphs"]:
        text = f"{name} has no CUDA graphs: frames take longer"
        return note(text, install(gpu_extra()), probe.facts)
    return ok(name, probe.facts)


def check_nvrtc(probe: Probe, gpu: Probe) -> Verdict:
    """The compiler of the kernels.

    Args:
        probe: how it loaded.
        gpu: the probe of the GPU, whose driver must run what NVRTC compiles.
    """
    if not has_gpu(gpu):
        return note("not used: there is no GPU")
    cuda: list[int] = gpu.facts["cuda"] or [13, 0]
    extra = "jetson" if is_jetson() else "tensorrt" if cuda[0] >= 13 else "tensorrt-cu12"
    if probe.failed:
        text, _ = explain_failure(probe, "nvidia-cuda-nvrtc", "cuda")
        return note(f"NVRTC: {text}", install(extra))
    version = probe.facts["version"]
    if int(version.split(".")[0]) > cuda[0]:
        text = f"NVRTC {version} is newer than the driver, which runs CUDA {_dotted(cuda)}"
        return note(text, f"{install(extra)}, or update the driver", probe.facts)
    return ok(f"NVRTC {version}", probe.facts)


def check_tensorrt(probe: Probe, *, gpu: bool) -> Verdict:
    """TensorRT or TensorRT-RTX, whichever is there.

    Args:
        probe: how it loaded.
        gpu: whether there is one to use it with.
    """
    if not probe.failed:
        rtx = probe.facts["target"] == "tensorrt-rtx"
        text = f"{'TensorRT-RTX' if rtx else 'TensorRT'} {probe.facts['version']}"
        if gpu:
            return ok(text, probe.facts)
        use = "for building alone" if rtx else "not used"
        text = f"{text}, {use}: there is no GPU"
        return note(text, None, probe.facts)
    text, fix = explain_failure(probe, "tensorrt", "tensorrt")
    if not gpu:
        # Nothing that anybody needs to put right.
        return note("not used: there is no GPU", None, {"error": probe.message})
    return note(text, fix)


def _describe(gpu: dict[str, Any]) -> str:
    compute = _dotted(gpu["compute_capability"])
    return f"{gpu['name']} (compute {compute}, {gpu['bytes'] / 2**30:.0f} GiB)"


def _dotted(version: list[int]) -> str:
    return f"{version[0]}.{version[1]}"
