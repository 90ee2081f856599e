"""What a run trains on, and its batches: crops cut on the host, or where all frames are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from roadseg.core.errors import DataError
from roadseg.core.types import Image, Labels
from roadseg.training.augment import (
    CAMVID_TARGETS,
    CropTargets,
    augment,
    draw_centre,
    rare_places,
)
from roadseg.training.augment_batch import crop_batch, draw_plan, on_its_way
from roadseg.training.balance import ClassFrequencies, class_frequencies, class_weights, rare_ids
from roadseg.training.distributed import World
from roadseg.training.recipes import Recipe
from roadseg.training.spec import RunSpec

LabelledFrame = tuple[Image, Labels]

# Places of each rare class that are remembered per frame: more show no more of a pole.
_MAX_PLACES = 2048


@dataclass(frozen=True)
class Share:
    """The part of each batch that one of several processes makes: number `rank` of `world`."""

    rank: int = 0
    world: int = 1


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


class Feed(ABC):
    """Batches of random crops, one epoch after the other.

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
        self._recipe, self._device, self._targets = recipe, device, targets
        self._order = _Order(len(frames), len(extra), recipe, share)
        self._keep([*frames, *extra])

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return self._order.steps_per_epoch

    def epoch(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(N, 3, h, w) float BGR in 0..1 and (N, h, w) int64 ids, on the device.

        The same seed and epoch give the same batches, whatever ran before.
        """
        for chosen, rng in self._order.batches(seed, epoch):
            yield self._cut(chosen, rng)

    @abstractmethod
    def _keep(self, frames: list[LabelledFrame]) -> None:
        """Take the frames that crops are cut from."""

    @abstractmethod
    def _cut(
        self, chosen: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """A crop of each chosen frame, as a batch."""


class HostFeed(Feed):
    """Crops cut one by one with OpenCV: the fastest way on a CPU."""

    def _keep(self, frames: list[LabelledFrame]) -> None:
        self._frames = frames

    def _cut(
        self, chosen: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        settings, crop_hw = self._recipe.augmentation, self._recipe.crop_hw
        crops = [
            augment(image, labels, crop_hw, settings, rng, self._targets)
            for image, labels in (self._frames[i] for i in chosen)
        ]
        return to_batch(crops, self._device)


class DeviceFeed(Feed):
    """Crops cut as tensor operations, from frames of one size that all stay on the device.

    367 frames of 360x480 take 254 MB as uint8.
    """

    def _keep(self, frames: list[LabelledFrame]) -> None:
        self._images = torch.from_numpy(np.stack([x for x, _ in frames])).to(self._device)
        self._labels = torch.from_numpy(np.stack([y for _, y in frames])).to(self._device)
        self._places = [_some_places(labels, self._targets.rare_ids) for _, labels in frames]

    def _cut(
        self, chosen: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        settings, crop_hw = self._recipe.augmentation, self._recipe.crop_hw
        frame_hw = (self._labels.shape[1], self._labels.shape[2])
        centres = [
            draw_centre(frame_hw, settings, rng, partial(self._places.__getitem__, i))
            for i in chosen
        ]
        plan = draw_plan(chosen, np.array(centres), frame_hw, crop_hw, settings, rng)
        return crop_batch(self._images, self._labels, plan, crop_hw, self._targets.void_id)


def build_feed(
    frames: Sequence[LabelledFrame],
    extra: Sequence[LabelledFrame],
    recipe: Recipe,
    device: torch.device,
    share: Share = Share(),
    targets: CropTargets = CAMVID_TARGETS,
) -> Feed:
    """The feed that is fastest on a device: its own memory holds the frames if it is a GPU's.

    There, frames of several sizes are no tensor, and too many leave no room for training: crops
    of such are cut on the host, one by one. For the arguments see `Feed`.
    """
    every = [*frames, *extra]
    if device.type == "cuda" and len({labels.shape for _, labels in every}) == 1:
        needed = sum(image.nbytes + labels.nbytes for image, labels in every)
        free, _ = torch.cuda.mem_get_info(device)
        if needed <= free // 2:
            return DeviceFeed(frames, extra, recipe, device, share, targets)
    return HostFeed(frames, extra, recipe, device, share, targets)


def to_batch(crops: Sequence[LabelledFrame], device: torch.device) -> tuple[Tensor, Tensor]:
    """Labelled pictures of one size as a batch; see `Feed.epoch`."""
    images = on_its_way(np.stack([x for x, _ in crops]), device)
    labels = on_its_way(np.stack([y for _, y in crops]), device)
    # (N, H, W, 3) permuted is channels-last already: no copy of the layout is made.
    return images.permute(0, 3, 1, 2).float().div_(255), labels.long()


def _some_places(labels: Labels, rare_ids: tuple[int, ...]) -> list[npt.NDArray[np.int32]]:
    """What `rare_places` finds, thinned out evenly."""
    return [
        at[:: max(1, len(at) // _MAX_PLACES)].astype(np.int32)
        for at in rare_places(labels, rare_ids)
    ]


@dataclass(frozen=True)
class TrainingData:
    """The frames of a run.

    Attributes:
        feed: training batches.
        frames: the training frames, for batch-norm statistics.
        validation: labelled frames that choose the snapshot.
        class_weights: (C,) of the classes in the cross-entropy.
    """

    feed: Feed
    frames: Sequence[LabelledFrame]
    validation: Sequence[LabelledFrame]
    class_weights: npt.NDArray[np.float32]


def read_data(spec: RunSpec, place: World) -> TrainingData:
    """Read all frames of a run.

    Args:
        spec: of the run.
        place: the process, which makes its part of each batch on its device.

    Raises:
        DataError: a frame or label is unusable, or all labels are void.
    """
    classes, recipe = spec.classes, spec.recipe
    frequencies = class_frequencies(spec.data)
    frames, validation = list(spec.data), list(spec.validation)
    counted = ClassFrequencies.of((labels for _, labels in validation), classes.num_classes)
    for part, found in ((spec.data, frequencies), (spec.validation, counted)):
        if not found.pixels.any():
            raise DataError(
                f"every pixel of the {part.split} labels of {part.root} is void",
                fix=f"look at one of them, {part.pairs[0][1]}",
            )
    targets = CropTargets(classes.void_id, rare_ids(frequencies, classes))
    share = Share(place.rank, place.size)
    feed = build_feed(frames, list(spec.extra or ()), recipe, place.device, share, targets)
    weights = class_weights(frequencies, recipe.class_weighting, classes)
    return TrainingData(feed, frames, validation, weights)
