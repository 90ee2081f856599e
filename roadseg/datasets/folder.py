"""A labelled data set of your own: a class file, pictures, and label PNGs of the same names.

ROOT/classes.txt              one class per line, in the order of the ids; or classes.json
ROOT/train/images/0001.jpg    a picture, PNG or JPEG
ROOT/train/labels/0001.png    8-bit class ids of the same size; 255, or the first id behind
                              the classes, is void
ROOT/val/images/...           the same for every other split
"""

from __future__ import annotations

from pathlib import Path

from roadseg.core.errors import DataError
from roadseg.datasets.class_file import CLASS_FILES, read_class_file
from roadseg.datasets.labelled import LabelledSet, plain_code

_IMAGES, _LABELS = "images", "labels"
_PICTURES = (".png", ".jpg", ".jpeg")
_VOID = 255


def class_file(root: Path) -> Path | None:
    """The class file of a data set; None where there is none."""
    return next((root / name for name in CLASS_FILES if (root / name).is_file()), None)


def looks_like_folder(root: Path) -> bool:
    """Whether there are pictures and labels, whatever says which classes they show."""
    return any(root.glob(f"*/{_IMAGES}")) and any(root.glob(f"*/{_LABELS}"))


class LabelledFolder(LabelledSet):
    """One split of a folder of pictures and labels, paired by their names without suffix.

    Args:
        root: the folder that holds the class file.
        split: the name of the folder with `images` and `labels`.

    Attributes:
        pairs: image and label path of every frame, in the order of their names.

    Raises:
        DataError: no such folder or split, no pictures, a picture without a label or a label
            without a picture, or a class file that cannot be used.
    """

    def __init__(self, root: Path | str, split: str) -> None:
        root = Path(root)
        path = class_file(root)
        if path is None:
            raise DataError(
                f"{root} has no {CLASS_FILES[0]}", fix="write one, with a class per line"
            )
        classes = read_class_file(path)
        code = plain_code(classes, f"correct the label, or add its class to {path}", void=(_VOID,))
        super().__init__(root, split, _pairs(root, split), code)


def _pairs(root: Path, split: str) -> list[tuple[Path, Path]]:
    images, labels = root / split / _IMAGES, root / split / _LABELS
    for folder in (images, labels):
        if not folder.is_dir():
            found = sorted(p.parent.name for p in root.glob(f"*/{_IMAGES}"))
            there = f"use one of its splits ({', '.join(found)}), or " if found else ""
            there = "" if split in found else there
            raise DataError(
                f"{root} has no split {split!r}: there is no folder {folder}",
                fix=f"{there}put its pictures into {images} and its labels into {labels}",
            )
    pictures = _by_stem(images, _PICTURES)
    answers = _by_stem(labels, (".png",))
    if not pictures:
        raise DataError(f"{images} holds no pictures", fix="put PNG or JPEG files there")
    for stem, picture in pictures.items():
        if stem not in answers:
            raise DataError(
                f"{picture} has no label", fix=f"add {labels / stem}.png, or remove the picture"
            )
    for stem, label in answers.items():
        if stem not in pictures:
            raise DataError(
                f"{label} has no picture",
                fix=f"add {images / stem}.png or .jpg, or remove the label",
            )
    return [(picture, answers[stem]) for stem, picture in pictures.items()]


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DataError(
                f"{found[path.stem]} and {path} have one name", fix="remove or rename one of them"
            )
        found[path.stem] = path
    return found
