from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import DataError
from roadseg.core.labels import ClassSet
from roadseg.datasets.camvid import CamVid
from roadseg.datasets.clip import LabelledClip

AGAIN = "save or copy it again"


def write_clip(folder: Path, frames: int, hw: tuple[int, int] = (32, 48)) -> Path:
    """A folder of pictures, which a source reads like a video; frame i is i everywhere."""
    folder.mkdir()
    for i in range(frames):
        cv2.imwrite(str(folder / f"{i:03}.png"), np.full((*hw, 3), i, np.uint8))
    return folder


def write_labels(folder: Path, frames: int, hw: tuple[int, int] = (32, 48)) -> Path:
    """Label i is i everywhere; the names are not padded with zeros."""
    folder.mkdir()
    for i in range(frames):
        cv2.imwrite(str(folder / f"{i}.png"), np.full(hw, i, np.uint8))
    return folder


def stack(frames: int, hw: tuple[int, int] = (32, 48)) -> np.ndarray:
    return np.repeat(np.arange(frames, dtype=np.uint8), hw[0] * hw[1]).reshape(frames, *hw)


def pairs(clip: LabelledClip) -> list[tuple[int, int]]:
    return [(int(image_bgr[0, 0, 0]), int(labels[0, 0])) for image_bgr, labels in clip]


def test_frame_i_has_label_i_in_the_natural_order_of_names(tmp_path: Path) -> None:
    clip = LabelledClip(write_clip(tmp_path / "clip", 12), write_labels(tmp_path / "labels", 12))
    assert len(clip) == 12
    assert pairs(clip) == [(i, i) for i in range(12)]
    assert pairs(clip) == [(i, i) for i in range(12)]  # a second pass starts anew


@pytest.mark.parametrize(
    "names",
    [
        ["frame", "frame1", "frame2"],
        ["drive", "drive-1", "drive-2"],
        ["drive", "drive (1)", "drive (2)"],
        ["A1", "b1", "C1"],
        ["a_1", "a_2", "a_10"],
    ],
)
def test_pictures_have_the_labels_of_their_names(tmp_path: Path, names: list[str]) -> None:
    for folder in ("clip", "labels"):
        (tmp_path / folder).mkdir()
    for i, name in enumerate(names):
        cv2.imwrite(str(tmp_path / "clip" / f"{name}.png"), np.full((32, 48, 3), i, np.uint8))
        suffix = "PNG" if i else "png"
        cv2.imwrite(str(tmp_path / "labels" / f"{name}.{suffix}"), np.full((32, 48), i, np.uint8))
    (tmp_path / "labels" / f"._{names[0]}.png").write_bytes(b"of a macOS archive")
    found = pairs(LabelledClip(tmp_path / "clip", tmp_path / "labels"))
    assert sorted(found) == [(0, 0), (1, 1), (2, 2)]


def test_labels_of_other_pictures_are_refused(tmp_path: Path) -> None:
    clip, labels = tmp_path / "clip", write_labels(tmp_path / "labels", 3)
    clip.mkdir()
    for i in (0, 2, 3):
        cv2.imwrite(str(clip / f"{i}.png"), np.full((32, 48, 3), i, np.uint8))
    with pytest.raises(DataError, match="1.png would be the label of 2 in") as error:
        LabelledClip(clip, labels)
    assert error.value.fix == "give each picture a label of its own name, and no others"


@pytest.mark.parametrize("key", ["labels", "anything"])
def test_labels_from_an_npz_file(tmp_path: Path, key: str) -> None:
    path = tmp_path / "labels.npz"
    np.savez_compressed(path, **{key: stack(3)})
    assert pairs(LabelledClip(write_clip(tmp_path / "clip", 3), path)) == [(0, 0), (1, 1), (2, 2)]


def test_labels_from_an_npy_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.npy"
    np.save(path, stack(3))
    assert len(LabelledClip(write_clip(tmp_path / "clip", 3), path)) == 3


@pytest.mark.parametrize(("frames", "labels"), [(2, 3), (4, 3)])
def test_every_frame_needs_a_label(tmp_path: Path, frames: int, labels: int) -> None:
    folder = write_clip(tmp_path / "clip", frames)
    clip = LabelledClip(folder, write_labels(tmp_path / "labels", labels))
    with pytest.raises(DataError) as error:
        list(clip)
    assert str(error.value) == (
        f"{folder} has {frames} frames and {labels} labels: give every frame one label"
    )


@pytest.mark.parametrize(
    ("broken", "frames"),
    [((1,), "frame 1 of"), ((1, 2), "frame 1 of"), ((3,), "has 3 frames and 4 labels")],
)
def test_a_damaged_picture_does_not_shift_the_labels(
    tmp_path: Path, broken: tuple[int, ...], frames: str
) -> None:
    folder = write_clip(tmp_path / "clip", 4)
    for number in broken:
        (folder / f"{number:03}.png").write_bytes(b"damaged")
    clip = LabelledClip(folder, write_labels(tmp_path / "labels", 4))
    found: list[tuple[int, int]] = []
    with pytest.raises(DataError) as error:
        found.extend((int(image[0, 0, 0]), int(labels[0, 0])) for image, labels in clip)
    assert all(frame == label for frame, label in found)
    assert frames in str(error.value)
    assert f"{broken[0]:03}.png" in str(error.value)


