"""CUDA through cuda-bindings, which installs from a wheel."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from roadseg.core.errors import BackendError
from roadseg.cuda.api import (
    Arguments,
    DeviceBuffer,
    DeviceInfo,
    Dim3,
    Event,
    Graph,
    Kernel,
    PinnedBuffer,
    Stream,
)
from roadseg.cuda.driver import Driver, open_device
from roadseg.cuda.failure import cuda_error, out_of_memory

_OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"


class _Handle:
    """One of the driver's objects, which is given back once.

    Args:
        driver: the functions.
        handle: the driver's: `CUevent`, `CUstream`.
        destroy: the function that takes it back.
        what: what it is, for messages.
    """

    def __init__(self, driver: Driver, handle: Any, destroy: str, what: str) -> None:
        self._driver, self._handle = driver, handle
        self._destroy, self._what = destroy, what

    @property
    def handle(self) -> Any:
        if self._handle is None:
            raise cuda_error("CUDA_ERROR_INVALID_HANDLE", f"using {self._what} that was given back")
        return self._handle

    def close(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self._driver(self._destroy, handle, doing=f"freeing {self._what}")


class _Event(_Handle):
    """See `roadseg.cuda.api.Event`."""

    def __init__(self, driver: Driver, *, timing: bool) -> None:
        flags = driver.module.CUevent_flags
        flag = flags.CU_EVENT_DEFAULT if timing else flags.CU_EVENT_DISABLE_TIMING
        event = driver("cuEventCreate", int(flag), doing="creating an event")
        super().__init__(driver, event, "cuEventDestroy", "an event")

    def record(self, stream: Stream) -> None:
        self._driver("cuEventRecord", self.handle, stream.handle, doing="recording an event")

    def synchronize(self) -> None:
        self._driver("cuEventSynchronize", self.handle, doing="waiting for an event")

    def elapsed_ms(self, since: Event) -> float:
        assert isinstance(since, _Event)
        doing = "measuring the time between two events"
        return float(self._driver("cuEventElapsedTime", since.handle, self.handle, doing=doing))


class _Stream(_Handle):
    """See `roadseg.cuda.api.Stream`."""

    def __init__(self, driver: Driver) -> None:
        flag = int(driver.module.CUstream_flags.CU_STREAM_NON_BLOCKING)
        stream = driver("cuStreamCreate", flag, doing="creating a stream")
        super().__init__(driver, int(stream), "cuStreamDestroy", "a stream")

    def wait(self, event: Event) -> None:
        assert isinstance(event, _Event)
        doing = "letting a stream wait"
        self._driver("cuStreamWaitEvent", self.handle, event.handle, 0, doing=doing)

    def synchronize(self) -> None:
        self._driver("cuStreamSynchronize", self.handle, doing="waiting for a stream")


class _Graph(_Handle):
    """See `roadseg.cuda.api.Graph`; its handle is a `CUgraphExec`."""

    def launch(self, stream: Stream) -> None:
        doing = "launching a CUDA graph"
        if self._handle is None:
            raise cuda_error("CUDA_ERROR_INVALID_HANDLE", doing)
        self._driver("cuGraphLaunch", self._handle, stream.handle, doing=doing)


@dataclass(slots=True)
class _Kernel:
    """See `roadseg.cuda.api.Kernel`; `function` is a `CUfunction`."""

    driver: Driver
    function: Any
    name: str

    def launch(self, grid: Dim3, block: Dim3, args: Arguments, stream_handle: int) -> None:
        # `kernelParams` is an array of pointers to the parameters; the driver has read them when
        # the call returns.
        pointers = (ctypes.c_void_p * len(args))(*(ctypes.addressof(arg) for arg in args))
        parameters, doing = ctypes.addressof(pointers), f"starting the kernel {self.name}"
        call = (self.function, *grid, *block, 0, stream_handle, parameters, 0)
        self.driver("cuLaunchKernel", *call, doing=doing)


class BindingsCuda:
    """CUDA through `cuda.bindings.driver`, in the primary context, which PyTorch and TensorRT use.

    Args:
        module: `cuda.bindings.driver`.
        version: of cuda-bindings, for reports.
        index: the GPU's number.

    Raises:
        BackendError: no driver, an old one, no GPU, or none of that number.
    """

    supports_graphs = True

    def __init__(self, module: Any, version: str, index: int = 0) -> None:
        self.driver = Driver(module)
        self.name = f"cuda-bindings {version}"
        self._gpu, driver_cuda = open_device(self.driver, index)
        self._modules: list[Any] = []
        doing = "opening the GPU"
        self._context = self.driver("cuDevicePrimaryCtxRetain", self._gpu, doing=doing)
        self.make_current()
        self.device = DeviceInfo(
            index=index,
            name=self.driver("cuDeviceGetName", 256, self._gpu, doing=doing)
            .split(b"\0")[0]
            .decode("utf-8", "replace"),
            compute_capability=(self._attribute("MAJOR"), self._attribute("MINOR")),
            total_bytes=int(self.driver("cuDeviceTotalMem", self._gpu, doing=doing)),
            driver_cuda=driver_cuda,
        )

    def make_current(self) -> None:
        if self._context is None:
            raise cuda_error("CUDA_ERROR_CONTEXT_IS_DESTROYED", "making the context current")
        self.driver("cuCtxSetCurrent", self._context, doing="making the context current")

    def memory_info(self) -> tuple[int, int]:
        free, total = self.driver("cuMemGetInfo", doing="asking for the free memory")
        return int(free), int(total)

    def malloc(self, nbytes: int) -> DeviceBuffer:
        code, *results = self.driver.call("cuMemAlloc", nbytes)
        if code == _OUT_OF_MEMORY:
            raise out_of_memory(nbytes, self.memory_info()[0])
        if code != "CUDA_SUCCESS":
            raise cuda_error(code, f"allocating device memory, {nbytes} bytes")
        pointer = int(results[0])
        free = partial(self.driver, "cuMemFree", pointer, doing="freeing device memory")
        return DeviceBuffer(pointer, nbytes, free)

    def pinned(self, nbytes: int) -> PinnedBuffer:
        # Flags 0: not write-combined, which would be slow to read labels from.
        doing = f"page-locking host memory, {nbytes} bytes"
        pointer = int(self.driver("cuMemHostAlloc", nbytes, 0, doing=doing))
        memory = (ctypes.c_uint8 * nbytes).from_address(pointer)
        free = partial(self.driver, "cuMemFreeHost", pointer, doing="freeing pinned memory")
        return PinnedBuffer(np.frombuffer(memory, np.uint8), free)

    def stream(self) -> Stream:
        return _Stream(self.driver)

    def event(self, *, timing: bool = False) -> Event:
        return _Event(self.driver, timing=timing)

    def copy_to_device(self, device: int, host: int, nbytes: int, stream: Stream) -> None:
        doing = f"copying {nbytes} bytes to the GPU"
        self.driver("cuMemcpyHtoDAsync", device, host, nbytes, stream.handle, doing=doing)

    def copy_to_host(self, host: int, device: int, nbytes: int, stream: Stream) -> None:
        doing = f"copying {nbytes} bytes from the GPU"
        self.driver("cuMemcpyDtoHAsync", host, device, nbytes, stream.handle, doing=doing)

    def load_kernels(self, image: bytes, names: Sequence[str]) -> dict[str, Kernel]:
        driver, doing = self.driver, "loading the kernels"
        if not image:
            raise cuda_error("CUDA_ERROR_INVALID_IMAGE", doing)
        # PTX is text and must end in a zero; a cubin knows its own size.
        module = driver("cuModuleLoadData", image + b"\0", doing=doing)
        kernels: dict[str, Kernel] = {}
        try:
            for name in names:
                doing = f"looking for the kernel {name}"
                function = driver("cuModuleGetFunction", module, name.encode(), doing=doing)
                kernels[name] = _Kernel(driver, function, name)
        except BackendError:
            with contextlib.suppress(BackendError):
                driver("cuModuleUnload", module, doing="unloading the kernels")
            raise
        self._modules.append(module)
        return kernels

    def begin_capture(self, stream: Stream) -> None:
        # Thread-local: what other threads of the program allocate meanwhile must not spoil it.
        mode = self.driver.module.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self.driver("cuStreamBeginCapture", stream.handle, mode, doing="beginning a capture")

    def end_capture(self, stream: Stream) -> Graph:
        graph = self.driver("cuStreamEndCapture", stream.handle, doing="ending a capture")
        try:
            executable = self.driver("cuGraphInstantiate", graph, 0, doing="making a CUDA graph")
        finally:
            self.driver("cuGraphDestroy", graph, doing="freeing a recording")
        return _Graph(self.driver, executable, "cuGraphExecDestroy", "a CUDA graph")

    def close(self) -> None:
        if self._context is None:
            return
        self.make_current()
        self._context = None
        for module in self._modules:
            # After a crash of the GPU this fails as well, and that error has been seen.
            with contextlib.suppress(BackendError):
                self.driver("cuModuleUnload", module, doing="unloading the kernels")
        self._modules.clear()
        self.driver("cuDevicePrimaryCtxRelease", self._gpu, doing="closing the GPU")

    def _attribute(self, which: str) -> int:
        name = f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{which}"
        attribute = getattr(self.driver.module.CUdevice_attribute, name)
        doing = "asking for the compute capability"
        return int(self.driver("cuDeviceGetAttribute", attribute, self._gpu, doing=doing))
