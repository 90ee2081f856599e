"""What a network and a device allow: the smallest crop, the largest batch."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from roadseg.core.errors import BackendError, UsageError, first_line
from roadseg.core.wording import option
from roadseg.models import build_model
from roadseg.models.abilities import classifier_bias
from roadseg.training.recipes import Recipe

# The words of PyTorch's allocators, of CUDA, of cuDNN and cuBLAS, and of oneDNN.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "ALLOC_FAILED",
    "could not create a primitive",
)


def check_batch(model_name: str, num_classes: int, recipe: Recipe, processes: int = 1) -> None:
    """Refuse what a network cannot be trained with, before anything is computed.

    Raises:
        UsageError: crops are too small for it, or a batch is for its batch normalisation;
            processes cannot have equal parts of a batch; or it has no bias for class biases.
    """
    count, (height, width) = recipe.batch_size, recipe.crop_hw
    if count % processes:
        raise UsageError(
            f"{processes} processes cannot share batches of {count} equally",
            fix=f"use a multiple of {processes} for batch_size in the recipe",
        )
    # On the meta device only shapes are worked out.
    with torch.device("meta"):
        network = build_model(model_name, num_classes).train()
        crops = torch.empty((count // processes, 3, height, width))
    if recipe.class_bias and classifier_bias(network) is None:
        raise UsageError(
            f"{model_name} has no bias in its last layer",
            fix="leave class_bias out of the recipe",
        )
    try:
        network(crops)
    except (RuntimeError, ValueError) as exc:
        raise UsageError(
            f"{model_name} cannot be trained on batches of {len(crops)} crops of "
            f"{height}x{width} ({first_line(exc)})",
            fix="use a larger crop_hw, or batch_size, in the recipe",
        ) from exc


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether an error says that the host or the device has no more memory to give."""
    if isinstance(exc, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(exc, RuntimeError) and any(word in str(exc) for word in _OUT_OF_MEMORY)


def largest_batch(below: int, step: Callable[[int], None]) -> int:
    """The largest halving of a batch for which a step has the memory it needs; 0 for none.

    Args:
        below: size of the batch that was too large.
        step: takes a training step on so many crops.
    """
    count = below // 2
    while count:
        try:
            step(count)
        except ValueError:  # batch normalisation needs more than one crop of a small map
            return 0
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
        else:
            return count
        count //= 2
    return 0


@contextmanager
def memory_explained(
    device: torch.device, recipe: Recipe, try_batch: Callable[[int], None] | None
) -> Iterator[None]:
    """Turns a lack of memory while batches are trained on into an error that names one that fits.

    Args:
        device: what lacks it.
        recipe: of the run.
        try_batch: takes a training step on so many crops; None where none can be tried.

    Raises:
        BackendError: there is a lack.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        # Its frames hold all that the step had come to.
        traceback.clear_frames(exc.__traceback__)
        height, width = recipe.crop_hw
        advice = "use a smaller batch_size"
        if try_batch is not None:
            fits = largest_batch(recipe.batch_size, try_batch)
            advice = f"batch_size = {fits} fits" if fits else "use a smaller crop_hw"
        raise BackendError(
            f"{device} has too little memory for batches of {recipe.batch_size} crops of "
            f"{height}x{width}",
            fix=f"{advice} (in a recipe of your own, a .toml file)",
        ) from exc


@contextmanager
def failures_explained(device: torch.device) -> Iterator[None]:
    """Turns what PyTorch says of a lack of memory, or of a compiler, into what to do about it.

    Raises:
        BackendError: there is a lack of either.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        reason = first_line(exc)
        if is_out_of_memory(exc):
            raise BackendError(
                f"{device} has too little memory ({reason})",
                fix="end other programs that use it, or use a smaller batch_size or crop_hw in the "
                "recipe",
            ) from exc
        compiler = sys.modules.get("torch._dynamo.exc")  # imported once something is compiled
        if compiler is not None and isinstance(exc, compiler.TorchDynamoException):
            raise BackendError(
                f"torch.compile cannot fuse the step ({reason})",
                fix=f"leave out {option('--compile', True, parameter='compiled')}, or install "
                "what it needs, a C++ compiler and on a GPU Triton",
            ) from exc
        raise
