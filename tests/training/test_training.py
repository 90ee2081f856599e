"""Training: it learns, it resumes to the very same weights, and it says what is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from roadseg.data import CamVid
from roadseg.errors import ModelError, SinkError, UsageError
from roadseg.models import build_model, load_weights, save_weights
from roadseg.training import loop, trainer
from roadseg.training.augment import augment
from roadseg.training.checkpoint import AveragedWeights, save_checkpoint
from roadseg.training.losses import SegmentationLoss
from roadseg.training.recipes import Recipe, load_recipe, recipe_names
from roadseg.weights.manifest import sha256_of

LITE = load_recipe("lite")
PLAIN = load_recipe("paper").augmentation


def recipe(**changes: object) -> Recipe:
    # Brightness is all that tells the classes of `tiny_camvid` apart: leave it alone.
    augmentation = dataclasses.replace(LITE.augmentation, colour=0.0, scale=(0.8, 1.2))
    base = dataclasses.replace(
        LITE,
        crop_hw=(64, 64),
        batch_size=3,
        warmup_epochs=0,
        validate_every=1,
        ema_decay=0.5,
        augmentation=augmentation,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def run(
    tiny_camvid: Path, folder: Path, settings: Recipe, **options: object
) -> loop.TrainingResult:
    return loop.train(
        "segnet-lite",
        CamVid(tiny_camvid, "train"),
        CamVid(tiny_camvid, "val"),
        settings,
        folder,
        **options,  # type: ignore[arg-type]
    )


def test_it_learns_two_classes(tiny_camvid: Path, tmp_path: Path) -> None:
    result = run(tiny_camvid, tmp_path / "run", recipe(epochs=20))
    assert result.epochs == 20
    _, meta = load_weights(result.weights)
    assert meta["validation_miou"] == result.best_miou
    lines = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [x["epoch"] for x in lines] == list(range(1, 21))
    assert lines[-1]["loss"] < lines[0]["loss"] / 2
    assert lines[-1]["global_accuracy"] > 0.9  # the larger of the two classes alone gives 0.7
    assert max(x["miou"] for x in lines) == result.best_miou


def test_resuming_gives_the_weights_of_an_uninterrupted_run(
    tiny_camvid: Path, tmp_path: Path
) -> None:
    settings = recipe(epochs=3)
    run(tiny_camvid, tmp_path / "whole", settings)

    def interrupt(progress: loop.Progress) -> None:
        if progress.epoch == 1 and progress.step == 3:  # in the middle of the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny_camvid, tmp_path / "cut", settings, on_step=interrupt)
    run(tiny_camvid, tmp_path / "cut", settings, resume=True)
    whole, cut = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=False) for name in ("whole", "cut")
    )
    assert whole["step"] == cut["step"] == 6
    for key, value in whole["model"].items():
        assert torch.equal(value, cut["model"][key]), key


def test_a_folder_with_a_run_is_not_overwritten(tiny_camvid: Path, tmp_path: Path) -> None:
    run(tiny_camvid, tmp_path / "run", recipe(epochs=1))
    with pytest.raises(UsageError) as caught:
        run(tiny_camvid, tmp_path / "run", recipe(epochs=1))
    assert str(caught.value) == (
        f"{tmp_path / 'run'} holds a run: go on with --resume or choose another --output"
    )


def test_resuming_another_network_or_nothing(tiny_camvid: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="start without --resume"):
        run(tiny_camvid, tmp_path / "none", recipe(epochs=1), resume=True)
    run(tiny_camvid, tmp_path / "run", recipe(epochs=1))
    with pytest.raises(ModelError, match="is a run of segnet-lite: use --model segnet-lite"):
        loop.train(
            "segnet-basic",
            CamVid(tiny_camvid, "train"),
            CamVid(tiny_camvid, "val"),
            recipe(epochs=1),
            tmp_path / "run",
            resume=True,
        )


@pytest.mark.parametrize(
    ("changes", "options", "option"),
    [
        ({"learning_rate": 1.0}, {}, "recipe"),
        ({}, {"seed": 7}, "seed"),
    ],
)
def test_resuming_otherwise_than_started(
    tiny_camvid: Path,
    tmp_path: Path,
    changes: dict[str, object],
    options: dict[str, object],
    option: str,
) -> None:
    run(tiny_camvid, tmp_path / "run", recipe(epochs=1))
    with pytest.raises(UsageError, match=f"was started with another --{option}: give the same one"):
        run(tiny_camvid, tmp_path / "run", recipe(epochs=2, **changes), resume=True, **options)
    with pytest.raises(UsageError, match="was started with another --extra"):
        run(
            tiny_camvid,
            tmp_path / "run",
            recipe(epochs=2),
            resume=True,
            extra=CamVid(tiny_camvid, "val"),
        )


def test_resuming_keeps_the_time_budget(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(trainer.time, "monotonic", lambda: float(next(clock)))

    def interrupt(progress: loop.Progress) -> None:
        if progress.epoch == 1:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(tiny_camvid, folder, recipe(), time_budget_s=12.0, on_step=interrupt)
    result = run(tiny_camvid, folder, recipe(), resume=True)
    assert result.elapsed_s == 12.0


def test_a_run_starts_from_given_weights(tiny_camvid: Path, tmp_path: Path) -> None:
    first = run(tiny_camvid, tmp_path / "first", recipe(epochs=2))
    frozen = recipe(epochs=1, learning_rate=1e-12, weight_decay=0.0)
    second = run(tiny_camvid, tmp_path / "second", frozen, init=first.weights)
    before, after = (load_weights(r.weights)[0].state_dict() for r in (first, second))
    for key, value in before.items():
        if "running" not in key and value.is_floating_point():
            torch.testing.assert_close(after[key], value, atol=1e-6, rtol=1e-3)
    config = json.loads((tmp_path / "second" / "config.json").read_text())
    assert config["init_sha256"] == sha256_of(first.weights)
    # What a run started from is not given again to resume it, and is not forgotten.
    run(tiny_camvid, tmp_path / "second", dataclasses.replace(frozen, epochs=2), resume=True)
    assert json.loads((tmp_path / "second" / "config.json").read_text()) == config | {
        "recipe": config["recipe"] | {"epochs": 2}
    }


def test_a_run_does_not_start_from_another_network(tiny_camvid: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "basic.pt", build_model("segnet-basic"), "segnet-basic")
    with pytest.raises(UsageError) as caught:
        run(tiny_camvid, tmp_path / "run", recipe(epochs=1), init=tmp_path / "basic.pt")
    assert str(caught.value) == (
        f"{tmp_path / 'basic.pt'} holds segnet-basic: use --model segnet-basic, or other weights"
    )


def test_a_folder_that_cannot_be_made(tiny_camvid: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot create .*: choose another --output"):
        run(tiny_camvid, tmp_path / "file" / "run", recipe(epochs=1))


def test_a_loss_that_is_not_finite_stops_the_run(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        SegmentationLoss, "forward", lambda self, scores, labels: scores.sum() * math.nan
    )
    with pytest.raises(
        ModelError,
        match=r"the loss is nan at epoch 0, step 0 \(batch 0 of the epoch\): .*last good",
    ):
        run(tiny_camvid, tmp_path / "run", recipe(epochs=1))


def test_the_time_budget_ends_the_schedule(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(trainer.time, "monotonic", lambda: float(next(clock)))
    seen: list[loop.Progress] = []
    # The clock is read once a step: each takes a second, crops included.
    run(tiny_camvid, tmp_path / "run", recipe(epochs=1000), time_budget_s=5.0, on_step=seen.append)
    assert len(seen) == 5
    assert seen[-1].fraction == 1.0
    rates = [p.learning_rate for p in seen]
    assert rates == sorted(rates, reverse=True)


def test_a_failed_checkpoint_leaves_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, {"epoch": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SinkError, match="No space left on device.*the previous one is intact"):
        save_checkpoint(path, {"epoch": 2})
    assert torch.load(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_even_averages_weigh_all_states_alike() -> None:
    model = build_model("segnet-lite")
    average = AveragedWeights(model, decay=0.5)
    bias = model.classifier.bias
    for value in (1.0, 2.0, 6.0):
        with torch.no_grad():
            bias.fill_(value)
        average.update(model, evenly=True)
    torch.testing.assert_close(average.state["classifier.bias"], torch.full((11,), 3.0))


def test_averaged_weights_follow_the_formula() -> None:
    model = build_model("segnet-lite")
    average = AveragedWeights(model, decay=0.5)
    before = average.state["classifier.weight"].clone()
    with torch.no_grad():
        model.classifier.weight.add_(1.0)
    average.update(model)
    # First update: keep = min(0.5, 2 / 11).
    expected = before + (1 - 2 / 11)
    torch.testing.assert_close(average.state["classifier.weight"], expected)


def test_loss_is_weighted_cross_entropy_and_ignores_void() -> None:
    scores = torch.randn(1, 3, 2, 2)
    labels = torch.tensor([[[0, 1], [2, 11]]])
    weights = np.array([1.0, 2.0, 3.0], np.float32)
    log_p = scores.log_softmax(1)[0]
    by_hand = -(log_p[0, 0, 0] + 2 * log_p[1, 0, 1] + 3 * log_p[2, 1, 0]) / 6
    torch.testing.assert_close(SegmentationLoss(weights, 0.0)(scores, labels), by_hand)


def test_soft_jaccard_by_hand() -> None:
    # Certain scores: class 0 is right on one of two pixels, class 1 on its one; void is left out.
    certain = torch.tensor([[0.0, 0.0, 1.0, 0.0]]).reshape(1, 1, 2, 2) * 100
    scores = torch.cat([50 - certain / 1.0, certain - 50], dim=1)
    labels = torch.tensor([[[0, 1], [1, 11]]])
    # prediction: 0 0 / 1 (void). IoU(0) = 1/2, IoU(1) = 1/2.
    loss = SegmentationLoss(np.zeros(2, np.float32), 1.0)
    jaccard = loss(scores, labels)
    cross_entropy = SegmentationLoss(np.zeros(2, np.float32), 0.0)(scores, labels)
    del (
        cross_entropy
    )  # 0 / 0 with all weights zero; the Jaccard term is tested through weights of 1
    both = SegmentationLoss(np.ones(2, np.float32), 1.0)(scores, labels)
    only = SegmentationLoss(np.ones(2, np.float32), 0.0)(scores, labels)
    torch.testing.assert_close(both - only, torch.tensor(0.5))
    assert jaccard.shape == ()


def test_the_plain_crop_of_a_whole_frame_is_the_frame() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    labels = rng.integers(0, 12, (48, 64), dtype=np.uint8)
    crop, ids = augment(image, labels, (48, 64), PLAIN, rng)
    np.testing.assert_array_equal(crop, image)
    np.testing.assert_array_equal(ids, labels)


def test_crops_keep_pixels_and_labels_together() -> None:
    # The label is the frame's grey level: wherever the warp takes a pixel, they must agree.
    labels = np.repeat(np.arange(8, dtype=np.uint8), 12)[None].repeat(64, axis=0)
    image = (labels[..., None] * 30).repeat(3, axis=2)
    settings = dataclasses.replace(LITE.augmentation, colour=0.0, blur_share=0.0, noise_share=0.0)
    rng = np.random.default_rng(2)
    for _ in range(20):
        crop, ids = augment(image, labels, (32, 40), settings, rng)
        assert crop.shape == (32, 40, 3)
        inside = ids != 11
        error = np.abs(crop[..., 0].astype(int) - ids.astype(int) * 30)[inside]
        # Bilinear pixels between two stripes lie up to half a step from the nearest label.
        assert error.max() <= 16


def test_crops_are_drawn_from_the_generator_alone() -> None:
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    labels = np.full((48, 64), 2, np.uint8)
    first, second = (
        augment(image, labels, (32, 32), LITE.augmentation, np.random.default_rng(5))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first[0], second[0])


def test_shipped_recipes_load() -> None:
    assert recipe_names() == ("gpu", "lite", "paper")
    for name in recipe_names():
        assert load_recipe(name).name == name


def test_unusable_recipes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown recipe 'nope': use --recipe gpu\|lite\|paper"):
        load_recipe("nope")
    with pytest.raises(UsageError, match="no recipe at"):
        load_recipe(str(tmp_path / "none.toml"))
    odd = tmp_path / "odd.toml"
    odd.write_text("epochs = 1\n")
    with pytest.raises(UsageError, match="recipe 'odd' cannot be used .*its keys are description"):
        load_recipe(str(odd))
    text = (Path(loop.__file__).parent / "recipes" / "lite.toml").read_text()
    odd.write_text(text.replace('"adamw"', '"lion"'))
    with pytest.raises(UsageError, match="optimizer is 'lion', use adamw or sgd"):
        load_recipe(str(odd))
    for bad, message in (
        ("extra_share = 1.0", "extra_share = 1.0 cannot be used"),
        ("validate_every = 0", "validate_every = 0 cannot be used"),
    ):
        key = bad.split(" = ")[0]
        lines = [bad if line.startswith(key) else line for line in text.splitlines()]
        odd.write_text("\n".join(lines))
        with pytest.raises(UsageError, match=f"recipe 'odd': {message}"):
            load_recipe(str(odd))
