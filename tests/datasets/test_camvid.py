from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import DataError
from roadseg.datasets.camvid import CamVid
from roadseg.datasets.labelled import read_image


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Two 4x6 frames with labels 0..11, in the CamVid layout."""
    root = tmp_path / "camvid"
    for folder in ("val", "valannot"):
        (root / folder).mkdir(parents=True)
    for i in range(2):
        cv2.imwrite(str(root / f"val/{i}.png"), np.full((4, 6, 3), (10, 20, 30 + i), np.uint8))
        labels = (np.arange(24, dtype=np.uint8) + i).reshape(4, 6) % 12
        cv2.imwrite(str(root / f"valannot/{i}.png"), labels)
    (root / "val.txt").write_text("val/1.png valannot/1.png\n\nval/0.png valannot/0.png\n")
    return root


def write_labels(root: Path, labels: np.ndarray) -> Path:
    path = root / "valannot" / "1.png"
    assert cv2.imwrite(str(path), labels)
    return path


def test_reads_pairs_in_the_order_of_the_list(camvid: Path) -> None:
    data = CamVid(camvid, "val")
    assert len(data) == 2
    assert data.pairs == [
        (camvid / "val/1.png", camvid / "valannot/1.png"),
        (camvid / "val/0.png", camvid / "valannot/0.png"),
    ]
    image_bgr, labels = data[0]
    assert image_bgr.shape == (4, 6, 3)
    assert image_bgr.dtype == np.uint8
    assert image_bgr[0, 0].tolist() == [10, 20, 31]
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, (np.arange(24).reshape(4, 6) + 1) % 12)


def test_iterates_over_all_frames_once_per_loop(camvid: Path) -> None:
    data = CamVid(camvid, "val")
    reds = [[int(image_bgr[0, 0, 2]) for image_bgr, _ in data] for _ in range(2)]
    assert reds == [[31, 30], [31, 30]]


def test_accepts_a_string_as_root(camvid: Path) -> None:
    assert len(CamVid(str(camvid), "val")) == 2


def test_index_past_the_end(camvid: Path) -> None:
    with pytest.raises(IndexError):
        CamVid(camvid, "val")[2]


def test_paths_of_the_authors_lists_are_looked_up_under_root(camvid: Path) -> None:
    (camvid / "val.txt").write_text("/SegNet/CamVid/val/0.png /SegNet/CamVid/valannot/0.png\n")
    assert CamVid(camvid, "val").pairs == [(camvid / "val/0.png", camvid / "valannot/0.png")]


def test_absolute_paths_that_exist_are_taken_as_they_are(camvid: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "val.txt").write_text(f"{camvid}/val/0.png {camvid}/valannot/0.png\n")
    assert CamVid(other, "val").pairs == [(camvid / "val/0.png", camvid / "valannot/0.png")]


def test_byte_order_mark_and_carriage_returns_are_no_part_of_a_path(camvid: Path) -> None:
    (camvid / "val.txt").write_bytes("\ufeffval/0.png valannot/0.png\r\n".encode())
    assert CamVid(camvid, "val").pairs[0][0] == camvid / "val/0.png"


def test_grey_and_transparent_pictures_become_bgr(tmp_path: Path) -> None:
    grey, bgra = tmp_path / "grey.png", tmp_path / "bgra.png"
    cv2.imwrite(str(grey), np.full((2, 3), 7, np.uint8))
    cv2.imwrite(str(bgra), np.full((2, 3, 4), (1, 2, 3, 128), np.uint8))
    np.testing.assert_array_equal(read_image(grey), np.full((2, 3, 3), 7))
    np.testing.assert_array_equal(read_image(bgra), np.full((2, 3, 3), (1, 2, 3)))


def test_missing_root_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        CamVid(tmp_path / "nowhere", "train")
    assert str(error.value) == (
        f"no data set at {tmp_path}/nowhere: give a folder with train.txt with one "
        "'IMAGE LABEL' pair per line, relative to that folder"
    )


def test_missing_split_names_those_that_exist(camvid: Path) -> None:
    shutil.copy(camvid / "val.txt", camvid / "train.txt")
    # Neither is a list of frames, though the first has two words to a line.
    (camvid / "README.txt").write_text("About CamVid\n")
    (camvid / "label_colors.txt").write_text("64 128 64\tAnimal\n")
    with pytest.raises(DataError) as error:
        CamVid(camvid, "test")
    assert str(error.value) == f"{camvid} has no split 'test': use one of its splits: train, val"


def test_folder_without_any_list(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        CamVid(tmp_path, "val")
    assert str(error.value) == (
        f"{tmp_path} has no split 'val': write val.txt with one 'IMAGE LABEL' pair per line, "
        "relative to that folder"
    )


def test_empty_split(camvid: Path) -> None:
    (camvid / "val.txt").write_text("\n \n")
    with pytest.raises(DataError) as error:
        CamVid(camvid, "val")
    assert str(error.value) == (
        f"{camvid}/val.txt lists no frames: write val.txt with one 'IMAGE LABEL' pair per "
        "line, relative to that folder"
    )


def test_list_that_is_not_text(camvid: Path) -> None:
    (camvid / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        DataError, match=r"^cannot read .*val\.txt \(it is not text\): save it as text in UTF-8$"
    ):
        CamVid(camvid, "val")


@pytest.mark.parametrize(
    ("line", "fields"), [("val/0.png", 1), ("val/0.png valannot/0.png extra", 3)]
)
def test_line_that_is_not_a_pair(camvid: Path, line: str, fields: int) -> None:
    (camvid / "val.txt").write_text(f"val/1.png valannot/1.png\n{line}\n")
    with pytest.raises(DataError) as error:
        CamVid(camvid, "val")
    assert str(error.value) == (
        f"{camvid}/val.txt line 2 has {fields} fields: {line!r}: write 'IMAGE LABEL', two paths "
        "without spaces"
    )


def test_file_that_the_list_names_but_is_absent(camvid: Path) -> None:
    (camvid / "valannot/0.png").unlink()
    with pytest.raises(DataError) as error:
        CamVid(camvid, "val")
    assert str(error.value) == (
        f"{camvid}/val.txt line 3 names {camvid}/valannot/0.png, which does not exist: "
        f"write paths relative to {camvid}"
    )


def test_label_of_another_picture(camvid: Path) -> None:
    (camvid / "val.txt").write_text("val/0.png valannot/1.png\nval/1.png valannot/0.png\n")
    with pytest.raises(DataError) as error:
        CamVid(camvid, "val")
    assert str(error.value) == (
        f"{camvid / 'val.txt'} pairs {camvid / 'val/0.png'} with {camvid / 'valannot/1.png'}, "
        "which has the name of another picture: correct the list"
    )
    # A label may have a name of its own, as long as it is no other picture's.
    (camvid / "valannot/1.png").rename(camvid / "valannot/0_L.png")
    (camvid / "val.txt").write_text("val/0.png valannot/0_L.png\nval/1.png valannot/0_L.png\n")
    assert len(CamVid(camvid, "val")) == 2


def test_labels_alone(camvid: Path) -> None:
    data = CamVid(camvid, "val")
    np.testing.assert_array_equal(data.labels(1), data[1][1])
    data.pairs[1][0].unlink()
    assert data.labels(1).shape == (4, 6)


def test_file_removed_after_the_list_was_read(camvid: Path) -> None:
    data = CamVid(camvid, "val")
    (camvid / "val/1.png").unlink()
    with pytest.raises(DataError) as error:
        data[0]
    assert (
        str(error.value)
        == f"cannot read {camvid}/val/1.png (No such file or directory): check the path"
    )


@pytest.mark.parametrize("keep", [0, 7, 60, -8])
def test_truncated_png(camvid: Path, keep: int) -> None:
    path = camvid / "val/1.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError) as error:
        CamVid(camvid, "val")[0]
    assert str(error.value) == (
        f"cannot decode {path}: the file is empty, damaged or not a picture: copy it again"
    )


def test_text_named_png(camvid: Path) -> None:
    (camvid / "valannot/1.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"^cannot decode .*valannot/1\.png: the file is empty,"):
        CamVid(camvid, "val")[0]


def test_sizes_that_differ(camvid: Path) -> None:
    label = write_labels(camvid, np.zeros((6, 4), np.uint8))
    with pytest.raises(DataError) as error:
        CamVid(camvid, "val")[0]
    assert str(error.value) == (
        f"sizes differ: {camvid}/val/1.png is 6x4 and its label {label} is 4x6: "
        "make each label as large as its frame"
    )


def test_label_id_above_void(camvid: Path) -> None:
    label = write_labels(camvid, np.full((4, 6), 255, np.uint8))
    with pytest.raises(DataError) as error:
        CamVid(camvid, "val")[0]
    assert str(error.value) == (
        f"label {label} holds class id 255: ids are 0..10, and 11 for void: "
        "convert the labels to the 11 CamVid classes first"
    )


def test_coloured_label(camvid: Path) -> None:
    label = write_labels(camvid, np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(DataError) as error:
        CamVid(camvid, "val")[0]
    assert str(error.value) == (
        f"label {label} has 3 channels: save it as a grey PNG of class ids "
        "(0..10, 11 = void), not as a coloured or paletted picture"
    )


def test_16_bit_label(camvid: Path) -> None:
    label = write_labels(camvid, np.zeros((4, 6), np.uint16))
    with pytest.raises(DataError) as error:
        CamVid(camvid, "val")[0]
    assert str(error.value) == (
        f"label {label} has 16-bit pixels: save it as an 8-bit grey PNG of class ids"
    )


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_less_than_8_bits(camvid: Path, bits: int) -> None:
    """OpenCV would read id 1 of a 1-bit label as 255."""
    label = camvid / "valannot" / "1.png"
    label.write_bytes(grey_png(bits, rows=[b"\0\x55\x55\x55"[: 1 + bits]] * 4, size_hw=(4, 6)))
    with pytest.raises(DataError) as error:
        CamVid(camvid, "val")[0]
    assert str(error.value) == (
        f"label {label} has {bits}-bit pixels: save it as an 8-bit grey PNG of class ids"
    )


def grey_png(bits: int, rows: list[bytes], size_hw: tuple[int, int]) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", size_hw[1], size_hw[0], bits, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("split", "frames"), [("train", 367), ("val", 101)])
def test_real_camvid(camvid_dir: Path, split: str, frames: int) -> None:
    data = CamVid(camvid_dir, split)
    assert len(data) == frames
    image_bgr, labels = data[frames - 1]
    assert image_bgr.shape == (360, 480, 3)
    assert labels.shape == (360, 480)
    assert labels.max() <= 11
