"""Parts of the loss, by hand and against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from roadseg.core.labels import VOID_ID
from roadseg.training.losses import SegmentationLoss, distillation_loss

ONES = np.ones(11, np.float32)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    labels = torch.randint(0, 12, (2, 6, 5))
    return torch.randn(2, 11, 6, 5), labels


def test_loss_is_weighted_cross_entropy_and_ignores_void() -> None:
    scores = torch.randn(1, 3, 2, 2)
    labels = torch.tensor([[[0, 1], [2, VOID_ID]]])
    weights = np.array([1.0, 2.0, 3.0], np.float32)
    log_p = scores.log_softmax(1)[0]
    by_hand = -(log_p[0, 0, 0] + 2 * log_p[1, 0, 1] + 3 * log_p[2, 1, 0]) / 6
    torch.testing.assert_close(SegmentationLoss(weights)(scores, labels), by_hand)


def test_soft_jaccard_by_hand() -> None:
    # Certain scores: class 0 is right on its one pixel and on one of class 1's two; void is out.
    scores = torch.tensor([[[[9.0, 9.0], [-9.0, 9.0]], [[-9.0, -9.0], [9.0, -9.0]]]]) * 9
    labels = torch.tensor([[[0, 1], [1, VOID_ID]]])
    both, only = (SegmentationLoss(ONES[:2], weight)(scores, labels) for weight in (1.0, 0.0))
    # IoU is 1/2 for both classes.
    torch.testing.assert_close(both - only, torch.tensor(0.5))


def test_soft_jaccard_sums_over_rows_images_and_classes() -> None:
    scores, labels = batch()
    p = scores.softmax(1)
    ious = []
    for c in range(11):
        true = labels == c
        inside = p[:, c][true].sum()
        if true.any():
            union = p[:, c][labels < 11].sum() + true.sum() - inside
            ious.append(inside / union)
    both, only = (SegmentationLoss(ONES, weight)(scores, labels) for weight in (1.0, 0.0))
    torch.testing.assert_close(both - only, 1 - torch.stack(ious).mean())


def test_label_smoothing_is_that_of_pytorch() -> None:
    scores, labels = batch()
    weights = np.linspace(0.5, 2, 11, dtype=np.float32)
    got = SegmentationLoss(weights, label_smoothing=0.1)(scores, labels)
    expected = F.cross_entropy(
        scores, labels, torch.from_numpy(weights), ignore_index=VOID_ID, label_smoothing=0.1
    )
    torch.testing.assert_close(got, expected)


def test_all_pixels_hard_is_plain_cross_entropy() -> None:
    scores, labels = batch()
    weights = np.linspace(0.5, 2, 11, dtype=np.float32)
    loss = SegmentationLoss(weights, hard_share=0.999999)
    torch.testing.assert_close(
        loss(scores, labels),
        F.cross_entropy(scores, labels, torch.from_numpy(weights), ignore_index=VOID_ID),
    )


def test_hard_pixels_by_hand() -> None:
    # Four pixels of class 0 with losses ln(1 + e^-s): the two hardest count, void does not.
    scores = torch.zeros(1, 2, 1, 5)
    scores[0, 0, 0] = torch.tensor([-2.0, -1.0, 1.0, 2.0, -9.0])
    labels = torch.tensor([[[0, 0, 0, 0, VOID_ID]]])
    loss = SegmentationLoss(np.ones(2, np.float32), hard_share=0.4)(scores, labels)
    expected = (np.log1p(np.exp(2)) + np.log1p(np.exp(1))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_easy_pixels_have_no_gradient() -> None:
    scores = torch.zeros(1, 2, 1, 4)
    scores[0, 0, 0] = torch.tensor([-2.0, 3.0, 4.0, 5.0])
    scores.requires_grad_()
    labels = torch.zeros(1, 1, 4, dtype=torch.int64)
    SegmentationLoss(np.ones(2, np.float32), hard_share=0.25)(scores, labels).backward()
    assert scores.grad is not None
    assert scores.grad[0, :, 0, 0].abs().min() > 0
    assert not scores.grad[0, :, 0, 1:].any()


@pytest.mark.parametrize("hard_share", [1.0, 0.5])
def test_nothing_but_void_is_no_loss(hard_share: float) -> None:
    scores, labels = batch()
    scores.requires_grad_()
    loss = SegmentationLoss(ONES, hard_share=hard_share)(scores, torch.full_like(labels, VOID_ID))
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


@pytest.mark.parametrize("hard_share", [1.0, 0.5])
def test_nothing_is_read_back(hard_share: float) -> None:
    # On this device nothing has a value: to look at one, which makes a GPU wait, is an error.
    scores = torch.empty(2, 11, 6, 5, device="meta", requires_grad=True)
    labels = torch.empty(2, 6, 5, dtype=torch.int64, device="meta")
    loss = SegmentationLoss(ONES, 0.5, label_smoothing=0.1, hard_share=hard_share).to("meta")
    total = loss(scores, labels) + distillation_loss(scores, scores.detach(), labels, 2.0)
    total.backward()
    assert scores.grad is not None


def test_distillation_is_the_divergence_of_softened_scores() -> None:
    scores, labels = batch()
    teacher = torch.randn_like(scores)
    got = distillation_loss(scores, teacher, labels, temperature=3.0)
    p, q = (F.softmax(x / 3, dim=1).double() for x in (teacher, scores))
    each = (p * (p / q).log()).sum(1)[labels != VOID_ID]
    assert got.item() == pytest.approx(9 * each.mean().item(), rel=1e-5)
    assert distillation_loss(scores, scores, labels, 2.0).item() == pytest.approx(0, abs=1e-6)
