"""What training minimises: weighted cross-entropy and the soft Jaccard index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.labels import VOID_ID

__all__ = ["SegmentationLoss", "class_weights"]


def class_weights(pixel_counts: npt.NDArray[np.int64], weighting: str) -> npt.NDArray[np.float32]:
    """Weights of the classes in the cross-entropy.

    Args:
        pixel_counts: (C,) labelled training pixels per class, void left out.
        weighting: `none`: all 1. `median`: median frequency / frequency, the balancing of the
            paper (section 4.1; frequency = share of all labelled pixels). `sqrt-median`: its
            square root, which favours rare classes without giving up mIoU of common ones.

    Returns:
        (C,) float32; a class without a pixel has weight 0.
    """
    counts = pixel_counts.astype(np.float64)
    if weighting == "none":
        return np.ones(len(counts), np.float32)
    present = counts > 0
    ratio = np.zeros_like(counts)
    ratio[present] = np.median(counts[present]) / counts[present]
    return (ratio if weighting == "median" else np.sqrt(ratio)).astype(np.float32)


class SegmentationLoss(nn.Module):
    """Cross-entropy plus `jaccard_weight` times one minus the batch's mean soft IoU.

    The soft Jaccard index (Rahman and Wang 2016) stands for mIoU itself: a class counts by its
    presence and not by its pixels. Void pixels count in neither.
    """

    def __init__(self, weights: npt.NDArray[np.float32], jaccard_weight: float) -> None:
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(weights))
        self.jaccard_weight = jaccard_weight

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            scores: (N, C, H, W) before softmax, any float type; reduced in float32.
            labels: (N, H, W) int64 ids, 11 = void.

        Returns:
            A scalar.
        """
        log_p = F.log_softmax(scores.float(), dim=1)
        weights = self.get_buffer("weights")
        loss = F.nll_loss(log_p, labels, weight=weights, ignore_index=VOID_ID)
        if self.jaccard_weight > 0:
            loss = loss + self.jaccard_weight * (1 - _soft_iou(log_p, labels))
        return loss


def _soft_iou(log_p: Tensor, labels: Tensor) -> Tensor:
    """Mean over the classes present of soft intersection over soft union."""
    classes = log_p.shape[1]
    known = labels != VOID_ID
    p = log_p.exp() * known.unsqueeze(1)
    # The intersection sums each pixel's probability of its own class, by class.
    own = p.gather(1, labels.clamp(max=classes - 1).unsqueeze(1)).squeeze(1)
    flat = torch.where(known, labels, classes).reshape(-1)
    zeros = p.new_zeros(classes + 1)
    intersection = zeros.index_add(0, flat, own.reshape(-1))[:classes]
    truth = zeros.index_add(0, flat, torch.ones_like(own).reshape(-1))[:classes]
    union = p.sum((0, 2, 3)) + truth - intersection
    present = (truth > 0).to(p.dtype)
    return (intersection / union.clamp(min=1.0) * present).sum() / present.sum().clamp(min=1.0)
