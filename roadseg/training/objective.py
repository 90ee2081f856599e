"""What a batch costs: the losses of scores, auxiliary scores and a teacher's, put together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.core.backend import SIDE_MULTIPLE
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.models.abilities import has_auxiliary_head
from roadseg.training.losses import SegmentationLoss, distillation_loss
from roadseg.training.recipes import Recipe


class Objective:
    """The loss of a network on a batch, in bfloat16 where that is what the device is fast at.

    Args:
        weights: (C,) of the classes in the cross-entropy.
        recipe: which losses, and how much of each.
        device: where networks and batches are.
        teacher: a network whose scores are learnt from, too.
        classes: what the labels tell apart.
    """

    def __init__(
        self,
        weights: npt.NDArray[np.float32],
        recipe: Recipe,
        device: torch.device,
        teacher: nn.Module | None = None,
        classes: ClassSet = CAMVID,
    ) -> None:
        self._recipe, self._device = recipe, device
        self._teacher = None if teacher is None else on_device(teacher.eval(), device)
        self._loss = SegmentationLoss(
            weights,
            recipe.jaccard_weight,
            label_smoothing=recipe.label_smoothing,
            hard_share=recipe.hard_share,
            void_id=classes.void_id,
        ).to(device)
        # Found out once: asked in every step, it would tear a compiled step apart.
        self._half_precision = is_fast_in_half_precision(device)

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Forward and loss.

        Args:
            model: in training mode.
            images: (N, 3, h, w) float BGR in 0..1.
            labels: (N, h, w) int64 ids.

        Returns:
            A scalar.
        """
        weight = self._recipe.auxiliary_weight
        with self.autocast():
            if weight > 0 and has_auxiliary_head(model):
                scores, auxiliary = model.forward_with_auxiliary(images)
            else:
                scores, auxiliary = model(images), None
        total: Tensor = self._loss(scores, labels)
        if auxiliary is not None:
            small = F.interpolate(
                labels[:, None].float(), size=auxiliary.shape[-2:], mode="nearest-exact"
            )
            total = total + weight * self._loss(auxiliary, small[:, 0].long())
        if self._teacher is not None:
            with torch.no_grad(), self.autocast():
                opinion = _opinion(self._teacher, images, self._recipe.teacher_scale)
            distance = distillation_loss(scores, opinion, labels, self._recipe.temperature)
            total = total + self._recipe.teacher_weight * distance
        return total

    def autocast(self) -> torch.autocast:
        """bfloat16 arithmetic where the device has units for it."""
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._half_precision)


def _opinion(teacher: nn.Module, images: Tensor, scale: float) -> Tensor:
    """(N, C, h, w) scores of a teacher that sees (N, 3, h, w) images enlarged."""
    if scale == 1:
        scores: Tensor = teacher(images)
        return scores
    usual_hw = images.shape[-2:]
    larger_hw = [max(round(side * scale / SIDE_MULTIPLE), 1) * SIDE_MULTIPLE for side in usual_hw]
    larger = F.interpolate(images, size=larger_hw, mode="bilinear", align_corners=False)
    scores = teacher(larger).float()
    return F.interpolate(
        scores, size=usual_hw, mode="bilinear", align_corners=False, antialias=True
    )


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a network, in the layout in which convolutions are fast, on the CPU as on a GPU."""
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]


def is_fast_in_half_precision(device: torch.device) -> bool:
    """Whether a device has units for bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
