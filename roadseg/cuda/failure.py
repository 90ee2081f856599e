"""CUDA's error codes as lines that say what to do."""

from __future__ import annotations

from roadseg.core.errors import BackendError
from roadseg.core.wording import option

# The oldest CUDA that a driver must run: JetPack 6 has 12.6, TensorRT 10 needs 12.
MINIMUM_CUDA = (12, 0)

# The place of an option, whose spelling is the reader's; see `roadseg.core.wording`.
_SIZE = "<SIZE>"

# Between the repair and the other backend.
_OR, _UNTIL_THEN = ", or ", "; until then "

_UPDATE = "update it from https://www.nvidia.com/drivers"

_ADVICE: dict[str, tuple[str, str]] = {
    "CUDA_ERROR_NO_DEVICE": (
        "no NVIDIA GPU is visible to this process",
        "look at 'nvidia-smi' and at CUDA_VISIBLE_DEVICES",
    ),
    "CUDA_ERROR_DEVICE_UNAVAILABLE": (
        "the GPU is reserved by another program",
        "end that program ('nvidia-smi' lists it)",
    ),
    "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER": ("the NVIDIA driver is too old", _UPDATE),
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE": (
        "the NVIDIA driver is too old for the CUDA libraries on this GPU",
        _UPDATE,
    ),
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": (
        "the NVIDIA driver was updated while in use",
        "restart the machine",
    ),
    "CUDA_ERROR_SYSTEM_NOT_READY": (
        "the GPU system is not ready",
        "start the NVIDIA fabric manager (systemctl start nvidia-fabricmanager)",
    ),
    "CUDA_ERROR_STUB_LIBRARY": (
        "the CUDA driver library is the toolkit's empty stand-in",
        "take the folder 'stubs' out of LD_LIBRARY_PATH",
    ),
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": (
        "the NVIDIA driver is older than the compiler of the kernels",
        f"pip install a nvidia-cuda-nvrtc of the driver's CUDA version, {_UPDATE}",
    ),
    "CUDA_ERROR_NO_BINARY_FOR_GPU": (
        "no kernel that was compiled fits this GPU and its driver",
        "pip install a nvidia-cuda-nvrtc of the driver's CUDA version ('roadseg doctor' names it)",
    ),
    "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES": (
        "a kernel needs more than this GPU has",
        "report it with the GPU's name",
    ),
    "CUDA_ERROR_LAUNCH_TIMEOUT": (
        "a kernel ran so long that the desktop's watchdog stopped it",
        "use a smaller <SIZE>",
    ),
    "CUDA_ERROR_ECC_UNCORRECTABLE": (
        "the GPU's memory is damaged",
        "restart the machine and look at 'nvidia-smi -q -d ECC'",
    ),
}
_CRASHES = (
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_LAUNCH_FAILED",
    "CUDA_ERROR_MISALIGNED_ADDRESS",
    "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    "CUDA_ERROR_INVALID_PC",
    "CUDA_ERROR_HARDWARE_STACK_ERROR",
    "CUDA_ERROR_ASSERT",
)


class GpuError(BackendError):
    """The GPU, or what a program needs to use it, cannot be used.

    Args:
        what: is wrong.
        repair: what makes the GPU usable; empty where nothing does.
        fix: the repair, and what to do without it, such as another backend; default: the repair.
        code: CUDA's name of the error; empty where it is another's.
    """

    def __init__(self, what: str, repair: str, fix: str | None = None, code: str = "") -> None:
        super().__init__(what, repair if fix is None else fix)
        self.args = (what, repair, fix, code)  # for pickle
        self.repair = repair
        self.code = code


def cuda_error(code: str, doing: str) -> GpuError:
    """The error of a failed call.

    Args:
        code: CUDA's name of the error: `CUDA_ERROR_NO_DEVICE`.
        doing: what failed, to follow "while": "copying a frame to the GPU".
    """
    if code in _ADVICE:
        what, repair = _ADVICE[code]
        if code == "CUDA_ERROR_STUB_LIBRARY":  # the CPU is not in question, a setting is wrong
            return GpuError(f"{what} ({code})", repair, code=code)
        link = _UNTIL_THEN if code == "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES" else _OR
        return _or_cpu(f"{what} ({code})", repair, link, code=code)
    if "CAPTURE" in code:
        what = f"a CUDA graph cannot be captured while {doing} ({code})"
        return _or_cpu(what, "report it", _UNTIL_THEN, code=code)
    if code in _CRASHES:
        again = "start again, and if it happens once more report it"
        what = f"the GPU crashed while {doing} ({code})"
        return _or_cpu(what, again, _UNTIL_THEN, code=code)
    return _or_cpu(f"CUDA failed while {doing} ({code})", "look at 'nvidia-smi'", code=code)


def out_of_memory(needed_bytes: int, free_bytes: int) -> GpuError:
    """The error for device memory that is not there."""
    return GpuError(
        f"GPU out of memory ({_size(needed_bytes)} needed, {_size(free_bytes)} free)",
        f"use a smaller {option('--size')} or batch, or close other programs",
    )


def no_driver() -> GpuError:
    """The error for a machine without libcuda."""
    return _or_cpu(
        "there is no NVIDIA driver (libcuda cannot be loaded)",
        "install it from https://www.nvidia.com/drivers",
    )


def driver_too_old(driver_cuda: tuple[int, int]) -> GpuError:
    """The error for a driver below `MINIMUM_CUDA`."""
    return _or_cpu(
        f"the NVIDIA driver is too old: it runs CUDA {_dotted(driver_cuda)} and CUDA "
        f"{_dotted(MINIMUM_CUDA)} is needed",
        _UPDATE,
    )


def no_such_gpu(index: int, count: int) -> GpuError:
    """The error for a GPU number that there is not."""
    known = "GPU 0" if count == 1 else f"GPUs 0 to {count - 1}"
    what = f"there is no GPU {index}: this process sees {known}"
    return GpuError(what, "name one that 'nvidia-smi -L' lists")


def _or_cpu(what: str, repair: str, link: str = _OR, *, code: str = "") -> GpuError:
    repair = repair.replace(_SIZE, option("--size"))
    return GpuError(what, repair, f"{repair}{link}use {option('--backend', 'openvino')}", code)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _size(nbytes: int) -> str:
    if nbytes >= 10 * 2**30:
        return f"{nbytes / 2**30:.1f} GiB"
    # Rounded up: "0 MiB needed" would be a riddle.
    return f"{-(-nbytes // 2**20)} MiB"
