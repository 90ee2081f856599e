"""CUDA through cuda-bindings, which installs from a wheel."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.core.errors import BackendError
from roadseg.cuda import launch
from roadseg.cuda.api import DeviceInfo, Event, Kernel, Stream
from roadseg.cuda.driver import Driver, open_device
from roadseg.cuda.failure import cuda_error, out_of_memory

_OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"


class BindingsBuffer:
    """See `roadseg.cuda.DeviceBuffer`."""

    def __init__(self, cuda: BindingsCuda, nbytes: int) -> None:
        self._driver = cuda.driver
        self._nbytes = nbytes
        code, *results = self._driver.call("cuMemAlloc", nbytes)
        if code == _OUT_OF_MEMORY:
            raise out_of_memory(nbytes, cuda.memory_info()[0])
        if code != "CUDA_SUCCESS":
            raise cuda_error(code, f"allocating device memory, {nbytes} bytes")
        self._pointer = int(results[0])
        self._freed = False

    @property
    def pointer(self) -> int:
        return self._pointer

    @property
    def nbytes(self) -> int:
        return self._nbytes

    def free(self) -> None:
        if not self._freed:
            self._freed = True
            self._driver("cuMemFree", self._pointer, doing="freeing device memory")


class BindingsPinned:
    """See `roadseg.cuda.PinnedBuffer`."""

    def __init__(self, driver: Driver, nbytes: int) -> None:
        self._driver = driver
        # Flags 0: not write-combined, which would be slow to read labels from.
        address = driver(
            "cuMemHostAlloc", nbytes, 0, doing=f"page-locking host memory, {nbytes} bytes"
        )
        self._pointer = int(address)
        memory = (ctypes.c_uint8 * nbytes).from_address(self._pointer)
        self._array: npt.NDArray[np.uint8] | None = np.frombuffer(memory, np.uint8)

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        if self._array is None:
            raise cuda_error("CUDA_ERROR_INVALID_VALUE", "using pinned memory that was given back")
        return self._array

    @property
    def pointer(self) -> int:
        return self._pointer

    def free(self) -> None:
        if self._array is not None:
            self._array = None
            self._driver("cuMemFreeHost", self._pointer, doing="freeing pinned memory")


class BindingsEvent:
    """See `roadseg.cuda.Event`."""

    def __init__(self, driver: Driver, *, timing: bool) -> None:
        self._driver = driver
        flags = driver.module.CUevent_flags
        flag = flags.CU_EVENT_DEFAULT if timing else flags.CU_EVENT_DISABLE_TIMING
        self._event = driver("cuEventCreate", int(flag), doing="creating an event")

    @property
    def handle(self) -> Any:
        """The `CUevent`."""
        if self._event is None:
            raise cuda_error("CUDA_ERROR_INVALID_HANDLE", "using an event that was given back")
        return self._event

    def record(self, stream: Stream) -> None:
        self._driver("cuEventRecord", self.handle, stream.handle, doing="recording an event")

    def synchronize(self) -> None:
        self._driver("cuEventSynchronize", self.handle, doing="waiting for an event")

    def elapsed_ms(self, since: Event) -> float:
        assert isinstance(since, BindingsEvent)
        doing = "measuring the time between two events"
        return float(self._driver("cuEventElapsedTime", since.handle, self.handle, doing=doing))

    def close(self) -> None:
        if self._event is not None:
            event, self._event = self._event, None
            self._driver("cuEventDestroy", event, doing="freeing an event")


class BindingsStream:
    """See `roadseg.cuda.Stream`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        flag = int(driver.module.CUstream_flags.CU_STREAM_NON_BLOCKING)
        stream = driver("cuStreamCreate", flag, doing="creating a stream")
        self._stream = stream
        self._handle: int | None = int(stream)

    @property
    def handle(self) -> int:
        if self._handle is None:
            raise cuda_error("CUDA_ERROR_INVALID_HANDLE", "using a stream that was given back")
        return self._handle

    def wait(self, event: Event) -> None:
        assert isinstance(event, BindingsEvent)
        doing = "letting a stream wait"
        self._driver("cuStreamWaitEvent", self.handle, event.handle, 0, doing=doing)

    def synchronize(self) -> None:
        self._driver("cuStreamSynchronize", self.handle, doing="waiting for a stream")

    def close(self) -> None:
        if self._handle is not None:
            self._handle = None
            self._driver("cuStreamDestroy", self._stream, doing="freeing a stream")


class BindingsCuda:
    """CUDA through `cuda.bindings.driver`, in the primary context, which PyTorch and TensorRT use.

    Args:
        module: `cuda.bindings.driver`.
        version: of cuda-bindings, for reports.
        index: the GPU's number.

    Raises:
        BackendError: no driver, an old one, no GPU, or none of that number.
    """

    def __init__(self, module: Any, version: str, index: int = 0) -> None:
        self.driver = Driver(module)
        self._version = version
        self._gpu, driver_cuda = open_device(self.driver, index)
        self._modules: list[Any] = []
        doing = "opening the GPU"
        self._context = self.driver("cuDevicePrimaryCtxRetain", self._gpu, doing=doing)
        self.make_current()
        self._device = DeviceInfo(
            index=index,
            name=self.driver("cuDeviceGetName", 256, self._gpu, doing=doing)
            .split(b"\0")[0]
            .decode("utf-8", "replace"),
            compute_capability=(self._attribute("MAJOR"), self._attribute("MINOR")),
            total_bytes=int(self.driver("cuDeviceTotalMem", self._gpu, doing=doing)),
            driver_cuda=driver_cuda,
        )

    @property
    def name(self) -> str:
        return f"cuda-bindings {self._version}"

    @property
    def device(self) -> DeviceInfo:
        return self._device

    @property
    def supports_graphs(self) -> bool:
        return True

    def make_current(self) -> None:
        if self._context is None:
            raise cuda_error("CUDA_ERROR_CONTEXT_IS_DESTROYED", "making the context current")
        self.driver("cuCtxSetCurrent", self._context, doing="making the context current")

    def memory_info(self) -> tuple[int, int]:
        free, total = self.driver("cuMemGetInfo", doing="asking for the free memory")
        return int(free), int(total)

    def malloc(self, nbytes: int) -> BindingsBuffer:
        return BindingsBuffer(self, nbytes)

    def pinned(self, nbytes: int) -> BindingsPinned:
        return BindingsPinned(self.driver, nbytes)

    def stream(self) -> BindingsStream:
        return BindingsStream(self.driver)

    def event(self, *, timing: bool = False) -> BindingsEvent:
        return BindingsEvent(self.driver, timing=timing)

    def copy_to_device(self, device: int, host: int, nbytes: int, stream: Stream) -> None:
        doing = f"copying {nbytes} bytes to the GPU"
        self.driver("cuMemcpyHtoDAsync", device, host, nbytes, stream.handle, doing=doing)

    def copy_to_host(self, host: int, device: int, nbytes: int, stream: Stream) -> None:
        doing = f"copying {nbytes} bytes from the GPU"
        self.driver("cuMemcpyDtoHAsync", host, device, nbytes, stream.handle, doing=doing)

    def load_kernels(self, image: bytes, names: Sequence[str]) -> dict[str, Kernel]:
        module, kernels = launch.load_kernels(self.driver, image, names)
        self._modules.append(module)
        return dict(kernels)

    def begin_capture(self, stream: Stream) -> None:
        launch.begin_capture(self.driver, stream)

    def end_capture(self, stream: Stream) -> launch.BindingsGraph:
        return launch.end_capture(self.driver, stream)

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
