"""Training on classes other than CamVid's: what follows from the data, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from roadseg.core.errors import DataError, ModelError, UsageError
from roadseg.core.labels import CAMVID, SUNRGBD, ClassSet
from roadseg.datasets.labelled import LabelledSet
from roadseg.datasets.opening import open_dataset
from roadseg.models import (
    COMPARISON_NAMES,
    MODEL_NAMES,
    build_model,
    load_weights,
    save_weights,
    weights_classes,
)
from roadseg.models.transfer import class_parameters
from roadseg.training import loop
from roadseg.training.augment import CropTargets, augment
from roadseg.training.augment_batch import crop_batch, draw_plan
from roadseg.training.balance import (
    CAMVID_RARE_IDS,
    ClassFrequencies,
    class_frequencies,
    class_weights,
    rare_ids,
)
from roadseg.training.checkpoint import load_checkpoint
from roadseg.training.feed import DeviceFeed
from roadseg.training.losses import SegmentationLoss
from roadseg.training.recipes import Recipe, load_recipe
from roadseg.training.spec import RunSpec
from roadseg.training.validation import recompute_statistics
from roadseg.weights import resolve_model

pytestmark = pytest.mark.usefixtures("as_typed")

CPU = torch.device("cpu")
FARM = "the 3 classes of farm (track, field, sky)"
CAMVIDS = "the 11 classes of CamVid (sky, building, pole, ...)"


def recipe(**changes: Any) -> Recipe:
    lite = load_recipe("lite")
    augmentation = dataclasses.replace(lite.augmentation, colour=0.0, scale=(0.8, 1.2))
    base = dataclasses.replace(
        lite,
        crop_hw=(64, 64),
        batch_size=3,
        warmup_epochs=0,
        validate_every=1,
        ema_decay=0.5,
        epochs=1,
        augmentation=augmentation,
    )
    return dataclasses.replace(base, **changes)


def run(root: Path, folder: Path, settings: Recipe, **options: Any) -> loop.TrainingResult:
    return loop.train(spec(root, folder, settings, **options))


def spec(root: Path, folder: Path, settings: Recipe, **options: Any) -> RunSpec:
    options = {
        "data": open_dataset(root, "train"),
        "validation": open_dataset(root, "val"),
    } | options
    return RunSpec(model="segnet-lite", recipe=settings, output=folder, **options)


def test_a_network_learns_the_classes_of_its_data(tiny_farm: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = run(tiny_farm, folder, recipe(epochs=12))
    network, _ = load_weights(result.weights)
    assert network.eval()(torch.zeros(1, 3, 64, 96)).shape[1] == 3
    known = weights_classes(result.weights)
    assert known == open_dataset(tiny_farm, "val").classes
    assert known.colours_rgb[0] == (90, 60, 30)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["classes"] == [
        "track",
        "field",
        "sky",
    ]
    lines = [json.loads(x) for x in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(len(line["iou"]) == 3 for line in lines)
    assert lines[-1]["global_accuracy"] > 0.8
    assert (folder / "curves.png").is_file()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {tag for tag in events.Tags()["scalars"] if tag.startswith("iou/")} == {
        "iou/track",
        "iou/field",
        "iou/sky",
    }


@pytest.mark.usefixtures("unpainted")
def test_resuming_on_other_classes(tiny_farm: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(tiny_farm, folder, recipe())
    (tiny_farm / "classes.txt").write_text("track\nfield\nsky\nbarn\n")
    with pytest.raises(UsageError) as caught:
        run(tiny_farm, folder, recipe(epochs=2), resume=True)
    assert str(caught.value) == (
        f"{folder} was started on 3 classes (track, field, sky), and the data has 4 classes "
        "(track, field, sky, barn): give the same --data to resume"
    )
    with pytest.raises(ModelError) as checkpoint:
        load_checkpoint(folder / "last.ckpt", "segnet-lite", CAMVID)
    assert str(checkpoint.value) == (
        f"{folder}/last.ckpt is a checkpoint for 3 classes (track, field, sky), not {CAMVIDS}: "
        "give the --data it was trained on"
    )


@pytest.mark.usefixtures("unpainted")
def test_runs_of_earlier_versions_are_runs_on_camvid(tiny_camvid: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(tiny_camvid, folder, recipe())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config.pop("classes") == list(CAMVID.names)
    (folder / "config.json").write_text(json.dumps(config))
    content = torch.load(folder / "last.ckpt", weights_only=False)
    del content["classes"]
    torch.save(content, folder / "last.ckpt")
    assert run(tiny_camvid, folder, recipe(epochs=2), resume=True).epochs == 2


def test_a_teacher_of_other_classes(tiny_farm: Path, tmp_path: Path) -> None:
    path = tmp_path / "camvid.safetensors"
    save_weights(path, build_model("segnet-lite"), "segnet-lite")
    with pytest.raises(ModelError) as caught:
        run(tiny_farm, tmp_path / "run", recipe(), teacher=path)
    assert str(caught.value) == (
        f"{path} knows {CAMVIDS}, not {FARM}: use weights that were trained on those"
    )


def test_what_depends_on_the_classes() -> None:
    assert class_parameters("segnet-lite") == [
        "classifier.weight",
        "classifier.bias",
        "auxiliary.weight",
        "auxiliary.bias",
    ]
    for name in (*MODEL_NAMES, *COMPARISON_NAMES):
        found = class_parameters(name)
        # The last layers, and nothing of the encoder; fcn-basic's decoder is as wide as classes.
        assert found
        assert not any(key.startswith(("encoder", "stem", "stage")) for key in found)
        assert len(found) <= len(build_model(name).state_dict()) // 2


def test_init_of_other_classes_keeps_all_but_the_last_layers(
    tiny_farm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "camvid.safetensors"
    torch.manual_seed(7)
    source = build_model("segnet-lite")
    save_weights(path, source, "segnet-lite")
    caplog.set_level(logging.INFO, "roadseg")
    frozen = recipe(learning_rate=1e-12, weight_decay=0.0)
    result = run(tiny_farm, tmp_path / "run", frozen, init=path)
    network, _ = load_weights(result.weights)
    assert caplog.messages == [
        f"starting from {path}, which knows {CAMVIDS}: 51 layers are kept, classifier and "
        f"auxiliary start anew for {FARM}"
    ]
    state, started = network.state_dict(), source.state_dict()
    for key, value in state.items():
        if key.startswith(("classifier", "auxiliary")):
            assert value.shape != started[key].shape
        elif "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(value, started[key], atol=2e-3, rtol=2e-3)


def test_as_many_other_classes_start_anew_as_well(
    tiny_farm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "other.safetensors"
    other = ClassSet("sea", ("water", "boat", "sky"), ((0, 0, 9), (1, 1, 1), (2, 2, 2)))
    save_weights(path, build_model("segnet-lite", 3), "segnet-lite", classes=other)
    caplog.set_level(logging.INFO, "roadseg")
    run(tiny_farm, tmp_path / "run", recipe(), init=path)
    assert "classifier and auxiliary start anew for" in caplog.messages[0]


@pytest.mark.usefixtures("unpainted")
def test_the_shipped_weights_help_a_small_set_of_other_classes(
    tiny_farm: Path, tmp_path: Path
) -> None:
    settings = recipe(epochs=4)
    shipped = resolve_model("segnet-lite", "torch").path
    scratch = run(tiny_farm, tmp_path / "scratch", settings)
    adapted = run(tiny_farm, tmp_path / "adapted", settings, init=shipped)
    assert adapted.epochs == scratch.epochs
    assert adapted.best_miou > scratch.best_miou + 0.1


def test_data_sets_of_different_classes(tiny_farm: Path, tiny_camvid: Path, tmp_path: Path) -> None:
    camvid = open_dataset(tiny_camvid, "val")
    with pytest.raises(DataError) as caught:
        spec(tiny_farm, tmp_path / "run", recipe(), validation=camvid)
    expected = f"{tiny_camvid} has {CAMVIDS}, and {tiny_farm} has {FARM}: train on data of the "
    assert str(caught.value) == expected + "same classes"
    with pytest.raises(DataError, match="train on data of the same classes"):
        spec(tiny_farm, tmp_path / "run", recipe(), extra=camvid)
    assert not (tmp_path / "run").exists()


def test_published_weights_are_for_camvid(tiny_farm: Path, tmp_path: Path) -> None:
    message = (
        "class_weighting 'caffe' holds published weights of CamVid's 11 classes, and the data has "
        f"{FARM}: use median in the recipe, or another that follows from the labels"
    )
    with pytest.raises(UsageError) as caught:
        run(tiny_farm, tmp_path / "run", recipe(class_weighting="caffe"))
    assert str(caught.value) == message
    assert not (tmp_path / "run").exists()
    data = open_dataset(tiny_farm, "train")
    with pytest.raises(UsageError) as direct:
        class_weights(class_frequencies(data), "caffe", data.classes)
    assert str(direct.value) == message


def test_rare_classes_follow_from_the_labels() -> None:
    pixels = np.zeros(37, np.int64)
    pixels[[0, 5, 9, 36]] = (900, 81, 19, 1)  # 90%, 8.1%, 1.9%, 0.1% of 1001 or so
    frequencies = ClassFrequencies(pixels, pixels)
    assert rare_ids(frequencies, SUNRGBD) == (9, 36)
    assert rare_ids(ClassFrequencies(pixels[:11], pixels[:11]), CAMVID) == CAMVID_RARE_IDS
    assert [CAMVID.names[i] for i in CAMVID_RARE_IDS] == [
        *("pole", "sign", "fence", "pedestrian", "bicyclist")
    ]


def test_counts_are_kept_for_each_set_of_classes(
    tiny_farm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROADSEG_CACHE", str(tmp_path / "cache"))
    three = class_frequencies(open_dataset(tiny_farm, "train"))
    (tiny_farm / "classes.txt").write_text("track\nfield\nsky\nbarn\n")
    four = class_frequencies(open_dataset(tiny_farm, "train"))
    assert four.pixels.tolist() == [*three.pixels.tolist(), 0]
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 2


def test_crops_know_void_and_rare_classes() -> None:
    targets = CropTargets(void_id=37, rare_ids=(36,))
    settings = dataclasses.replace(
        load_recipe("paper").augmentation, rare_share=1.0, scale=(1.0, 1.0)
    )
    labels = np.zeros((200, 300), np.uint8)
    labels[20:24, 30:34] = 36
    image = np.zeros((200, 300, 3), np.uint8)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        _, ids = augment(image, labels, (120, 160), settings, rng, targets)
        assert (ids == 36).any()
    _, ids = augment(image, labels, (240, 320), settings, np.random.default_rng(0), targets)
    assert set(np.unique(ids)) == {0, 36, 37}
    feed = DeviceFeed(
        [(image, labels)] * 4,
        [],
        recipe(batch_size=4, crop_hw=(120, 160), augmentation=settings),
        CPU,
        targets=targets,
    )
    (_, batch) = next(iter(feed.epoch(0, 0)))
    assert (batch == 36).flatten(1).any(1).all()


def test_void_outside_the_frame_on_the_device() -> None:
    settings = load_recipe("paper").augmentation
    hw, rng = (16, 16), np.random.default_rng(0)
    plan = draw_plan(np.zeros(1, np.int64), np.full((1, 2), 8.0), hw, hw, settings, rng)
    plan = dataclasses.replace(plan, affine=np.array([[[1, 0, -8], [0, 1, 0]]], np.float32))
    images = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    labels = torch.full((1, 16, 16), 36, dtype=torch.uint8)
    _, ids = crop_batch(images, labels, plan, hw, void_id=37)
    assert (ids[0, :, :8] == 37).all()
    assert (ids[0, :, 8:] == 36).all()


@pytest.mark.parametrize("hard_share", [1.0, 0.5])
def test_losses_leave_void_out_whatever_its_id(hard_share: float) -> None:
    torch.manual_seed(0)
    scores = torch.randn(2, 37, 4, 5)
    labels = torch.randint(0, 37, (2, 4, 5))
    labels[:, 0] = 37
    loss = SegmentationLoss(
        np.ones(37, np.float32), jaccard_weight=1.0, hard_share=hard_share, void_id=37
    )
    before = loss(scores, labels)
    changed = scores.clone()
    changed[:, :, 0] = torch.randn(2, 37, 5)
    torch.testing.assert_close(loss(changed, labels), before)


def test_sun_rgbd_trains_and_is_scored(tmp_path: Path) -> None:
    from roadseg.backends.torch.backend import TorchBackend
    from roadseg.evaluation.evaluate import evaluate_backend

    root, rng = tmp_path / "sun", np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 2)):
        for folder in ("image", "label37"):
            (root / folder / part).mkdir(parents=True)
        for i in range(1, count + 1):
            # Pictures of two sizes; 0 is void, 37 a bag.
            labels = rng.integers(0, 38, (2, 3)).astype(np.uint8).repeat(32, 0).repeat(32, 1)
            labels = labels[: 64 - i % 2]
            image = (labels[..., None] * 6).repeat(3, axis=2)
            cv2.imwrite(str(root / "image" / part / f"img-{i:06d}.png"), image)
            cv2.imwrite(str(root / "label37" / part / f"{i:08d}.png"), labels)
    result = run(root, tmp_path / "run", recipe(class_weighting="median", batch_size=4))
    assert weights_classes(result.weights) is SUNRGBD
    test = open_dataset(root, "test")
    backend = TorchBackend(result.weights, (64, 96), device="cpu")
    scores = evaluate_backend(backend, test, classes=test.classes)
    backend.close()
    assert scores.images == 2
    assert len(scores.per_class_iou) == 37
    iou = scores.to_json()["per_class_iou"]
    assert isinstance(iou, dict)
    assert list(iou)[::36] == ["wall", "bag"]


def test_frames_of_several_sizes_train_on_the_host(tiny_farm: Path, tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        path = tiny_farm / "train" / folder / "3.png"
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), picture[:56, :80])
    assert run(tiny_farm, tmp_path / "run", recipe(statistics_batches=2)).epochs == 1
    data: LabelledSet = open_dataset(tiny_farm, "train")
    recompute_statistics(build_model("segnet-basic", 3), list(data), 6, 1)
