"""CamVid, in the layout of the SegNet authors.

    ROOT/val.txt                    one "IMAGE LABEL" pair per line, relative to ROOT
    ROOT/val/0016E5_07959.png       the frame
    ROOT/valannot/0016E5_07959.png  8-bit class ids, 0..10, 11 = void, of the same size

The authors' own lists hold absolute paths (`/SegNet/CamVid/val/...`); where such a path does not
exist, its last two parts are looked up under ROOT, so those lists work as they are.
"""

from __future__ import annotations

from pathlib import Path

from roadseg.core.errors import DataError, unreadable
from roadseg.datasets.labelled import CAMVID_CODE, LabelledSet


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


def _read_pairs(root: Path, split: str) -> list[tuple[Path, Path]]:
    layout = f"{split}.txt with one 'IMAGE LABEL' pair per line, relative to that folder"
    if not root.is_dir():
        raise DataError(f"no data set at {root}", fix=f"give a folder with {layout}")
    list_path = root / f"{split}.txt"
    if not list_path.is_file():
        found = camvid_splits(root)
        what = f"{root} has no split {split!r}"
        if not found:
            raise DataError(what, fix=f"write {layout}")
        raise DataError(what, fix=f"use one of its splits: {', '.join(found)}")
    try:
        lines = list_path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise unreadable(DataError, list_path, exc) from exc
    pairs: list[tuple[Path, Path]] = []
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2:
            raise DataError(
                f"{list_path} line {number} has {len(fields)} fields: {line.strip()!r}",
                fix="write 'IMAGE LABEL', two paths without spaces",
            )
        image, label = (_locate(root, field) for field in fields)
        for path in (image, label):
            if not path.is_file():
                raise DataError(
                    f"{list_path} line {number} names {path}, which does not exist",
                    fix=f"write paths relative to {root}",
                )
        pairs.append((image, label))
    if not pairs:
        raise DataError(f"{list_path} lists no frames", fix=f"write {layout}")
    _check_names(list_path, pairs)
    return pairs


def camvid_splits(root: Path) -> list[str]:
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
                f"{list_path} pairs {image} with {label}, which has the name of another picture",
                fix="correct the list",
            )


def _locate(root: Path, field: str) -> Path:
    path = root / field  # an absolute field replaces root
    if not path.is_file() and Path(field).is_absolute():
        return root.joinpath(*Path(field).parts[-2:])
    return path
