"""The kernels compiled as plain C++ for the host's CPU: the reference that tests compare with.

The same kernel bodies, run thread after thread through the same launch ABI, so that a simulated
CUDA device (`SimulatedCuda(kernels=host_kernels())`) computes what a GPU would. It
needs g++, and it is slow: it is for tests, not for driving.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from ctypes import _SimpleCData
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from roadseg.core.cache import keep_in_cache, user_cache_dir
from roadseg.core.errors import BackendError, os_reason
from roadseg.kernels.frame import FRAME_SYMBOLS, frame_source
from roadseg.kernels.kernels import source, variants

# Runs a kernel on the host: see `host.cuh`.
_FRAME_RUNNERS = """
extern "C" void run_roadseg_frame_fp16(const unsigned *dims, const Byte *frames, long long pixels,
                                       float scale, float k, float alpha, float beta, Byte *out) {
    run(roadseg_frame_fp16, dims, frames, pixels, scale, k, alpha, beta, out);
}
extern "C" void run_roadseg_labels_fp16(const unsigned *dims, const Byte *scores, int images, int h,
                                        int w, int pitch, int classes, int block, int out_h,
                                        int out_w, Byte *labels) {
    run(roadseg_labels_fp16, dims, scores, images, h, w, pitch, classes, block, out_h, out_w,
        labels);
}
"""

HostKernel = Callable[
    [tuple[int, int, int], tuple[int, int, int], Sequence["_SimpleCData[Any]"]], None
]

# Memory is read as vectors and as elements: no assumptions about types, as on the GPU.
_OPTIONS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-fno-strict-aliasing", "-Wno-unknown-pragmas")


def host_kernels() -> Mapping[str, HostKernel]:
    """Every kernel by its symbol, as a function of grid, block and arguments.

    Addresses in the arguments are host addresses. A call returns when the kernel is done.

    Raises:
        BackendError: there is no g++, or it cannot compile or load the kernels.
    """
    library = host_library()
    return MappingProxyType(
        {
            variant.symbol: partial(run_host, getattr(library, f"run_{variant.symbol}"))
            for variant in variants()
        }
    )


def host_library() -> ctypes.CDLL:
    """The compiled library; beside the kernels it has their address calculation as `offset_*`.

    Raises:
        BackendError: there is no g++, or it cannot compile or load the kernels.
    """
    return compile_host(host_source())


@cache
def compile_host(text: str) -> ctypes.CDLL:
    """A translation unit of C++ as a library, from the user's cache if it was compiled before.

    Raises:
        BackendError: there is no g++, or it cannot compile or load the kernels.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise BackendError(
            "the kernels need a compiler to run on the CPU", fix="install g++ (apt install g++)"
        )
    facts = "\n".join((text, compiler, platform.machine(), *_OPTIONS))
    name = f"host-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.so"
    kept = user_cache_dir() / "kernels" / name
    # Missing, or made for another system that shares the folder: compiled again.
    with contextlib.suppress(OSError):
        return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory(prefix="roadseg-") as folder:
        built = Path(folder) / name
        _compile(compiler, text, built)
        keep_in_cache(kept, built.read_bytes())
        try:
            return ctypes.CDLL(str(built))
        except OSError as exc:
            raise BackendError(
                f"cannot load the kernels that g++ compiled ({exc})", fix=_FIX
            ) from exc


def host_frame_kernels() -> Mapping[str, HostKernel]:
    """Both kernels by symbol, compiled as C++ for the host; see `host_kernels`.

    Raises:
        BackendError: there is no g++, or it cannot compile or load the kernels.
    """
    shim = (Path(__file__).parent / "host.cuh").read_text(encoding="utf-8")
    library = compile_host("\n".join((shim, frame_source(), _FRAME_RUNNERS)))
    return MappingProxyType(
        {symbol: partial(run_host, getattr(library, f"run_{symbol}")) for symbol in FRAME_SYMBOLS}
    )


def host_source() -> str:
    """The translation unit for a C++ compiler: CUDA's names, the kernels, a runner for each."""
    shim = (Path(__file__).parent / "host.cuh").read_text(encoding="utf-8")
    runners = [f"{variant.op.upper()}_RUNNER({variant.symbol})" for variant in variants()]
    return "\n".join((shim, source(), *runners, "OFFSET_RUNNERS", ""))


_FIX = "install another release of g++"


def _compile(compiler: str, text: str, output: Path) -> None:
    command = [compiler, *_OPTIONS, "-x", "c++", "-", "-o", str(output)]
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as exc:
        raise BackendError(f"cannot run {compiler} ({os_reason(exc)})", fix=_FIX) from exc
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        reason = lines[0] if lines else f"exit code {done.returncode}"
        raise BackendError(f"g++ cannot compile the kernels ({reason})", fix=_FIX)


def run_host(
    runner: Callable[..., Any],
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    args: Sequence[_SimpleCData[Any]],
) -> None:
    """Call a runner of the library, see `host.cuh`, as `Kernel.launch` would launch its kernel."""
    runner((ctypes.c_uint32 * 6)(*grid, *block), *args)
