"""The plugins' kernels on the GPU: compiled and loaded when first needed, then kept."""

from __future__ import annotations

from roadseg.cuda.api import Cuda, DeviceInfo, Kernel
from roadseg.cuda.load import load_cuda
from roadseg.kernels.kernels import variants
from roadseg.kernels.nvrtc import compile_kernels, newer_than_driver, nvrtc_version


class LoadedKernels:
    """All kernels of one GPU.

    Loading compiles, allocates and synchronises, none of which is allowed while a stream is being
    captured; so it happens in `load`, and `kernel` only looks up.
    """

    def __init__(self, cuda: Cuda | None = None, image: bytes | None = None) -> None:
        """Prepare to load; nothing happens yet.

        Args:
            cuda: the GPU; None takes the first, when the kernels are first needed.
            image: the compiled kernels; None compiles them, or takes them from the user's cache.
        """
        self._cuda = cuda
        self._image = image
        self._kernels: dict[str, Kernel] = {}

    @property
    def cuda(self) -> Cuda | None:
        """The GPU that was given, or that the kernels were loaded on."""
        return self._cuda

    def load(self) -> None:
        """Compile and load; a second call does nothing.

        Raises:
            BackendError: no GPU, no compiler, one that is newer than the driver, or the driver
                refuses the code.
        """
        if self._kernels:
            return
        if self._cuda is None:
            self._cuda = load_cuda()
        if self._image is None:
            self._image = compile_for(self._cuda.device)
        self._cuda.make_current()
        symbols = [variant.symbol for variant in variants()]
        self._kernels = self._cuda.load_kernels(self._image, symbols)

    def kernel(self, symbol: str) -> Kernel:
        """A loaded kernel.

        Raises:
            RuntimeError: before `load`: loading now could break a capture.
        """
        if not self._kernels:
            raise RuntimeError(f"{symbol} is wanted before the kernels were loaded")
        return self._kernels[symbol]


def compile_for(device: DeviceInfo, *, text: str | None = None) -> bytes:
    """Machine code for a GPU, that its driver can load.

    Args:
        device: the GPU.
        text: other CUDA C than that of the kernels.

    Raises:
        BackendError: no compiler, or one of a newer CUDA than the driver's: drivers load code of
            their major version and of older ones.
    """
    version = nvrtc_version()
    if version[0] > device.driver_cuda[0]:
        raise newer_than_driver(version, device.driver_cuda, "cubin")
    return compile_kernels(device.compute_capability, text=text)
