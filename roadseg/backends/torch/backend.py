"""PyTorch: the reference that the other backends are compared with, and the fast way on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from roadseg.core.backend import BackendInfo, check_batch
from roadseg.core.errors import BackendError, first_line
from roadseg.core.installing import install
from roadseg.core.wording import option

if TYPE_CHECKING:
    from roadseg.core.backend import Backend


@contextmanager
def full_fp32(device: Any) -> Iterator[None]:
    """Convolutions in FP32 within the block; by default PyTorch shortens them to TF32 on a GPU.

    It holds for the whole process. On a CPU nothing is shortened.
    """
    if device.type != "cuda":
        yield
        return
    cudnn = _import_torch().backends.cudnn
    # Newer versions warn where the older way is taken.
    newer = hasattr(getattr(cudnn, "conv", None), "fp32_precision")
    owner, name, full = (
        (cudnn.conv, "fp32_precision", "ieee") if newer else (cudnn, "allow_tf32", False)
    )
    before = getattr(owner, name)
    setattr(owner, name, full)
    try:
        yield
    finally:
        setattr(owner, name, before)


def open_torch_backend(
    weights: Path,
    network_hw: tuple[int, int],
    *,
    name: str | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Backend:
    """The fastest backend that PyTorch offers: FP16 in CUDA graphs on a GPU, FP32 on the CPU.

    Args:
        weights: a file of weights of `roadseg train`.
        network_hw: height and width of the input; any size.
        name: the model's name, for reports; default: the network's name in the file.
        threads: CPU threads, of the whole process; default: PyTorch's choice.
        device: `cpu`, `cuda`, `cuda:1`...; default: `cuda` where there is a GPU, else `cpu`.

    Raises:
        BackendError: PyTorch is missing, or has no such device or memory.
        ModelError: the weights cannot be used.
    """
    torch = _import_torch()
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if not chosen.startswith("cuda"):
        return TorchBackend(weights, network_hw, name=name, threads=threads, device=chosen)
    from roadseg.backends.torch_cuda.backend import TorchCudaBackend
    from roadseg.models import load_weights

    if threads is not None:
        torch.set_num_threads(threads)
    model, meta = load_weights(weights)
    return TorchCudaBackend(model, network_hw, name=name or str(meta["model"]), device=chosen)


class TorchBackend:
    """A network run by PyTorch in FP32, operation by operation; on the GPU if PyTorch sees one.

    Args:
        weights: a file of weights of `roadseg train`.
        network_hw: height and width of the input; any size.
        name: the model's name, for reports; default: the network's name in the file.
        threads: CPU threads, of the whole process; default: PyTorch's choice.
        device: `cpu`, `cuda`, `cuda:1`...; default: `cuda` where there is a GPU, else `cpu`.

    Raises:
        BackendError: PyTorch is missing, or has no such device.
        ModelError: the weights cannot be used.
    """

    def __init__(
        self,
        weights: Path,
        network_hw: tuple[int, int],
        *,
        name: str | None = None,
        threads: int | None = None,
        device: str | None = None,
    ) -> None:
        torch = _import_torch()
        from roadseg.models import load_weights

        if threads is not None:
            torch.set_num_threads(threads)
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model, meta = load_weights(weights)
        try:
            self._device: Any = torch.device(chosen)
            # The stubs of some PyTorch versions do not know `memory_format`.
            placed = cast(Any, model).to(self._device, memory_format=torch.channels_last)
        except (RuntimeError, AssertionError) as exc:
            raise BackendError(
                f"PyTorch cannot use the device {chosen!r} ({first_line(exc)})", fix="use cpu"
            ) from exc
        self._model: Any = placed.eval()
        self.network_hw = network_hw
        if self._device.type == "cuda":
            where = str(torch.cuda.get_device_name(self._device))
        else:
            count = torch.get_num_threads()
            where = f"CPU ({count} {'thread' if count == 1 else 'threads'})"
        self.info = BackendInfo(
            name="torch", model=name or str(meta["model"]), precision="fp32", device=where
        )

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `Backend.infer`.

        Raises:
            ValueError: the batch has another shape or dtype.
            BackendError: PyTorch failed, for example for lack of memory, or the backend is closed.
        """
        torch = _import_torch()
        labels: npt.NDArray[np.uint8] = self._run(
            batch_bgr, lambda scores: scores.argmax(dim=1).to(torch.uint8)
        )
        return labels

    def _run(self, batch_bgr: npt.NDArray[np.uint8], finish: Callable[[Any], Any]) -> Any:
        """What `finish` makes of the scores, (N, classes, h, w) float32, as an array."""
        check_batch(batch_bgr, self.network_hw)
        if self._model is None:
            raise BackendError("the torch backend is closed", fix="create another one")
        torch = _import_torch()
        try:
            with torch.inference_mode(), full_fp32(self._device):
                # A copy: frames are read-only at times, which PyTorch cannot express.
                frames = torch.from_numpy(np.array(batch_bgr, order="C")).to(self._device)
                scores = self._model(frames.permute(0, 3, 1, 2).float().div_(255))
                return finish(scores).cpu().numpy()
        except RuntimeError as exc:
            raise BackendError(
                f"PyTorch failed while inferring ({first_line(exc)})",
                fix=f"use a smaller {option('--size')}, or another {option('--backend')}",
            ) from exc

    def close(self) -> None:
        """Give the network back; a second call does nothing."""
        self._model = None


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as exc:
        raise BackendError(
            f"the torch backend needs PyTorch, which cannot be loaded ({first_line(exc)})",
            fix=install("train"),
        ) from exc
    return torch
