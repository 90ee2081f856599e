"""SUN RGB-D: 10335 indoor pictures, 37 classes, officially 5285 for training and 5050 for testing.

The official folder, with the lists of its split and the label PNGs that were extracted from the
toolbox (whose own `SUNRGBD2Dseg.mat` holds all labels in one array):

    ROOT/SUNRGBD/kv1/..., kv2/..., realsense/..., xtion/...     as in SUNRGBD.zip
    ROOT/sunrgbd_training_images.txt     alltrain of allsplit.mat: a picture's path per line
    ROOT/sunrgbd_testing_images.txt      alltest
    ROOT/sunrgbd_train_test_labels/img-000001.png, ...    the test list's first, in its order,
                                         then the training list's

or the same repacked by number, as several tools expect it:

    ROOT/image/train/img-000001.jpg      ROOT/label37/train/00000001.png
    ROOT/image/test/img-000001.jpg       ROOT/label37/test/00000001.png

Stored ids are 1..37, 0 is void. There is no official validation split, and the test split is for
testing: `val` is a tenth of the training pictures, twenty runs of neighbours, since the pictures
of one room follow each other; `train` is the rest, `trainval` all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from roadseg.core.errors import DataError, unreadable
from roadseg.core.labels import SUNRGBD
from roadseg.datasets.labelled import LabelCode, LabelledSet

_LISTS = {"train": "sunrgbd_training_images.txt", "test": "sunrgbd_testing_images.txt"}
_LABELS = "sunrgbd_train_test_labels"
_SPLITS = ("train", "val", "trainval", "test")
_SOURCE = (
    "take pictures from https://rgbd.cs.princeton.edu, lists and label PNGs from "
    "https://github.com/ankurhanda/sunrgbd-meta-data"
)
_CODE = LabelCode(
    SUNRGBD,
    void=(0,),
    fix="use the labels of 37 classes, not those of all objects",
    first=1,
)
_VALIDATION_RUNS = 20
_OFFICIAL = {"train": 5285, "test": 5050}

Pairs = list[tuple[Path, Path]]


def looks_like_sunrgbd(root: Path) -> bool:
    """Whether a folder has the names of SUN RGB-D's, complete or not."""
    names = ("SUNRGBD", "SUNRGBDtoolbox", _LABELS, "label37", *_LISTS.values())
    return any((root / name).exists() for name in names)


class SunRgbd(LabelledSet):
    """One split of SUN RGB-D.

    Args:
        root: the folder of one of the two layouts.
        split: `train`, `val`, `trainval` or `test`; see this module's docstring.

    Attributes:
        pairs: image and label path of every frame, in the order of the official lists.

    Raises:
        DataError: a list, picture or label is missing, or the split is empty or unknown.
    """

    def __init__(self, root: Path | str, split: str) -> None:
        root = Path(root)
        if split not in _SPLITS:
            raise DataError(
                f"SUN RGB-D has no split {split!r}", fix=f"use one of {', '.join(_SPLITS)}"
            )
        part = "test" if split == "test" else "train"
        every = _repacked(root, part) if (root / "label37").is_dir() else _official(root, part)
        chosen = every
        if split in ("train", "val"):
            chosen = [pair for i, pair in enumerate(every) if _held_out(i, len(every), split)]
        if not chosen:
            raise DataError(
                f"{split} of {root} is empty: there are {len(every)} pictures in {part}",
                fix="use another split, or add pictures",
            )
        super().__init__(root, split, chosen, _CODE)


def _held_out(index: int, count: int, split: str) -> bool:
    """Whether a training picture belongs to `val`, the last tenth of each run, or to `train`."""
    run = min(count, max(10, count // _VALIDATION_RUNS))
    is_validation = index % run >= run - max(1, run // 10)
    return is_validation == (split == "val")


def _official(root: Path, part: str) -> Pairs:
    lists = {name: _read_list(root, name) for name in _LISTS}
    # The labels are numbered through: those of the test list come first.
    before = len(lists["test"]) if part == "train" else 0
    pairs = []
    for number, line in enumerate(lists[part], start=1):
        image = root / line
        label = root / _LABELS / f"img-{before + number:06d}.png"
        for path in (image, label):
            if not path.is_file():
                raise DataError(
                    f"{root / _LISTS[part]} line {number} needs {path}, which does not exist",
                    fix=_SOURCE,
                )
        pairs.append((image, label))
    return pairs


def _read_list(root: Path, part: str) -> list[str]:
    path = root / _LISTS[part]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(
            f"{root} is SUN RGB-D without {path.name}, the official split", fix=_SOURCE
        ) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise unreadable(DataError, path, exc) from exc
    return [line.strip() for line in lines if line.strip()]


def _repacked(root: Path, part: str) -> Pairs:
    images = _numbered(root / "image" / part, (".jpg", ".jpeg", ".png"))
    labels = _numbered(root / "label37" / part, (".png",))
    # Labels may go on counting where those of the other split ended.
    other = "train" if part == "test" else "test"
    behind = root / "label37" / other
    ended = max(_numbered(behind, (".png",)), default=0) if behind.is_dir() else _OFFICIAL[other]
    goes_on = images and labels and min(images) <= ended < min(labels)
    shift = ended if goes_on else 0
    for number, image in images.items():
        if number + shift not in labels:
            raise DataError(
                f"{image} has no label: number {number + shift} is missing in "
                f"{root / 'label37' / part}",
                fix=_SOURCE,
            )
    if len(labels) > len(images):
        extra = next(labels[n] for n in labels if n - shift not in images)
        raise DataError(f"{extra} has no picture in {root / 'image' / part}", fix=_SOURCE)
    return [(image, labels[number + shift]) for number, image in images.items()]


def _numbered(folder: Path, suffixes: Sequence[str]) -> dict[int, Path]:
    """Files by the last number in their names, in its order."""
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", fix=_SOURCE)
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = re.search(r"(\d+)$", path.stem)
        is_hidden = path.name.startswith(".")  # `._a.png` of macOS archives
        if match is None or is_hidden or path.suffix.lower() not in suffixes:
            continue
        first = found.setdefault(int(match[1]), path)
        if first != path:
            raise DataError(
                f"{first} and {path.name} have the same number", fix="remove one of them"
            )
    return dict(sorted(found.items()))
