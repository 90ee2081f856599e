"""A stand-in of `pycuda.driver` that works on simulated memory."""

from __future__ import annotations

import ctypes
import enum
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from roadseg.core.errors import BackendError
from roadseg.cuda.pycuda.errors import _CODES
from roadseg.testing.cuda import SimulatedCuda
from tests.support.cuda.simulation import FILL_TYPES, code_in, simulated


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
