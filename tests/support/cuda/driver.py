"""A stand-in of `cuda.bindings.driver` that works on simulated memory."""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from roadseg.core.errors import BackendError
from roadseg.testing.cuda import SimulatedCuda
from roadseg.testing.cuda.objects import SimulatedStream
from tests.support.cuda.simulation import FILL_TYPES, code_in, simulated


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
