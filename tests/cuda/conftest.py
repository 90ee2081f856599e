"""Stand-ins for `cuda.bindings.driver` and `pycuda.driver` that work on simulated memory."""

from __future__ import annotations

import ctypes
import enum
import re
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from roadseg.core.errors import BackendError
from roadseg.cuda import Cuda
from roadseg.cuda.bindings import BindingsCuda
from roadseg.cuda.pycuda_ import PycudaCuda
from roadseg.cuda.pycuda_errors import _CODES
from roadseg.testing.cuda import SimulatedCuda
from roadseg.testing.cuda.objects import SimulatedStream

TOTAL_BYTES = 64 * 2**20


def fill(grid: Any, block: Any, args: Any) -> None:
    """The kernel of these tests: `count` bytes at `offset` become twice `value`."""
    pointer, count, value, offset = (arg.value for arg in args)
    ctypes.memset(pointer + offset, int(value * 2) & 255, count)


FILL_TYPES = (ctypes.c_void_p, ctypes.c_int, ctypes.c_float, ctypes.c_int64)


def simulated() -> SimulatedCuda:
    return SimulatedCuda({"fill": fill}, total_bytes=TOTAL_BYTES)


def code_in(exc: BackendError) -> str:
    if "GPU out of memory" in str(exc):
        return "CUDA_ERROR_OUT_OF_MEMORY"
    found = re.search(r"CUDA_ERROR_\w+", str(exc))
    assert found is not None, str(exc)
    return found[0]


