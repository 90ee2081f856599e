"""What training minimises: weighted cross-entropy, the soft Jaccard index, a teacher's opinion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.core.labels import VOID_ID


class SegmentationLoss(nn.Module):
    """Cross-entropy plus `jaccard_weight` times one minus the batch's mean soft IoU.

    The soft Jaccard index (Rahman and Wang 2016) stands for mIoU itself: a class counts by its
    presence and not by its pixels. Void pixels count in neither.

    Args:
        weights: (C,) of the classes in the cross-entropy.
        jaccard_weight: of the Jaccard term; 0 leaves it out.
        label_smoothing: share of the target that is spread over all classes (Szegedy et al. 2016).
        hard_share: share of a batch's pixels, those with the highest cross-entropy, that count
            in it (online hard example mining, Shrivastava et al. 2016); 1 keeps all.
        void_id: the id of void, above those of the classes.
    """

    def __init__(
        self,
        weights: npt.NDArray[np.float32],
        jaccard_weight: float = 0.0,
        *,
        label_smoothing: float = 0.0,
        hard_share: float = 1.0,
        void_id: int = VOID_ID,
    ) -> None:
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(weights))
        self.jaccard_weight = jaccard_weight
        self.label_smoothing = label_smoothing
        self.hard_share = hard_share
        self.void_id = void_id

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            scores: (N, C, H, W) before softmax, any float type; reduced in float32.
            labels: (N, H, W) int64 ids, 0..C-1, and `void_id`.

        Returns:
            A scalar.
        """
        scores = scores.float()
        loss = self._cross_entropy(scores, labels)
        if self.jaccard_weight > 0:
            log_p = F.log_softmax(scores, dim=1)
            loss = loss + self.jaccard_weight * (1 - _soft_iou(log_p, labels))
        return loss

    def _cross_entropy(self, scores: Tensor, labels: Tensor) -> Tensor:
        weights = self.get_buffer("weights")
        each = F.cross_entropy(
            scores,
            labels,
            weight=weights,
            ignore_index=self.void_id,
            label_smoothing=self.label_smoothing,
            reduction="none",
        ).flatten()
        known = labels.flatten()
        if self.hard_share < 1:
            kept = max(1, round(self.hard_share * each.numel()))
            each, places = each.topk(kept, sorted=False)
            known = known[places]
        # The mean of PyTorch's own reduction, but 0 where all is void. Void has neither loss nor
        # weight, so it may fill up the share of hard pixels without changing anything.
        weight = torch.where(known == self.void_id, 0.0, weights[known.clamp(max=len(weights) - 1)])
        return each.sum() / weight.sum().clamp(min=1e-6)


def distillation_loss(
    scores: Tensor, teacher: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    """How far a network is from its teacher (Hinton et al. 2015, section 2), void left out.

    Args:
        scores: (N, C, H, W) of the network.
        teacher: (N, C, H, W) of the teacher, without gradient.
        labels: (N, H, W) int64 ids; only where something is labelled does the teacher count.
        temperature: softens both distributions; its square rescales the gradient.

    Returns:
        The mean Kullback-Leibler divergence of a pixel, times `temperature ** 2`.
    """
    student = F.log_softmax(scores.float() / temperature, dim=1)
    target = F.log_softmax(teacher.float() / temperature, dim=1)
    each = F.kl_div(student, target, reduction="none", log_target=True).sum(dim=1)
    known = (labels < scores.shape[1]).float()
    return temperature**2 * (each * known).sum() / known.sum().clamp(min=1.0)


def _soft_iou(log_p: Tensor, labels: Tensor) -> Tensor:
    """Mean over the classes present of soft intersection over soft union."""
    classes = log_p.shape[1]
    known = labels < classes
    p = log_p.exp() * known.unsqueeze(1)
    # The intersection sums each pixel's probability of its own class, by class. Row by row first:
    # a GPU's threads would queue for so few sums, and small sums are the more exact ones.
    own = p.gather(1, labels.clamp(max=classes - 1).unsqueeze(1)).squeeze(1)
    rows = labels.shape[0] * labels.shape[1]
    places = torch.where(known, labels, classes).reshape(rows, -1)
    places = (places + (classes + 1) * torch.arange(rows, device=labels.device)[:, None]).flatten()

    def by_class(values: Tensor) -> Tensor:
        sums = values.new_zeros(rows * (classes + 1)).index_add(0, places, values.flatten())
        return sums.view(rows, classes + 1).sum(0)[:classes]

    intersection, truth = by_class(own), by_class(torch.ones_like(own))
    union = p.sum((0, 2, 3)) + truth - intersection
    present = (truth > 0).to(p.dtype)
    return (intersection / union.clamp(min=1.0) * present).sum() / present.sum().clamp(min=1.0)
