"""Compiles the kernels for a GPU with NVRTC, which comes as a wheel, and keeps the result.

Neither a CUDA toolkit nor a C++ compiler is needed, and neither is a GPU or a driver.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from roadseg.core.cache import keep_in_cache, user_cache_dir
from roadseg.core.errors import BackendError
from roadseg.core.installing import cuda_extra, install, reinstall, upgrade
from roadseg.kernels.kernels import source, source_hash

_OPTIONS = ("--std=c++17",)
_PROGRAM = "roadseg_kernels.cu"
_DIGEST_BYTES = 32


def cache_dir() -> Path:
    """Where compiled kernels are kept: `kernels` in the user's cache folder. It may not exist."""
    return user_cache_dir() / "kernels"


def compile_kernels(
    compute_capability: tuple[int, int],
    *,
    output: Literal["cubin", "ptx"] = "cubin",
    cache: bool = True,
    text: str | None = None,
) -> bytes:
    """All kernels as code for one GPU.

    What was compiled before, from the same source by the same NVRTC, comes from the cache. A cache
    folder that cannot be written, or a damaged file in it, only costs the time to compile.

    Args:
        compute_capability: major, minor: (8, 9).
        output: `cubin`, machine code of exactly this GPU; or `ptx`, which any driver at least as
            new as NVRTC finishes for this GPU and newer ones.
        cache: False compiles anew, and leaves the cache alone.
        text: another translation unit than `kernels.source()`.

    Returns:
        An ELF image, or PTX as text.

    Raises:
        BackendError: NVRTC is not installed, does not know the GPU, or cannot compile.
    """
    nvrtc = _load()
    version = _call(nvrtc, nvrtc.nvrtcVersion())
    major, minor = compute_capability
    unit = source() if text is None else text
    unit_hash = source_hash() if text is None else hashlib.sha256(text.encode()).hexdigest()
    facts = (unit_hash, compute_capability, version, output, _OPTIONS)
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    nvrtc_name = f"nvrtc{version[0]}.{version[1]}"
    path = cache_dir() / f"sm{major}{minor}-{nvrtc_name}-{digest}.{output}"
    image = _read(path) if cache else None
    if image is None:
        _check_known(nvrtc, compute_capability, version)
        image = _compile(nvrtc, compute_capability, output, unit)
        if cache:
            keep_in_cache(path, hashlib.sha256(image).digest() + image)
    return image


def nvrtc_version() -> tuple[int, int]:
    """The CUDA version of the compiler: (13, 0).

    Raises:
        BackendError: NVRTC is not installed.
    """
    nvrtc = _load()
    major, minor = _call(nvrtc, nvrtc.nvrtcVersion())
    return int(major), int(minor)


def newer_than_driver(
    version: tuple[int, int], driver_cuda: tuple[int, int], output: Literal["cubin", "ptx"]
) -> BackendError:
    """The line for a compiler whose code the driver does not take.

    Args:
        version: CUDA version of NVRTC.
        driver_cuda: the one that the driver runs.
        output: what the code is.
    """
    found, wanted = (".".join(map(str, number)) for number in (version, driver_cuda))
    code, verb = ("PTX", "read") if output == "ptx" else ("machine code", "load")
    major = driver_cuda[0]
    packages = f"'nvidia-cuda-nvrtc{'-cu12' if major == 12 else ''}=={wanted}.*'"
    if version[0] != major:
        # The bindings look for the library of their own major version.
        packages += f" 'cuda-bindings<{major + 1}'"
    return BackendError(
        f"NVRTC {found} writes {code} that this driver (CUDA {wanted}) cannot {verb}",
        fix=f"update the driver, or pip install {packages}",
    )


def _load() -> Any:
    """The bindings, with the library itself behind them."""
    try:
        from cuda.bindings import nvrtc

        # The library is looked for at the first call, not at import.
        nvrtc.nvrtcVersion()
    except (ImportError, OSError, RuntimeError) as exc:
        raise BackendError(
            "NVRTC, which compiles the kernels, is not installed", fix=install(cuda_extra())
        ) from exc
    return nvrtc


def _check_known(nvrtc: Any, compute_capability: tuple[int, int], version: Any) -> None:
    (known,) = _call(nvrtc, nvrtc.nvrtcGetSupportedArchs())
    number = 10 * compute_capability[0] + compute_capability[1]
    if number in known:
        return
    if number < min(known):
        fix = f"an older NVRTC may know it: {install('tensorrt-cu12')}"
    else:
        fix = upgrade("'roadseg[tensorrt]'")
    names = ", ".join(f"{arch // 10}.{arch % 10}" for arch in known)
    raise BackendError(
        f"NVRTC {version[0]}.{version[1]} does not know compute capability "
        f"{compute_capability[0]}.{compute_capability[1]} (it knows {names})",
        fix=fix,
    )


def _compile(nvrtc: Any, compute_capability: tuple[int, int], output: str, unit: str) -> bytes:
    kind = "sm" if output == "cubin" else "compute"
    architecture = f"{kind}_{compute_capability[0]}{compute_capability[1]}"
    options = [option.encode() for option in (f"--gpu-architecture={architecture}", *_OPTIONS)]
    (program,) = _call(nvrtc, nvrtc.nvrtcCreateProgram(unit.encode(), _PROGRAM.encode(), 0, [], []))
    try:
        (result,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise BackendError(
                f"NVRTC cannot compile the kernels for {architecture} ({_reason(nvrtc, program)})",
                fix="install another release of NVRTC; 'roadseg doctor' shows the one in use",
            )
        if output == "cubin":
            (size,) = _call(nvrtc, nvrtc.nvrtcGetCUBINSize(program))
            image = bytearray(size)
            _call(nvrtc, nvrtc.nvrtcGetCUBIN(program, image))
            return bytes(image)
        (size,) = _call(nvrtc, nvrtc.nvrtcGetPTXSize(program))
        image = bytearray(size)
        _call(nvrtc, nvrtc.nvrtcGetPTX(program, image))
        return bytes(image).rstrip(b"\0")
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _reason(nvrtc: Any, program: Any) -> str:
    """The first error of the compiler's log, as one line."""
    (size,) = _call(nvrtc, nvrtc.nvrtcGetProgramLogSize(program))
    log = bytearray(size)
    _call(nvrtc, nvrtc.nvrtcGetProgramLog(program, log))
    lines = [line.strip() for line in log.rstrip(b"\0").decode(errors="replace").splitlines()]
    return next((line for line in lines if "error" in line), "no reason given")


def _call(nvrtc: Any, answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """What an NVRTC function returns behind its status."""
    result, *values = answer
    if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise BackendError(
            f"NVRTC failed with {result.name}", fix=reinstall("nvidia-cuda-nvrtc cuda-bindings")
        )
    return tuple(values)


def _read(path: Path) -> bytes | None:
    """A cached image; None where there is none, or its digest in front does not fit."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, image = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return image if hashlib.sha256(image).digest() == digest else None
