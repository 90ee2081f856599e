"""SUN RGB-D's two layouts, generated small."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import DataError
from roadseg.core.labels import SUNRGBD
from roadseg.datasets.opening import open_dataset
from roadseg.datasets.sunrgbd import SunRgbd

TESTED, TRAINED = 3, 20
SOURCE = (
    "take pictures from https://rgbd.cs.princeton.edu, lists and label PNGs from "
    "https://github.com/ankurhanda/sunrgbd-meta-data"
)


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((6, 8, 3), value, np.uint8))


def label(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = np.full((6, 8), value, np.uint8)
    ids[0] = 0
    cv2.imwrite(str(path), ids)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Sensors' folders, the two lists, and labels numbered through, the test list's first.

    A frame's class, 1..37, is the number of its label.
    """
    root = tmp_path / "sun"
    number = 0
    for name, count in (("testing", TESTED), ("training", TRAINED)):
        lines = []
        for i in range(count):
            number += 1
            sensor = ("kv1/NYUdata", "realsense/lg")[i % 2]
            line = f"SUNRGBD/{sensor}/{name}{i:04d}/image/{i:07d}.jpg"
            picture(root / line, 5 * number)
            label(root / "sunrgbd_train_test_labels" / f"img-{number:06d}.png", number)
            # The real lists have doubled slashes in places.
            lines.append(line.replace("/image", "//image"))
        (root / f"sunrgbd_{name}_images.txt").write_text("\n".join(lines) + "\n")
    return root


def repack(official: Path, root: Path, *, counted_on: bool) -> Path:
    for part in ("test", "train"):
        name = "testing" if part == "test" else "training"
        lines = (official / f"sunrgbd_{name}_images.txt").read_text(encoding="utf-8").splitlines()
        before = TESTED if part == "train" else 0
        for i, line in enumerate(lines, start=1):
            images, labels = root / "image" / part, root / "label37" / part
            images.mkdir(parents=True, exist_ok=True)
            labels.mkdir(parents=True, exist_ok=True)
            shutil.copy(official / line, images / f"img-{i:06d}.jpg")
            target = f"img-{before + i:06d}.png" if counted_on else f"{i:08d}.png"
            source = official / "sunrgbd_train_test_labels" / f"img-{before + i:06d}.png"
            shutil.copy(source, labels / target)
    return root


def test_official_layout(official: Path) -> None:
    test, train = open_dataset(official, "test"), open_dataset(official, "trainval")
    assert isinstance(test, SunRgbd)
    assert (len(test), len(train)) == (TESTED, TRAINED)
    assert test.classes is SUNRGBD
    for data, before in ((test, 0), (train, TESTED)):
        for i, (image_bgr, labels) in enumerate(data, start=1):
            number = before + i
            assert abs(int(image_bgr[0, 0, 0]) - 5 * number) <= 2  # JPEG
            assert (labels[0] == 37).all()  # 0 on disk: void
            assert (labels[1:] == number - 1).all()


@pytest.mark.parametrize("counted_on", [False, True])
def test_repacked_layout_has_the_same_frames(
    official: Path, tmp_path: Path, counted_on: bool
) -> None:
    root = repack(official, tmp_path / "repacked", counted_on=counted_on)
    for split in ("train", "val", "trainval", "test"):
        frames, expected = open_dataset(root, split), open_dataset(official, split)
        assert len(frames) == len(expected)
        for (image_a, labels_a), (image_b, labels_b) in zip(frames, expected, strict=True):
            np.testing.assert_array_equal(image_a, image_b)
            np.testing.assert_array_equal(labels_a, labels_b)


def test_validation_is_a_tenth_of_the_training_pictures_and_none_of_the_test(
    official: Path,
) -> None:
    images = {
        split: [image for image, _ in open_dataset(official, split).pairs]
        for split in ("train", "val", "trainval", "test")
    }
    assert len(images["val"]) == TRAINED // 10
    assert sorted([*images["train"], *images["val"]]) == sorted(images["trainval"])
    assert not set(images["val"]) & set(images["train"])
    assert not set(images["test"]) & set(images["trainval"])
    assert images["val"] == [images["trainval"][9], images["trainval"][19]]


