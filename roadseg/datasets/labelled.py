"""Labelled frames on disk: pairs of a picture and its label, read and checked on access."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.cv2_check import quiet_opencv
from roadseg.core.errors import DataError, ModelError, unreadable
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.types import Image, Labels
from roadseg.media.picture_file import PNG_SIGNATURE, is_cut_off

SIZE_FIX = "make each label as large as its frame"
"""What to do about a label of another size than its frame."""


@dataclass(frozen=True)
class LabelCode:
    """How label files write the ids of classes.

    Attributes:
        classes: the classes.
        void: the stored ids that mean void.
        fix: what to do about any other id.
        first: the stored id of class 0.
    """

    classes: ClassSet
    void: tuple[int, ...]
    fix: str
    first: int = 0

    @property
    def ids(self) -> str:
        """The stored ids of the classes: `0..10`."""
        return f"{self.first}..{self.first + self.classes.num_classes - 1}"

    def decode(self, stored: Labels, name: str) -> Labels:
        """Stored ids, of any shape, to class ids; void becomes `classes.void_id`.

        Raises:
            DataError: an id names no class; the message starts with `name`.
        """
        table = np.full(256, -1, np.int16)
        table[self.first : self.first + self.classes.num_classes] = range(self.classes.num_classes)
        table[list(self.void)] = self.classes.void_id
        present = np.flatnonzero(np.bincount(stored.ravel(), minlength=256))
        unknown = present[table[present] < 0]
        if len(unknown):
            void = " or ".join(str(i) for i in self.void)
            raise DataError(
                f"{name} holds class id {unknown[-1]}: ids are {self.ids}, and {void} for void",
                fix=self.fix,
            )
        if (table[present] == present).all():
            return stored
        decoded: Labels = table.astype(np.uint8)[stored]
        return decoded


def plain_code(classes: ClassSet, fix: str, *, void: tuple[int, ...] = ()) -> LabelCode:
    """Class ids as they are, and the first behind them for void; `void` names further ids for it.

    `fix` is what to do about any other id.
    """
    return LabelCode(classes, tuple(dict.fromkeys((classes.void_id, *void))), fix)


CAMVID_CODE = plain_code(CAMVID, "convert the labels to the 11 CamVid classes first")
"""As in CamVid's label files: 0..10, and 11 for void."""


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
                f"{_size(labels)}",
                fix=SIZE_FIX,
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

    def subset(self, indices: Sequence[int], name: str) -> LabelledSet:
        """Some of the frames, as a split of another name."""
        return LabelledSet(self.root, name, [self.pairs[i] for i in indices], self._code)

    def check_model(self, model: str, classes: ClassSet) -> None:
        """Refuse a model that tells other classes apart than those of the labels.

        Raises:
            ModelError: it does.
        """
        if not classes.same_classes(self.classes):
            raise ModelError(
                f"{model} knows {classes}, and {self.root} is labelled with {self.classes}",
                fix="use a model that was trained on such data",
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
            f"label {path} has {pixels.shape[2]} channels",
            fix=f"save it as a grey PNG of class ids ({code.ids}, {void} = void), not as a "
            "coloured or paletted picture",
        )
    # OpenCV spreads the ids of 1, 2 or 4 bits over 0..255.
    bits = data[_PNG_BITS] if data.startswith(PNG_SIGNATURE) else 8 * pixels.dtype.itemsize
    if bits != 8:
        raise DataError(
            f"label {path} has {bits}-bit pixels", fix="save it as an 8-bit grey PNG of class ids"
        )
    return code.decode(pixels, f"label {path}")


def _read(path: Path) -> bytes:
    # Reading the bytes ourselves tells a missing file from a damaged one, and works for paths
    # that OpenCV cannot open.
    try:
        return path.read_bytes()
    except OSError as exc:
        raise unreadable(DataError, path, exc) from exc


def _decode(path: Path, data: bytes, flags: int) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] | None = None
    if data and not is_cut_off(data):
        try:
            with quiet_opencv():
                pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error as exc:
            raise DataError(
                f"cannot decode {path}: the file is damaged", fix="copy it again"
            ) from exc
    if pixels is None:
        raise DataError(
            f"cannot decode {path}: the file is empty, damaged or not a picture",
            fix="copy it again",
        )
    return pixels


def _size(pixels: npt.NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
