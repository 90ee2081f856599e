"""What stops a run: losses that are no numbers, too little memory, batches that cannot be."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from roadseg.core.errors import BackendError, DataError, ModelError, UsageError
from roadseg.training import trainer
from roadseg.training.distributed import World
from roadseg.training.feed import Feed
from roadseg.training.learner import StepLosses
from roadseg.training.limits import check_batch, failures_explained, largest_batch
from roadseg.training.losses import SegmentationLoss

pytestmark = pytest.mark.usefixtures("as_typed")

Make = Callable[..., Any]
CPU = torch.device("cpu")


def no_number_from(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the loss NaN from its call number `call` on; segnet-lite calls it twice a step."""
    forward, calls = SegmentationLoss.forward, []

    def spoilt(self: SegmentationLoss, *args: Any) -> torch.Tensor:
        calls.append(1)
        loss = forward(self, *args)
        return loss * torch.nan if len(calls) >= call else loss

    monkeypatch.setattr(SegmentationLoss, "forward", spoilt)


@pytest.mark.parametrize(
    ("call", "batch"),
    [(1, 1), (3, 2)],
)
def test_a_loss_that_is_no_number_in_the_first_epoch_ends_the_run(
    recipe: Make,
    run: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: int,
    batch: int,
) -> None:
    folder = tmp_path / "run"
    no_number_from(call, monkeypatch)
    with pytest.raises(ModelError) as caught:
        run(folder, recipe(epochs=3))
    assert str(caught.value) == (
        f"the loss is nan in batch {batch} of 2 of epoch 1: there is no checkpoint yet: start "
        "another run with a lower learning_rate or a clip_norm"
    )
    assert not (folder / "log.jsonl").exists()


def test_losses_are_read_a_step_late_and_none_is_lost() -> None:
    losses = StepLosses()
    for number in range(4):
        losses.add(torch.tensor(float(number), requires_grad=True))
        assert losses.values == [float(i) for i in range(number)]
    losses.finish()
    losses.finish()
    assert losses.values == [0.0, 1.0, 2.0, 3.0]