class StandInDriver:
    """`cuda.bindings.driver`: functions that return (result, values...) and take plain handles."""

    CUdevice_attribute = enum.IntEnum(
        "CUdevice_attribute",
        {
            "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": 75,
            "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": 76,
        },
    )
    CUevent_flags = enum.IntEnum(
        "CUevent_flags", {"CU_EVENT_DEFAULT": 0, "CU_EVENT_DISABLE_TIMING": 2}
    )
    CUstream_flags = enum.IntEnum("CUstream_flags", {"CU_STREAM_NON_BLOCKING": 1})
    CUstreamCaptureMode = enum.IntEnum(
        "CUstreamCaptureMode", {"CU_STREAM_CAPTURE_MODE_THREAD_LOCAL": 1}
    )

    def __init__(self, simulation: SimulatedCuda | None = None) -> None:
        self.simulation = simulation or simulated()
        self.objects: dict[int, Any] = {}
        self.version = 13000
        self.gpus = 1
        self.retained = 0
        self.failures: dict[str, str] = {}

    def _do(self, function: str, work: Callable[[], Any]) -> tuple[Any, ...]:
        if function in self.failures:
            return (SimpleNamespace(name=self.failures[function]),)
        try:
            value = work()
        except BackendError as exc:
            return (SimpleNamespace(name=code_in(exc)),)
        values = () if value is None else value if isinstance(value, tuple) else (value,)
        return (SimpleNamespace(name="CUDA_SUCCESS"), *values)

    def _keep(self, thing: Any, handle: int | None = None) -> int:
        number = id(thing) if handle is None else handle
        self.objects[number] = thing
        return number

    def stream(self, handle: int) -> SimulatedStream:
        # Known to all libraries of a process, whichever made it.
        return SimulatedStream(self.simulation, handle)

    def cuInit(self, Flags: int) -> Any:
        return self._do("cuInit", lambda: None)

    def cuDriverGetVersion(self) -> Any:
        return self._do("cuDriverGetVersion", lambda: self.version)

    def cuDeviceGetCount(self) -> Any:
        return self._do("cuDeviceGetCount", lambda: self.gpus)

    def cuDeviceGet(self, ordinal: int) -> Any:
        return self._do("cuDeviceGet", lambda: ordinal)

    def cuDeviceGetName(self, length: int, dev: int) -> Any:
        name = self.simulation.device.name.encode()
        return self._do("cuDeviceGetName", lambda: name.ljust(length, b"\0"))

    def cuDeviceGetAttribute(self, attrib: Any, dev: int) -> Any:
        return self._do(
            "cuDeviceGetAttribute",
            lambda: self.simulation.device.compute_capability[int(attrib) - 75],
        )

    def cuDeviceTotalMem(self, dev: int) -> Any:
        return self._do("cuDeviceTotalMem", lambda: self.simulation.device.total_bytes)

    def cuDevicePrimaryCtxRetain(self, dev: int) -> Any:
        self.retained += 1
        return self._do("cuDevicePrimaryCtxRetain", lambda: 77)

    def cuDevicePrimaryCtxRelease(self, dev: int) -> Any:
        self.retained -= 1
        return self._do("cuDevicePrimaryCtxRelease", lambda: None)

    def cuCtxSetCurrent(self, ctx: int) -> Any:
        assert ctx == 77
        return self._do("cuCtxSetCurrent", self.simulation.make_current)

    def cuMemGetInfo(self) -> Any:
        return self._do("cuMemGetInfo", self.simulation.memory_info)

    def cuMemAlloc(self, bytesize: int) -> Any:
        def allocate() -> int:
            buffer = self.simulation.malloc(bytesize)
            return self._keep(buffer, buffer.pointer)

        return self._do("cuMemAlloc", allocate)

    def cuMemFree(self, dptr: int) -> Any:
        return self._do("cuMemFree", lambda: self.objects.pop(dptr).free())

    def cuMemHostAlloc(self, bytesize: int, Flags: int) -> Any:
        def allocate() -> int:
            buffer = self.simulation.pinned(bytesize)
            return self._keep(buffer, buffer.pointer)

        return self._do("cuMemHostAlloc", allocate)

    def cuMemFreeHost(self, p: int) -> Any:
        return self._do("cuMemFreeHost", lambda: self.objects.pop(p).free())

    def cuMemcpyHtoDAsync(self, dstDevice: int, srcHost: int, ByteCount: int, hStream: int) -> Any:
        copy = self.simulation.copy_to_device
        return self._do(
            "cuMemcpyHtoDAsync",
            lambda: copy(dstDevice, srcHost, ByteCount, self.stream(hStream)),
        )

    def cuMemcpyDtoHAsync(self, dstHost: int, srcDevice: int, ByteCount: int, hStream: int) -> Any:
        copy = self.simulation.copy_to_host
        return self._do(
            "cuMemcpyDtoHAsync",
            lambda: copy(dstHost, srcDevice, ByteCount, self.stream(hStream)),
        )

    def cuStreamCreate(self, Flags: int) -> Any:
        assert Flags == 1

        def create() -> int:
            stream = self.simulation.stream()
            return self._keep(stream, stream.handle)

        return self._do("cuStreamCreate", create)

    def cuStreamDestroy(self, hStream: int) -> Any:
        return self._do("cuStreamDestroy", lambda: self.objects.pop(hStream).close())

    def cuStreamSynchronize(self, hStream: int) -> Any:
        return self._do("cuStreamSynchronize", lambda: self.stream(hStream).synchronize())

    def cuStreamWaitEvent(self, hStream: int, hEvent: int, Flags: int) -> Any:
        return self._do(
            "cuStreamWaitEvent", lambda: self.stream(hStream).wait(self.objects[hEvent])
        )

    def cuEventCreate(self, Flags: int) -> Any:
        return self._do(
            "cuEventCreate", lambda: self._keep(self.simulation.event(timing=Flags == 0))
        )

    def cuEventDestroy(self, hEvent: int) -> Any:
        return self._do("cuEventDestroy", lambda: self.objects.pop(hEvent).close())

    def cuEventRecord(self, hEvent: int, hStream: int) -> Any:
        return self._do("cuEventRecord", lambda: self.objects[hEvent].record(self.stream(hStream)))

    def cuEventSynchronize(self, hEvent: int) -> Any:
        return self._do("cuEventSynchronize", lambda: self.objects[hEvent].synchronize())

    def cuEventElapsedTime(self, hStart: int, hEnd: int) -> Any:
        return self._do(
            "cuEventElapsedTime",
            lambda: self.objects[hEnd].elapsed_ms(self.objects[hStart]),
        )

    def cuModuleLoadData(self, image: bytes) -> Any:
        def load() -> int:
            if image != b"// fill\0":
                raise BackendError("CUDA_ERROR_INVALID_IMAGE")
            self.simulation.load_kernels(image, [])
            return self._keep(SimpleNamespace())

        return self._do("cuModuleLoadData", load)

    def cuModuleGetFunction(self, hmod: int, name: bytes) -> Any:
        assert hmod in self.objects
        return self._do(
            "cuModuleGetFunction",
            lambda: self._keep(self.simulation.load_kernels(b"x", [name.decode()])[name.decode()]),
        )

    def cuModuleUnload(self, hmod: int) -> Any:
        return self._do("cuModuleUnload", lambda: self.objects.pop(hmod) and None)

    def cuLaunchKernel(
        self,
        f: int,
        gridDimX: int,
        gridDimY: int,
        gridDimZ: int,
        blockDimX: int,
        blockDimY: int,
        blockDimZ: int,
        sharedMemBytes: int,
        hStream: int,
        kernelParams: int,
        extra: int,
    ) -> Any:
        assert (sharedMemBytes, extra) == (0, 0)
        pointers = (ctypes.c_void_p * len(FILL_TYPES)).from_address(kernelParams)
        args = [
            kind.from_address(pointer) for kind, pointer in zip(FILL_TYPES, pointers, strict=True)
        ]
        return self._do(
            "cuLaunchKernel",
            lambda: self.objects[f].launch(
                (gridDimX, gridDimY, gridDimZ), (blockDimX, blockDimY, blockDimZ), args, hStream
            ),
        )

    def cuStreamBeginCapture(self, hStream: int, mode: Any) -> Any:
        assert mode == 1
        return self._do(
            "cuStreamBeginCapture", lambda: self.simulation.begin_capture(self.stream(hStream))
        )

    def cuStreamEndCapture(self, hStream: int) -> Any:
        return self._do(
            "cuStreamEndCapture",
            lambda: self._keep(self.simulation.end_capture(self.stream(hStream))),
        )

    def cuGraphInstantiate(self, hGraph: int, flags: int) -> Any:
        assert flags == 0
        graph = self.objects[hGraph]
        return self._do("cuGraphInstantiate", lambda: self._keep(SimpleNamespace(graph=graph)))

    def cuGraphDestroy(self, hGraph: int) -> Any:
        return self._do("cuGraphDestroy", lambda: self.objects.pop(hGraph) and None)

    def cuGraphExecDestroy(self, hGraphExec: int) -> Any:
        return self._do("cuGraphExecDestroy", lambda: self.objects.pop(hGraphExec).graph.close())

    def cuGraphLaunch(self, hGraphExec: int, hStream: int) -> Any:
        return self._do(
            "cuGraphLaunch",
            lambda: self.objects[hGraphExec].graph.launch(self.stream(hStream)),
        )


