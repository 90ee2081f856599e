"""A clip whose frames all have labels, such as the drive in `samples/`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING

import numpy as np

from roadseg.core.errors import DataError, reading
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.shipped import shipped_copy
from roadseg.core.types import Image, Labels
from roadseg.datasets.labelled import CAMVID_CODE, SIZE_FIX, LabelCode, plain_code, read_labels

if TYPE_CHECKING:
    import numpy.typing as npt


# In a folder of one's own classes it means void, too.
_VOID = 255


class LabelledClip:
    """The frames of a video with a label each; scored like a data set.

    Args:
        clip: a video file, or anything else that `roadseg run --source` reads to an end.
        labels: a folder of label PNGs, in the natural order of their names, which are those of the
            pictures where the clip is a folder and any is; or an `.npz` or `.npy` file with one
            (N, H, W) uint8 array. The id behind the last class is void,
            and 255 for classes other than CamVid's; frame i has label i.
        classes: what the labels name.

    Raises:
        DataError: there are no labels, or they are damaged.
    """

    def __init__(self, clip: Path | str, labels: Path | str, classes: ClassSet = CAMVID) -> None:
        self.clip = str(clip)
        self.classes = classes
        code = CAMVID_CODE
        if not classes.same_classes(CAMVID):
            fix = "label the frames with the classes that the model knows"
            code = plain_code(classes, fix, void=(_VOID,))
        path = Path(labels)
        with reading(DataError, path):
            self._labels = _open(path, code)
            if isinstance(self._labels, _Folder) and Path(clip).is_dir():
                self._labels.check_names(Path(clip))

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[tuple[Image, Labels]]:
        """(H, W, 3) uint8 BGR frames with (H, W) uint8 class ids.

        Raises:
            SourceError: the clip cannot be read.
            DataError: frames and labels differ in number or in size, or one is damaged.
        """
        from roadseg.media.sources.opening import open_source

        count = 0
        with open_source(self.clip) as source:
            while (frame := source.read()) is not None:
                if frame.index != count:  # a picture was passed over, and all behind it move up
                    raise DataError(
                        f"frame {count} of {self.clip}: {source.warnings[0]}",
                        fix="give a clip that can be read whole",
                    )
                if count < len(self):
                    labels = self._labels.read(count)
                    if labels.shape != frame.size_hw:
                        raise DataError(
                            f"frame {count} of {self.clip} is {_size(frame.size_hw)} and its "
                            f"label is {_size(labels.shape)}",
                            fix=SIZE_FIX,
                        )
                    yield frame.image_bgr, labels
                count += 1
            lost = "".join(f" ({warning})" for warning in source.warnings)
        if count != len(self):
            raise DataError(
                f"{self.clip} has {count} frames and {len(self)} labels{lost}",
                fix="give every frame one label",
            )


class _Folder:
    def __init__(self, path: Path, code: LabelCode) -> None:
        from roadseg.media.sources.images import images_in

        self._code = code
        self._folder = path
        # In the order of pictures in a folder, or names would meet others.
        self._paths = [each for each in images_in(path) if each.suffix.lower() == ".png"]
        if not self._paths:
            raise DataError(f"no label PNGs in {path}", fix="give a folder with one per frame")

    def check_names(self, pictures: Path) -> None:
        """Refuse labels that are called like other pictures than those they would belong to."""
        from roadseg.media.sources.images import images_in

        names = [each.stem for each in images_in(pictures)]
        mine = {each.stem for each in self._paths}
        if mine.isdisjoint(names):  # then their order alone says what belongs together
            return
        for path, name in zip(self._paths, names, strict=False):
            if path.stem != name:
                raise DataError(
                    f"{path} would be the label of {name} in {pictures}",
                    fix="give each picture a label of its own name, and no others",
                )

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> Labels:
        return read_labels(self._paths[index], self._code)


class _Array:
    def __init__(self, path: Path, code: LabelCode) -> None:
        self._array, self._code, self._name = _load(path), code, f"labels {path}"
        if self._array.ndim != 3 or self._array.dtype != np.uint8:
            raise DataError(
                f"labels in {path} are {self._array.shape} {self._array.dtype}",
                fix="save them as one (N, H, W) uint8 array of class ids",
            )
        # At once, not in the ninth minute; one by one, since counting takes eight times the memory.
        for index in range(len(self)):
            self.read(index)

    def __len__(self) -> int:
        return len(self._array)

    def read(self, index: int) -> Labels:
        return self._code.decode(self._array[index], self._name)


def _open(path: Path, code: LabelCode) -> _Folder | _Array:
    if path.is_dir():
        return _Folder(path, code)
    if path.suffix in (".npz", ".npy") and path.is_file():
        return _Array(path, code)
    copy = shipped_copy(path)
    raise DataError(
        f"no labels at {path}",
        fix=f"those of the documentation are {copy}"
        if copy
        else "use a folder of PNGs, or an .npz file with one (N, H, W) array of class ids",
    )


def _load(path: Path) -> npt.NDArray[np.uint8]:
    array: npt.NDArray[np.uint8]
    try:
        # NumPy leaves the file open when it is damaged; we do not.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                array = loaded
                return array
            names = loaded.files
            if len(names) == 1 or "labels" in names:
                array = loaded["labels" if "labels" in names else names[0]]
                return array
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, TokenError) as exc:
        raise DataError(
            f"cannot read labels from {path}: the file is damaged", fix="save or copy it again"
        ) from exc
    raise DataError(
        f"{path} holds the arrays {', '.join(names)}", fix="name that of the labels 'labels'"
    )


def _size(size_hw: tuple[int, ...]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"