def test_label_of_another_size(tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "clip", 1)
    clip = LabelledClip(folder, write_labels(tmp_path / "labels", 1, hw=(16, 24)))
    with pytest.raises(DataError) as error:
        list(clip)
    assert str(error.value) == (
        f"frame 0 of {folder} is 48x32 and its label is 24x16: make each label as large "
        "as its frame"
    )


def test_no_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        LabelledClip("clip.mp4", tmp_path / "labels")
    assert str(error.value) == (
        f"no labels at {tmp_path}/labels: use a folder of PNGs, or an .npz file with one "
        "(N, H, W) array of class ids"
    )


def test_folder_without_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        LabelledClip("clip.mp4", tmp_path)
    assert str(error.value) == f"no label PNGs in {tmp_path}: give a folder with one per frame"


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
@pytest.mark.parametrize("content", [b"", b"not an array", b"PK\x03\x04 cut off"])
def test_damaged_array(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"labels{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        LabelledClip("clip.mp4", path)
    assert str(error.value) == f"cannot read labels from {path}: the file is damaged: {AGAIN}"


def test_array_with_a_damaged_byte(tmp_path: Path) -> None:
    """Which error NumPy ends with depends on the byte: of the file's structure, or zlib's."""
    path = tmp_path / "labels.npz"
    noise = np.random.default_rng(0).integers(0, 11, (2, 32, 48), np.uint8)
    np.savez_compressed(path, labels=noise)
    whole = path.read_bytes()
    for position in range(400, len(whole) - 200, 16):  # behind the array's header
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        with pytest.raises(DataError) as error:
            LabelledClip("clip.mp4", path)
        assert str(error.value) == f"cannot read labels from {path}: the file is damaged: {AGAIN}"


def test_array_with_a_damaged_header(tmp_path: Path) -> None:
    path = tmp_path / "labels.npy"
    np.save(path, stack(2))
    path.write_bytes(path.read_bytes().replace(b"}", b"{", 1))
    with pytest.raises(DataError) as error:
        LabelledClip("clip.mp4", path)
    assert str(error.value) == f"cannot read labels from {path}: the file is damaged: {AGAIN}"


def test_255_is_void_in_an_array_of_other_classes(tmp_path: Path) -> None:
    labels = stack(2)
    labels[1] = 255
    np.save(tmp_path / "labels.npy", labels)
    farm = ClassSet("farm", ("field", "barn"), ((1, 2, 3), (4, 5, 6)))
    clip = LabelledClip(write_clip(tmp_path / "clip", 2), tmp_path / "labels.npy", farm)
    assert pairs(clip) == [(0, 0), (1, 2)]


def test_several_arrays_and_none_called_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    np.savez(path, a=stack(1), b=stack(1))
    with pytest.raises(DataError) as error:
        LabelledClip("clip.mp4", path)
    assert str(error.value) == f"{path} holds the arrays a, b: name that of the labels 'labels'"


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (stack(2).astype(np.int64), "(2, 32, 48) int64"),
        (stack(2)[0], "(32, 48) uint8"),
        (stack(2)[..., None], "(2, 32, 48, 1) uint8"),
    ],
)
def test_array_of_another_kind(tmp_path: Path, array: np.ndarray, got: str) -> None:
    path = tmp_path / "labels.npy"
    np.save(path, array)
    with pytest.raises(DataError) as error:
        LabelledClip("clip.mp4", path)
    assert str(error.value) == (
        f"labels in {path} are {got}: save them as one (N, H, W) uint8 array of class ids"
    )


def test_array_with_ids_that_name_no_class(tmp_path: Path) -> None:
    path = tmp_path / "labels.npy"
    np.save(path, stack(14))
    with pytest.raises(
        DataError, match=r"^labels .*labels\.npy holds class id 12: ids are 0\.\.10,"
    ):
        LabelledClip("clip.mp4", path)


def test_the_real_town_clip_shows_the_frames_of_its_labels(
    video_dir: Path, camvid_dir: Path
) -> None:
    clip = LabelledClip(video_dir / "town_480x360_15fps.mp4", camvid_dir / "valannot")
    frames = CamVid(camvid_dir, "val")
    assert len(clip) == 101
    seen = 0
    for i, (image_bgr, labels) in enumerate(clip):
        seen += 1
        if i % 20 == 0:
            expected_bgr, expected_labels = frames[i]
            np.testing.assert_array_equal(labels, expected_labels)
            # The clip is compressed, so its pixels differ a little; those of a neighbouring
            # frame differ by 10 and more on average.
            assert np.abs(image_bgr.astype(int) - expected_bgr).mean() < 5
    assert seen == 101