def out_of_memory(above: int, seen: list[int]) -> Callable[..., torch.Tensor]:
    def objective(model: Any, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        if len(images) > above:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return next(model.parameters()).sum() * images.mean()

    return objective


@pytest.mark.parametrize(
    ("above", "advice", "tried"),
    [
        (4, "batch_size = 4 fits", [16, 8, 4]),
        (1, "batch_size = 1 fits", [16, 8, 4, 2, 1]),
        (0, "use a smaller crop_hw", [16, 8, 4, 2, 1]),
    ],
)
def test_too_little_memory_for_a_batch(
    recipe: Make,
    run: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    above: int,
    advice: str,
    tried: list[int],
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(trainer, "Objective", lambda *_: out_of_memory(above, seen))
    with pytest.raises(BackendError) as caught:
        run(tmp_path / "run", recipe(epochs=1, batch_size=16))
    assert str(caught.value) == (
        f"cpu has too little memory for batches of 16 crops of 64x64: {advice} (in a "
        "recipe of your own, a .toml file)"
    )
    assert seen == tried


def test_what_a_failed_step_had_come_to_is_given_back_before_the_next_is_tried(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large: list[weakref.ref[Any]] = []

    def objective(model: Any, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if len(images) == 4:
            activations = images * 2
            large.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory")
        gc.collect()
        assert large[0]() is None
        return next(model.parameters()).sum()

    monkeypatch.setattr(trainer, "Objective", lambda *_: objective)
    with pytest.raises(BackendError, match="batch_size = 2 fits"):
        run(tmp_path / "run", recipe(epochs=1, batch_size=4))


def test_too_little_memory_for_the_optimiser_or_the_crops(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    complaint = (
        "cpu has too little memory for batches of 2 crops of 64x64: {} (in a recipe of your own, "
        "a .toml file)"
    )
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", fail)
        with pytest.raises(BackendError) as caught:
            run(tmp_path / "run", recipe(epochs=1, batch_size=2))
    assert str(caught.value) == complaint.format("use a smaller crop_hw")
    monkeypatch.setattr(Feed, "epoch", fail)
    with pytest.raises(BackendError) as crops:
        run(tmp_path / "run", recipe(epochs=1, batch_size=2))
    assert str(crops.value) == complaint.format("batch_size = 1 fits")


def test_too_little_memory_elsewhere_and_other_errors() -> None:
    with pytest.raises(BackendError) as caught, failures_explained(CPU):
        raise MemoryError
    assert str(caught.value) == (
        "cpu has too little memory (MemoryError): end other programs that use it, or use a "
        "smaller batch_size or crop_hw in the recipe"
    )
    with pytest.raises(RuntimeError, match="something else"), failures_explained(CPU):
        raise RuntimeError("something else")

    def fail(count: int) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        largest_batch(8, fail)


def test_a_compiler_that_is_missing() -> None:
    from torch._dynamo.exc import TorchDynamoException

    with pytest.raises(BackendError) as caught, failures_explained(CPU):
        raise TorchDynamoException("No working C++ compiler found\nSet TORCHDYNAMO_VERBOSE=1")
    assert str(caught.value) == (
        "torch.compile cannot fuse the step (No working C++ compiler found): leave out "
        "--compile, or install what it needs, a C++ compiler and on a GPU Triton"
    )


def test_batches_that_a_network_cannot_be_trained_on(
    recipe: Make, run: Make, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        run(tmp_path / "run", recipe(), model="deconvnet")
    message = str(caught.value)
    assert message.startswith("deconvnet cannot be trained on batches of 3 crops of 64x64 (")
    assert message.endswith("): use a larger crop_hw, or batch_size, in the recipe")
    with pytest.raises(UsageError, match="cannot be trained on batches of 1 crops of 224x224"):
        check_batch("deconvnet", 11, recipe(batch_size=1, crop_hw=(224, 224)))
    check_batch("deconvnet", 11, recipe(batch_size=2, crop_hw=(224, 224)))
    check_batch("segnet-lite", 11, recipe(batch_size=1, crop_hw=(32, 32)))
    assert not (tmp_path / "run").exists()


def test_class_biases_are_refused_before_the_run_where_a_network_has_none(recipe: Make) -> None:
    settings = recipe(class_bias=True, crop_hw=(64, 64))
    with pytest.raises(UsageError, match="fcn-basic has no bias in its last layer"):
        check_batch("fcn-basic", 11, settings)
    check_batch("segnet-lite", 11, settings)


def test_processes_have_equal_parts_of_a_batch(recipe: Make) -> None:
    with pytest.raises(UsageError) as caught:
        check_batch("segnet-lite", 11, recipe(batch_size=3), processes=2)
    assert str(caught.value) == (
        "2 processes cannot share batches of 3 equally: use a multiple of 2 for batch_size in "
        "the recipe"
    )


@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_that_are_all_void(
    recipe: Make, run: Make, tiny_camvid: Path, tmp_path: Path, split: str
) -> None:
    for path in (tiny_camvid / split).glob("*_label.png"):
        cv2.imwrite(str(path), np.full((64, 96), 11, np.uint8))
    with pytest.raises(DataError) as caught:
        run(tmp_path / "run", recipe())
    assert str(caught.value) == (
        f"every pixel of the {split} labels of {tiny_camvid} is void: look at one of them, "
        f"{tiny_camvid / split / '0_label.png'}"
    )


def test_a_frame_that_is_all_void_stops_nothing(
    recipe: Make, run: Make, tiny_camvid: Path, tmp_path: Path
) -> None:
    for i in range(5):  # of six frames: at least one batch of two shows nothing
        path = tiny_camvid / "train" / f"{i}_label.png"
        cv2.imwrite(str(path), np.full((64, 96), 11, np.uint8))
    assert run(tmp_path / "run", recipe(epochs=1, batch_size=2)).epochs == 1


@pytest.mark.usefixtures("clock")
def test_processes_take_every_step_at_one_rate(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "agree", lambda self, value: value)
    monkeypatch.setattr(World, "mean", lambda self, value: value)
    monkeypatch.setattr(World, "parallel", lambda self, model: Inside(model))
    rates: list[float] = []

    def two(*_: Any) -> World:
        return World(0, 2, CPU)

    from contextlib import contextmanager

    @contextmanager
    def world() -> Any:
        yield two()

    from roadseg.training import loop

    monkeypatch.setattr(loop, "world", world)
    run(
        tmp_path / "run",
        recipe(batch_size=2),
        time_budget_s=6.0,
        on_step=lambda p: rates.append(p.learning_rate),
    )
    # Three steps an epoch, a second each: the clocks of two processes would not agree on more.
    assert len(rates) == 6
    assert len(set(rates[:3])) == len(set(rates[3:])) == 1
    assert rates[3] < rates[0]


class Inside(torch.nn.Module):
    """As DistributedDataParallel keeps what it shares."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.module(*args)
        return result
