"""What a step computes: in one piece, for compilers, and of all losses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from roadseg.models import build_model
from roadseg.training.loop import kernel_choice
from roadseg.training.losses import SegmentationLoss, distillation_loss
from roadseg.training.objective import Objective
from roadseg.training.recipes import load_recipe

CPU = torch.device("cpu")
WEIGHTS = np.ones(11, np.float32)
GPU_RECIPE = dataclasses.replace(
    load_recipe("gpu"), jaccard_weight=0.5, label_smoothing=0.05, hard_share=0.5
)


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, 32, 48, generator=generator)
    return images, torch.randint(0, 12, (2, 32, 48), generator=generator)


def test_the_losses_are_added_up() -> None:
    model = build_model("segnet-lite").eval()  # so that two passes give one result
    teacher = build_model("bilinear-interpolation").eval()
    images, labels = batch()
    total = Objective(WEIGHTS, GPU_RECIPE, CPU, teacher)(model, images, labels)
    loss = SegmentationLoss(WEIGHTS, 0.5, label_smoothing=0.05, hard_share=0.5)
    with Objective(WEIGHTS, GPU_RECIPE, CPU).autocast():
        scores, auxiliary = model.forward_with_auxiliary(images)
        opinion = teacher(images)
    eighth = labels[:, 4::8, 4::8]  # the nearest to the centres of the small map's pixels
    expected = loss(scores, labels) + 0.4 * loss(auxiliary, eighth)
    expected = expected + distillation_loss(scores, opinion, labels, 2.0)
    torch.testing.assert_close(total, expected, atol=1e-4, rtol=1e-4)
    plain = dataclasses.replace(GPU_RECIPE, auxiliary_weight=0.0)
    without = Objective(WEIGHTS, plain, CPU)(model, images, labels)
    torch.testing.assert_close(without, loss(scores, labels), atol=1e-4, rtol=1e-4)


class ByPosition(torch.nn.Module):
    """Scores of class 0 rise from left to right over the width, those of class 1 from the top."""

    def __init__(self, *, mirrored: bool = False) -> None:
        super().__init__()
        self.mirrored = mirrored
        self.seen: list[torch.Size] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.shape)
        count, _, height, width = images.shape
        scores = torch.zeros(count, 11, height, width)
        scores[:, 0] = (40 * (torch.arange(width) + 0.5) / width)[None, None]
        scores[:, 1] = (40 * (torch.arange(height) + 0.5) / height)[None, :, None]
        return scores.flip(-1) if self.mirrored else scores


@pytest.mark.parametrize(
    ("scale", "seen_hw"), [(1.0, (64, 96)), (1.4, (96, 128)), (2.0, (128, 192)), (0.1, (32, 32))]
)
def test_a_teacher_that_sees_more_pixels_has_its_scores_in_the_same_places(
    scale: float, seen_hw: tuple[int, int]
) -> None:
    teacher = ByPosition()
    images = torch.zeros(2, 3, 64, 96)
    labels = torch.zeros(2, 64, 96, dtype=torch.int64)
    recipe = dataclasses.replace(GPU_RECIPE, teacher_scale=scale)

    def opinion_costs(model: ByPosition) -> float:
        with_teacher = Objective(WEIGHTS, recipe, CPU, teacher)(model, images, labels)
        return (with_teacher - Objective(WEIGHTS, recipe, CPU)(model, images, labels)).item()

    # A network that says what its teacher says is at no distance from it.
    assert opinion_costs(ByPosition()) == pytest.approx(0, abs=0.1)
    assert teacher.seen == [(2, 3, *seen_hw)]
    assert opinion_costs(ByPosition(mirrored=True)) > 10


@pytest.mark.parametrize("name", ["segnet-lite", "bilinear-interpolation"])
def test_a_compiled_step_is_one_graph_and_compiled_once(name: str) -> None:
    model = build_model(name)
    objective = Objective(WEIGHTS, GPU_RECIPE, CPU, build_model("bilinear-interpolation"))

    # What is traced is the same for every compiler; this one needs no C++.
    step = torch.compile(objective, backend="eager", fullgraph=True)
    first = step(model, *batch())
    with torch.compiler.set_stance("fail_on_recompile"):
        second = step(model, *batch(1))
    assert first.item() != second.item()
    torch._dynamo.reset()


def test_choices_of_kernels_are_made_for_a_while() -> None:
    def chosen() -> tuple[bool, ...]:
        return (
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )

    before = chosen()
    with kernel_choice(deterministic=False):
        assert chosen() == (True, False, False, False)
    assert chosen() == before
    with kernel_choice(deterministic=True):
        assert chosen() == (False, True, True, True)
        # PyTorch warns of its order, which windows that do not overlap do not depend on.
        build_model("segnet-basic")(batch()[0])
    assert chosen() == before
