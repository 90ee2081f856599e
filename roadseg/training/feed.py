"""Where batches come from: crops cut on the host, or on the device that holds all frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from roadseg.errors import DataError
from roadseg.training.augment import CAMVID_TARGETS, CropTargets, augment
from roadseg.training.augment_batch import crop_batch, draw_plan
from roadseg.training.recipes import Recipe
from roadseg.types import Image, Labels

__all__ = ["DeviceFeed", "Feed", "HostFeed", "Share", "to_batch"]

LabelledFrame = tuple[Image, Labels]

# Places of each rare class that are remembered per frame: more show no more of a pole.
_MAX_PLACES = 2048


@dataclass(frozen=True)
class Share:
    """The part of each batch that one of several processes makes: number `rank` of `world`."""

    rank: int = 0
    world: int = 1


class Feed(Protocol):
    """Batches of one epoch after the other."""

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        ...

    def epoch(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(N, 3, h, w) float BGR in 0..1 and (N, h, w) int64 ids, on the device.

        The same seed and epoch give the same batches, whatever ran before.
        """
        ...


class _Order:
    """Which frames make up the batches of an epoch.

    Extra frames are numbered behind the own ones.
    """

    def __init__(self, own: int, extra: int, recipe: Recipe, share: Share) -> None:
        self._own, self._extra = own, extra
        self.batch_size = recipe.batch_size
        self.extra_per_batch = round(recipe.batch_size * recipe.extra_share) if extra else 0
        self._fresh = recipe.batch_size - self.extra_per_batch
        self.steps_per_epoch = max(1, own // self._fresh)
        self._share = share

    def batches(
        self, seed: int, epoch: int
    ) -> Iterator[tuple[npt.NDArray[np.int64], np.random.Generator]]:
        """Frames of this process's part of each batch, and what else about it is random."""
        # A generator of its own per epoch: a resumed run draws the very same crops. All processes
        # draw the same order, each takes its part, and each has a generator for the crops.
        rng = np.random.default_rng((seed, epoch))
        own = np.random.default_rng((seed, epoch, 1 + self._share.rank))
        order = rng.permutation(self._own)
        for start in range(0, self.steps_per_epoch * self._fresh, self._fresh):
            chosen = order[np.arange(start, start + self._fresh) % len(order)]
            if self.extra_per_batch:
                others = rng.integers(self._extra, size=self.extra_per_batch)
                chosen = np.concatenate([chosen, self._own + others])
            yield chosen[self._share.rank :: self._share.world], own


class HostFeed:
    """Crops cut one by one with OpenCV: the fastest way on a CPU.

    Args:
        frames: the training frames.
        extra: further ones, mixed in at the recipe's `extra_share`.
        recipe: batch and crop size, augmentation.
        device: where batches go.
        share: the part of each batch that this process makes.
        targets: which ids are void and rare.
    """

    def __init__(
        self,
        frames: Sequence[LabelledFrame],
        extra: Sequence[LabelledFrame],
        recipe: Recipe,
        device: torch.device,
        share: Share = Share(),
        targets: CropTargets = CAMVID_TARGETS,
    ) -> None:
        self._frames = [*frames, *extra]
        self._recipe, self._device, self._targets = recipe, device, targets
        self._order = _Order(len(frames), len(extra), recipe, share)

    @property
    def steps_per_epoch(self) -> int:
        """See `Feed`."""
        return self._order.steps_per_epoch

    def epoch(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Feed`."""
        recipe = self._recipe
        for chosen, rng in self._order.batches(seed, epoch):
            crops = []
            for i in chosen:
                image, labels = self._frames[i]
                crops.append(
                    augment(image, labels, recipe.crop_hw, recipe.augmentation, rng, self._targets)
                )
            yield to_batch(crops, self._device)


class DeviceFeed:
    """Crops cut as tensor operations, from frames that all stay on the device.

    367 frames of 360x480 take 254 MB as uint8.

    Args:
        frames, extra: as for `HostFeed`; all of one size.
        recipe, device, share, targets: as for `HostFeed`.

    Raises:
        DataError: frames differ in size.
    """

    def __init__(
        self,
        frames: Sequence[LabelledFrame],
        extra: Sequence[LabelledFrame],
        recipe: Recipe,
        device: torch.device,
        share: Share = Share(),
        targets: CropTargets = CAMVID_TARGETS,
    ) -> None:
        every = [*frames, *extra]
        sizes = {labels.shape for _, labels in every}
        if len(sizes) != 1:
            shown = " and ".join(f"{h}x{w}" for h, w in sorted(sizes)[:2])
            raise DataError(
                f"training on a GPU needs frames of one size, got {shown}: resize them first"
            )
        self._images = torch.from_numpy(np.stack([x for x, _ in every])).to(device)
        self._labels = torch.from_numpy(np.stack([y for _, y in every])).to(device)
        self._places = [_rare_places(labels, targets.rare_ids) for _, labels in every]
        self._recipe, self._device, self._targets = recipe, device, targets
        self._order = _Order(len(frames), len(extra), recipe, share)

    @property
    def steps_per_epoch(self) -> int:
        """See `Feed`."""
        return self._order.steps_per_epoch

    def epoch(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Feed`."""
        settings, crop_hw = self._recipe.augmentation, self._recipe.crop_hw
        frame_hw = (self._labels.shape[1], self._labels.shape[2])
        for chosen, rng in self._order.batches(seed, epoch):
            centres = np.array([self._centre(i, frame_hw, rng) for i in chosen])
            plan = draw_plan(chosen, centres, frame_hw, crop_hw, settings, rng)
            yield crop_batch(self._images, self._labels, plan, crop_hw, self._targets.void_id)

    def _centre(
        self, frame: int, frame_hw: tuple[int, int], rng: np.random.Generator
    ) -> tuple[float, float]:
        places = self._places[frame]
        if places and rng.random() < self._recipe.augmentation.rare_share:
            # First the class, then a pixel: the rarest has the same chance as the others.
            of_class = places[rng.integers(len(places))]
            y, x = divmod(int(of_class[rng.integers(len(of_class))]), frame_hw[1])
            return y + rng.uniform(-40, 40), x + rng.uniform(-60, 60)
        return rng.uniform(0, frame_hw[0]), rng.uniform(0, frame_hw[1])


def to_batch(crops: Sequence[LabelledFrame], device: torch.device) -> tuple[Tensor, Tensor]:
    """Labelled pictures of one size as a batch; see `Feed.epoch`."""
    images = torch.from_numpy(np.stack([x for x, _ in crops])).to(device)
    labels = torch.from_numpy(np.stack([y for _, y in crops])).to(device)
    # (N, H, W, 3) permuted is channels-last already: no copy of the layout is made.
    return images.permute(0, 3, 1, 2).float().div_(255), labels.long()


def _rare_places(labels: Labels, rare_ids: tuple[int, ...]) -> list[npt.NDArray[np.int32]]:
    """Flat positions of each rare class that occurs, thinned out evenly."""
    places = [np.flatnonzero(labels == i).astype(np.int32) for i in rare_ids]
    return [at[:: max(1, len(at) // _MAX_PLACES)] for at in places if len(at)]
