"""pycuda's messages as CUDA's error names, which pycuda does not give."""

from __future__ import annotations

import re

# The driver's own texts (cuGetErrorString).
_CODES = {
    "CUDA-capable device(s) is/are busy or unavailable": "CUDA_ERROR_DEVICE_UNAVAILABLE",
    "CUDA driver is a stub library": "CUDA_ERROR_STUB_LIBRARY",
    "an illegal instruction was encountered": "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    "an illegal memory access was encountered": "CUDA_ERROR_ILLEGAL_ADDRESS",
    "context is destroyed": "CUDA_ERROR_CONTEXT_IS_DESTROYED",
    "device kernel image is invalid": "CUDA_ERROR_INVALID_IMAGE",
    "device not ready": "CUDA_ERROR_NOT_READY",
    "forward compatibility was attempted on non supported HW": (
        "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"
    ),
    "initialization error": "CUDA_ERROR_NOT_INITIALIZED",
    "invalid argument": "CUDA_ERROR_INVALID_VALUE",
    "invalid device context": "CUDA_ERROR_INVALID_CONTEXT",
    "invalid resource handle": "CUDA_ERROR_INVALID_HANDLE",
    "misaligned address": "CUDA_ERROR_MISALIGNED_ADDRESS",
    "named symbol not found": "CUDA_ERROR_NOT_FOUND",
    "no CUDA-capable device is detected": "CUDA_ERROR_NO_DEVICE",
    "no kernel image is available for execution on the device": "CUDA_ERROR_NO_BINARY_FOR_GPU",
    "operation not permitted when stream is capturing": "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    "out of memory": "CUDA_ERROR_OUT_OF_MEMORY",
    "system has unsupported display driver / cuda driver combination": (
        "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
    ),
    "system not yet initialized": "CUDA_ERROR_SYSTEM_NOT_READY",
    "the launch timed out and was terminated": "CUDA_ERROR_LAUNCH_TIMEOUT",
    "the provided PTX was compiled with an unsupported toolchain.": (
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"
    ),
    "too many resources requested for launch": "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
    "uncorrectable ECC error encountered": "CUDA_ERROR_ECC_UNCORRECTABLE",
    "unspecified launch failure": "CUDA_ERROR_LAUNCH_FAILED",
}

_MESSAGE = re.compile(r"^\w[\w:]* failed: (?P<text>.*?)(?: - .*)?$", re.DOTALL)


def code_of(message: str) -> str:
    """CUDA's name of an error; the driver's own words for a rare one.

    >>> code_of("cuMemAlloc failed: out of memory")
    'CUDA_ERROR_OUT_OF_MEMORY'
    """
    found = _MESSAGE.match(message)
    text = found["text"] if found else message
    return _CODES.get(text, " ".join(text.split()))