class StandInPycuda:
    """`pycuda.driver`: errors are exceptions with a text; only a pushed context makes things."""

    event_flags = enum.IntEnum("event_flags", {"DEFAULT": 0, "DISABLE_TIMING": 2})

    class Error(Exception):
        pass

    def __init__(self, simulation: SimulatedCuda | None = None) -> None:
        self.simulation = simulation or simulated()
        self.version = 13000
        self.gpus = 1
        self.pushed: dict[int, int] = {}
        self.detached = 0
        self.failures: dict[str, str] = {}
        stand_in = self

        def do(function: str, work: Callable[[], Any]) -> Any:
            if function in stand_in.failures:
                raise stand_in.Error(f"{function} failed: {stand_in.failures[function]}")
            try:
                return work()
            except BackendError as exc:
                text = {code: text for text, code in _CODES.items()}.get(code_in(exc), "unknown")
                raise stand_in.Error(f"{function} failed: {text}") from exc

        def require_pushed() -> None:
            if not stand_in.pushed.get(threading.get_ident()):
                raise stand_in.Error(
                    "explicit_context_dependent failed: invalid device context - "
                    "no currently active context?"
                )

        creator = threading.get_ident()

        def destroy(thing: Any) -> None:
            # Unlike a thread with the context pushed, only the creator can do without.
            if hasattr(thing, "inner") and not stand_in.detached:
                if threading.get_ident() != creator:
                    require_pushed()
                thing.inner.close()

        class Context:
            handle = 77

            def push(self) -> None:
                stand_in.simulation.make_current()
                thread = threading.get_ident()
                stand_in.pushed[thread] = stand_in.pushed.get(thread, 0) + 1

            @staticmethod
            def pop() -> None:
                require_pushed()
                stand_in.pushed[threading.get_ident()] -= 1

            def detach(self) -> None:
                require_pushed()
                stand_in.pushed[threading.get_ident()] -= 1
                stand_in.detached += 1

        class Device:
            def __init__(self, number: int) -> None:
                assert number == 0

            @staticmethod
            def count() -> int:
                return do("cuDeviceGetCount", lambda: stand_in.gpus)

            def name(self) -> str:
                return stand_in.simulation.device.name

            def compute_capability(self) -> tuple[int, int]:
                return stand_in.simulation.device.compute_capability

            def total_memory(self) -> int:
                return stand_in.simulation.device.total_bytes

            def retain_primary_context(self) -> Context:
                return do("cuDevicePrimaryCtxRetain", Context)

        class Stream:
            def __init__(self, flags: int = 0) -> None:
                require_pushed()
                assert flags == 1
                self.inner = do("cuStreamCreate", stand_in.simulation.stream)
                self.handle = self.inner.handle

            def __del__(self) -> None:
                destroy(self)

            def synchronize(self) -> None:
                do("cuStreamSynchronize", self.inner.synchronize)

            def wait_for_event(self, event: Event) -> None:
                do("cuStreamWaitEvent", lambda: self.inner.wait(event.inner))

        class Event:
            def __init__(self, flags: int = 0) -> None:
                require_pushed()
                self.inner = do(
                    "cuEventCreate", lambda: stand_in.simulation.event(timing=flags == 0)
                )

            def __del__(self) -> None:
                destroy(self)

            def record(self, stream: Stream | None = None) -> Event:
                assert stream is not None
                do("cuEventRecord", lambda: self.inner.record(stream.inner))
                return self

            def synchronize(self) -> Event:
                do("cuEventSynchronize", self.inner.synchronize)
                return self

            def time_since(self, start: Event) -> float:
                return do("cuEventElapsedTime", lambda: self.inner.elapsed_ms(start.inner))

        class DeviceAllocation:
            def __init__(self, nbytes: int) -> None:
                self.inner = do("cuMemAlloc", lambda: stand_in.simulation.malloc(nbytes))

            def __int__(self) -> int:
                return self.inner.pointer

            def free(self) -> None:
                require_pushed()
                do("cuMemFree", self.inner.free)

        class PinnedArray(np.ndarray):
            """An array whose `base` frees its memory, as pycuda's does."""

            @property
            def base(self) -> Any:
                return self.allocation

        class Function:
            def __init__(self, inner: Any) -> None:
                self.inner = inner

            def _launch_kernel(
                self, grid: Any, block: Any, parameters: bytes, shared: int, stream: Stream
            ) -> None:
                assert shared == 0
                offsets, args = (0, 8, 12, 16), []
                for kind, offset in zip(FILL_TYPES, offsets, strict=True):
                    args.append(kind.from_buffer_copy(parameters, offset))
                do("cuLaunchKernel", lambda: self.inner.launch(grid, block, args, stream.handle))

        class Module:
            def get_function(self, name: str) -> Function:
                load = stand_in.simulation.load_kernels
                return do("cuModuleGetFunction", lambda: Function(load(b"x", [name])[name]))

        def pagelocked_empty(shape: int, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
            require_pushed()
            inner = do("cuMemHostAlloc", lambda: stand_in.simulation.pinned(shape))
            array = inner.array.view(PinnedArray)
            array.allocation = inner
            return array

        def address_of(buffer: Any) -> int:
            return ctypes.addressof(buffer)

        def memcpy_htod_async(dest: int, src: Any, stream: Any = None) -> None:
            copy = stand_in.simulation.copy_to_device
            do(
                "cuMemcpyHtoDAsync",
                lambda: copy(dest, address_of(src), len(src), stream.inner),
            )

        def memcpy_dtoh_async(dest: Any, src: int, stream: Any = None) -> None:
            copy = stand_in.simulation.copy_to_host
            do(
                "cuMemcpyDtoHAsync",
                lambda: copy(address_of(dest), src, len(dest), stream.inner),
            )

        def module_from_buffer(buffer: bytes) -> Module:
            require_pushed()
            if buffer != b"// fill\0":
                raise stand_in.Error("cuModuleLoadDataEx failed: device kernel image is invalid - ")
            return Module()

        def mem_alloc(nbytes: int) -> DeviceAllocation:
            require_pushed()
            return DeviceAllocation(nbytes)

        self.Context, self.Device, self.Stream, self.Event = Context, Device, Stream, Event
        self.pagelocked_empty, self.module_from_buffer = pagelocked_empty, module_from_buffer
        self.memcpy_htod_async, self.memcpy_dtoh_async = memcpy_htod_async, memcpy_dtoh_async
        self.mem_alloc = mem_alloc
        self.mem_get_info = lambda: do("cuMemGetInfo", stand_in.simulation.memory_info)
        self.init = lambda flags=0: do("cuInit", lambda: None)
        self.get_driver_version = lambda: do("cuDriverGetVersion", lambda: stand_in.version)

    def set_current(self, handle: int) -> int:
        assert handle == 77
        self.simulation.make_current()
        return 0


class Implementation:
    """One implementation over stand-ins, and what lies below it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.simulation: SimulatedCuda | None = simulated()
        self.cuda: Cuda
        self.driver = StandInDriver(self.simulation)
        self.pycuda = StandInPycuda(self.simulation)
        if kind == "simulated":
            self.cuda = self.simulation
        elif kind == "bindings":
            self.cuda = BindingsCuda(self.driver, "13.5.0")
        elif kind == "fake-libcuda":
            from roadseg.cuda import load_cuda

            self.simulation = None
            self.cuda = load_cuda()
        else:
            self.cuda = PycudaCuda(self.pycuda, "2026.1", set_current=self.pycuda.set_current)


@pytest.fixture
def stand_in_driver() -> StandInDriver:
    return StandInDriver()


@pytest.fixture
def stand_in_pycuda() -> StandInPycuda:
    return StandInPycuda()


@pytest.fixture
def make_cuda() -> Iterator[Callable[[str], Implementation]]:
    made: list[Implementation] = []

    def make(kind: str) -> Implementation:
        made.append(Implementation(kind))
        return made[-1]

    yield make
    for implementation in made:
        implementation.cuda.close()
        # pycuda ends the process when a thread leaves a context on its stack.
        assert not any(implementation.pycuda.pushed.values())
        assert implementation.driver.retained == 0
