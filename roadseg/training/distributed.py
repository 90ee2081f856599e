"""One process per GPU, as torchrun starts them; a single process is a world of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn

from roadseg.core.errors import BackendError, first_line


@dataclass(frozen=True)
class World:
    """Where this process stands among those that train together.

    Attributes:
        rank: its number; 0 validates and writes.
        size: how many there are.
        device: what it trains on.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this is the process that validates and writes."""
        return self.rank == 0

    def parallel(self, model: nn.Module) -> nn.Module:
        """`model` with gradients averaged over all processes; itself in a world of one."""
        if self.size == 1:
            return model
        if self.device.type == "cuda":
            # Batches are small on each GPU: statistics over all of them are steadier.
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
            return nn.parallel.DistributedDataParallel(model, device_ids=[self.device.index])
        return nn.parallel.DistributedDataParallel(model)

    def agree(self, value: float) -> float:
        """The value of the leading process, on all."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, src=0)
        return float(shared.item())

    def mean(self, value: float) -> float:
        """The mean of the values of all processes, on all."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.all_reduce(shared)
        return float(shared.item()) / self.size


@contextmanager
def world() -> Iterator[World]:
    """Join the processes that torchrun started; it says so in the environment.

    Raises:
        BackendError: they cannot find each other, or there are fewer GPUs than processes.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    local = int(os.environ.get("LOCAL_RANK", 0))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus and local >= gpus:
        raise BackendError(
            f"torchrun started {local + 1} or more processes for {gpus} GPUs",
            fix=f"torchrun --nproc-per-node {gpus}",
        )
    device = torch.device("cuda", local) if gpus else torch.device("cpu")
    if gpus:
        torch.cuda.set_device(device)
    if size == 1:
        yield World(0, 1, device)
        return
    try:
        distributed.init_process_group("nccl" if gpus else "gloo")
    except (RuntimeError, ValueError) as exc:
        detail = first_line(exc)
        raise BackendError(
            f"the processes of torchrun cannot find each other ({detail})",
            fix="start them with torchrun --nproc-per-node GPUS -m roadseg train ...",
        ) from exc
    try:
        yield World(rank, size, device)
    finally:
        distributed.destroy_process_group()
