"""CUDA through pycuda, which comes as source: for machines without cuda-bindings.

pycuda gives memory, streams, events, and kernels in streams of its own. It cannot capture graphs
(`supports_graphs` is False), nor launch a kernel into a stream of TensorRT or PyTorch.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any, NoReturn

import numpy as np

from roadseg.core.errors import BackendError
from roadseg.core.installing import gpu_extra, install
from roadseg.cuda.api import DeviceBuffer, DeviceInfo, Kernel, PinnedBuffer, Stream
from roadseg.cuda.driver import check_version
from roadseg.cuda.failure import GpuError, cuda_error, no_such_gpu, out_of_memory
from roadseg.cuda.pycuda.errors import code_of
from roadseg.cuda.pycuda.objects import PycudaEvent, PycudaKernel, PycudaStream, host_memory


class PycudaCuda:
    """CUDA through pycuda, in the primary context, which PyTorch and TensorRT use.

    Args:
        module: `pycuda.driver`.
        version: of pycuda, for reports.
        index: the GPU's number.
        set_current: the driver's `cuCtxSetCurrent`: from a context's handle to an error code.

    Raises:
        BackendError: no driver, an old one, no GPU, or none of that number.
    """

    supports_graphs = False

    def __init__(
        self, module: Any, version: str, index: int = 0, *, set_current: Callable[[int], int]
    ) -> None:
        self.pycuda = module
        self.name = f"pycuda {version}"
        self._set_current = set_current
        # For kernels: pycuda wants its own object where the interface has a handle.
        self.streams: MutableMapping[int, PycudaStream] = weakref.WeakValueDictionary()
        self._modules: list[Any] = []
        with self.translated("starting CUDA"):
            driver_cuda = check_version(module.get_driver_version())
            module.init()
            count = module.Device.count()
        if count == 0:
            raise cuda_error("CUDA_ERROR_NO_DEVICE", "counting the GPUs")
        if not 0 <= index < count:
            raise no_such_gpu(index, count)
        with self.translated("opening the GPU"):
            gpu = module.Device(index)
            self._context = gpu.retain_primary_context()
            major, minor = gpu.compute_capability()
            self.device = DeviceInfo(
                index, gpu.name(), (major, minor), int(gpu.total_memory()), driver_cuda
            )
        self._detach = weakref.finalize(self, _detach, self._context)
        self.make_current()

    def make_current(self) -> None:
        # Not pycuda's `push`: it ends the process when a thread ends that did not `pop`.
        doing = "making the context current"
        self._require_open(doing)
        number = self._set_current(int(self._context.handle))
        if number != 0:
            raise cuda_error(f"error {number}", doing)

    def memory_info(self) -> tuple[int, int]:
        with self.active("asking for the free memory"):
            free, total = self.pycuda.mem_get_info()
        return int(free), int(total)

    def malloc(self, nbytes: int) -> DeviceBuffer:
        try:
            with self.active(f"allocating device memory, {nbytes} bytes"):
                allocation = self.pycuda.mem_alloc(nbytes)
        except GpuError as exc:
            if exc.code == "CUDA_ERROR_OUT_OF_MEMORY":
                raise out_of_memory(nbytes, self.memory_info()[0]) from exc
            raise

        def free() -> None:
            with self.active("freeing device memory"):
                allocation.free()

        return DeviceBuffer(int(allocation), nbytes, free)

    def pinned(self, nbytes: int) -> PinnedBuffer:
        with self.active(f"page-locking host memory, {nbytes} bytes"):
            array = self.pycuda.pagelocked_empty(nbytes, np.uint8)
        allocation = array.base

        def free() -> None:
            with self.active("freeing pinned memory"):
                allocation.free()

        return PinnedBuffer(array, free)

    def stream(self) -> PycudaStream:
        return PycudaStream(self)

    def event(self, *, timing: bool = False) -> PycudaEvent:
        return PycudaEvent(self, timing=timing)

    def copy_to_device(self, device: int, host: int, nbytes: int, stream: Stream) -> None:
        assert isinstance(stream, PycudaStream)
        with self.translated(f"copying {nbytes} bytes to the GPU"):
            self.pycuda.memcpy_htod_async(device, host_memory(host, nbytes), stream.inner)

    def copy_to_host(self, host: int, device: int, nbytes: int, stream: Stream) -> None:
        assert isinstance(stream, PycudaStream)
        with self.translated(f"copying {nbytes} bytes from the GPU"):
            self.pycuda.memcpy_dtoh_async(host_memory(host, nbytes), device, stream.inner)

    def load_kernels(self, image: bytes, names: Sequence[str]) -> dict[str, Kernel]:
        doing = "loading the kernels"
        if not image:
            raise cuda_error("CUDA_ERROR_INVALID_IMAGE", doing)
        with self.active(doing):
            module = self.pycuda.module_from_buffer(image + b"\0")
        found: dict[str, Kernel] = {}
        for name in names:
            with self.active(f"looking for the kernel {name}"):
                found[name] = PycudaKernel(self, module.get_function(name), name)
        self._modules.append(module)
        return found

    def begin_capture(self, stream: Stream) -> NoReturn:
        del stream
        raise _no_graphs()

    def end_capture(self, stream: Stream) -> NoReturn:
        del stream
        raise _no_graphs()

    def close(self) -> None:
        if not self._detach.alive:
            return
        # After a crash of the GPU this fails as well, and that error has been seen.
        with contextlib.suppress(BackendError), self.active("unloading the kernels"):
            self._modules.clear()
        self._detach()

    @contextlib.contextmanager
    def active(self, doing: str) -> Iterator[None]:
        """Let pycuda know its context while it makes or frees something, on any thread."""
        self._require_open(doing)
        with self.translated(doing):
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()

    @contextlib.contextmanager
    def translated(self, doing: str) -> Iterator[None]:
        """pycuda's errors as ours."""
        try:
            yield
        except self.pycuda.Error as exc:
            raise cuda_error(code_of(str(exc)), doing) from exc

    def _require_open(self, doing: str) -> None:
        if not self._detach.alive:
            raise cuda_error("CUDA_ERROR_CONTEXT_IS_DESTROYED", doing)


def _no_graphs() -> BackendError:
    return BackendError("pycuda has no CUDA graphs", fix=install(gpu_extra()))


def _detach(context: Any) -> None:
    # pycuda only releases a context that is the current one of this thread.
    context.push()
    context.detach()
