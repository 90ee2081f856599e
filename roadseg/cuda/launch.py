"""Kernels and graphs of `BindingsCuda`, on streams given by handle."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from ctypes import _SimpleCData
from typing import Any

from roadseg.core.errors import BackendError
from roadseg.cuda.api import Stream
from roadseg.cuda.driver import Driver
from roadseg.cuda.failure import cuda_error


class BindingsKernel:
    """See `roadseg.cuda.Kernel`.

    Args:
        driver: the functions.
        function: the `CUfunction`.
        name: its symbol.
    """

    def __init__(self, driver: Driver, function: Any, name: str) -> None:
        self._driver = driver
        self._function = function
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def launch(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[_SimpleCData[Any]],
        stream_handle: int,
    ) -> None:
        # `kernelParams` is an array of pointers to the parameters; the driver has read them when
        # the call returns.
        pointers = (ctypes.c_void_p * len(args))(*(ctypes.addressof(arg) for arg in args))
        self._driver(
            "cuLaunchKernel",
            self._function,
            *grid,
            *block,
            0,
            stream_handle,
            ctypes.addressof(pointers),
            0,
            doing=f"starting the kernel {self._name}",
        )


class BindingsGraph:
    """See `roadseg.cuda.Graph`.

    Args:
        driver: the functions.
        executable: the `CUgraphExec`.
    """

    def __init__(self, driver: Driver, executable: Any) -> None:
        self._driver = driver
        self._executable = executable

    def launch(self, stream: Stream) -> None:
        doing = "launching a CUDA graph"
        if self._executable is None:
            raise cuda_error("CUDA_ERROR_INVALID_HANDLE", doing)
        self._driver("cuGraphLaunch", self._executable, stream.handle, doing=doing)

    def close(self) -> None:
        if self._executable is not None:
            executable, self._executable = self._executable, None
            self._driver("cuGraphExecDestroy", executable, doing="freeing a CUDA graph")


def load_kernels(
    driver: Driver, image: bytes, names: Sequence[str]
) -> tuple[Any, dict[str, BindingsKernel]]:
    """The loaded `CUmodule`, which the caller unloads, and the functions in it.

    Raises:
        BackendError: the image does not fit this GPU or driver, or lacks a function.
    """
    doing = "loading the kernels"
    if not image:
        raise cuda_error("CUDA_ERROR_INVALID_IMAGE", doing)
    # PTX is text and must end in a zero; a cubin knows its own size.
    module = driver("cuModuleLoadData", image + b"\0", doing=doing)
    try:
        kernels = {
            name: BindingsKernel(
                driver,
                driver(
                    "cuModuleGetFunction",
                    module,
                    name.encode(),
                    doing=f"looking for the kernel {name}",
                ),
                name,
            )
            for name in names
        }
    except BackendError:
        with contextlib.suppress(BackendError):
            driver("cuModuleUnload", module, doing="unloading the kernels")
        raise
    return module, kernels


def begin_capture(driver: Driver, stream: Stream) -> None:
    """Record what `stream` is given from now on."""
    # Thread-local: what other threads of the program allocate meanwhile must not spoil it.
    mode = driver.module.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    driver("cuStreamBeginCapture", stream.handle, mode, doing="beginning a capture")


def end_capture(driver: Driver, stream: Stream) -> BindingsGraph:
    """What was recorded, ready to launch."""
    graph = driver("cuStreamEndCapture", stream.handle, doing="ending a capture")
    try:
        executable = driver("cuGraphInstantiate", graph, 0, doing="making a CUDA graph")
    finally:
        driver("cuGraphDestroy", graph, doing="freeing a recording")
    return BindingsGraph(driver, executable)