def test_of_the_full_set_validation_comes_in_twenty_runs() -> None:
    from roadseg.datasets.sunrgbd import _held_out

    held_out = [_held_out(i, 5285, "val") for i in range(5285)]
    assert sum(held_out) == 520
    starts = [i for i in range(1, 5285) if held_out[i] and not held_out[i - 1]]
    assert len(starts) == 20
    assert all(_held_out(i, 5285, "train") != held_out[i] for i in range(5285))


def failure(root: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as error:
        for _frame in open_dataset(root, split):
            pass
    return str(error.value)


def test_unknown_split(official: Path) -> None:
    assert failure(official, "validation") == (
        "SUN RGB-D has no split 'validation': use one of train, val, trainval, test"
    )


def test_pictures_alone_are_not_enough(official: Path) -> None:
    (official / "sunrgbd_testing_images.txt").unlink()
    assert failure(official) == (
        f"{official} is SUN RGB-D without sunrgbd_testing_images.txt, the official split: {SOURCE}"
    )


@pytest.mark.parametrize(
    ("missing", "split", "line"),
    [
        ("SUNRGBD/realsense/lg/training0001/image/0000001.jpg", "training", 2),
        ("sunrgbd_train_test_labels/img-000005.png", "training", 2),
    ],
)
def test_missing_file(official: Path, missing: str, split: str, line: int) -> None:
    (official / missing).unlink()
    assert failure(official) == (
        f"{official}/sunrgbd_{split}_images.txt line {line} needs {official}/{missing}, which "
        f"does not exist: {SOURCE}"
    )


def test_labels_of_all_objects(official: Path) -> None:
    path = official / "sunrgbd_train_test_labels/img-000001.png"
    label(path, 201)
    assert failure(official, "test") == (
        f"label {path} holds class id 201: ids are 1..37, and 0 for void: use the labels of 37 "
        "classes, not those of all objects"
    )


def test_empty_splits(official: Path) -> None:
    (official / "sunrgbd_training_images.txt").write_text("\n")
    assert failure(official, "val") == (
        f"val of {official} is empty: there are 0 pictures in train: use another split, or add "
        "pictures"
    )


@pytest.mark.parametrize("counted_on", [False, True])
def test_repacked_with_a_hole_at_either_end(
    official: Path, tmp_path: Path, counted_on: bool
) -> None:
    """As many labels as pictures, and every picture would get its neighbour's."""
    root = repack(official, tmp_path / "repacked", counted_on=counted_on)
    (root / "image/train/img-000001.jpg").unlink()
    sorted((root / "label37/train").iterdir())[-1].unlink()
    last = TESTED + TRAINED if counted_on else TRAINED
    assert failure(root) == (
        f"{root}/image/train/img-{TRAINED:06d}.jpg has no label: number {last} is "
        f"missing in {root}/label37/train: {SOURCE}"
    )


def test_repacked_with_a_number_twice(official: Path, tmp_path: Path) -> None:
    root = repack(official, tmp_path / "repacked", counted_on=False)
    folder = root / "image/train"
    shutil.copy(folder / "img-000002.jpg", folder / "img-000002.png")
    assert failure(root) == (
        f"{folder}/img-000002.jpg and img-000002.png have the same number: remove one of them"
    )


def test_repacked_with_holes(official: Path, tmp_path: Path) -> None:
    root = repack(official, tmp_path / "repacked", counted_on=False)
    (root / "label37/train/00000004.png").unlink()
    assert failure(root) == (
        f"{root}/image/train/img-000004.jpg has no label: number 4 is missing in "
        f"{root}/label37/train: {SOURCE}"
    )
    (root / "image/train/img-000004.jpg").unlink()
    (root / "image/train/img-000007.jpg").unlink()
    assert failure(root) == (
        f"{root}/label37/train/00000007.png has no picture in {root}/image/train: {SOURCE}"
    )
    shutil.rmtree(root / "image/test")
    assert failure(root, "test") == f"no folder {root}/image/test: {SOURCE}"
