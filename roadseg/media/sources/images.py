"""An image, a folder of images, or a glob, as a source."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from roadseg.core.closing import Closing
from roadseg.core.cv2_check import quiet_opencv
from roadseg.core.errors import SourceError, unreadable
from roadseg.core.types import Frame, Image
from roadseg.core.wording import option
from roadseg.media.picture_file import is_animated, is_cut_off
from roadseg.media.sources.base import SourceInfo
from roadseg.media.sources.image_names import result_names

_IMAGE_SUFFIX = re.compile(
    r"\.(png|apng|gif|jpg|jpeg|jpe|bmp|tif|tiff|webp|ppm|pgm|pnm|jp2|avif)", re.I
)

# Images carry no time; most dashcams and most players settle on this. `--fps` says another.
IMAGE_RATE = Fraction(25)


def is_image(path: Path) -> bool:
    """By its suffix; hidden files (`._a.jpg` of macOS archives) are none."""
    return bool(_IMAGE_SUFFIX.fullmatch(path.suffix)) and not path.name.startswith(".")


def natural_key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts `frame2.png` before `frame10.png`, as people do.

    >>> sorted([Path("a10.png"), Path("a2.png")], key=natural_key)[0].name
    'a2.png'
    """
    pieces = re.split(r"(\d+)", str(path).lower())
    key = [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces if p]
    return key, str(path)


def images_in(folder: Path) -> list[Path]:
    """The images directly inside a folder, in natural order."""
    return sorted((p for p in folder.iterdir() if p.is_file() and is_image(p)), key=natural_key)


def read_image(path: Path) -> Image:
    """(H, W, 3) uint8 BGR, turned upright by its EXIF tag.

    Grey becomes three equal channels, 16 bits become 8 (divided by 256), alpha is dropped and
    not blended: the colours of transparent pixels appear as they are stored.

    Raises:
        SourceError: it is missing, damaged, cut off, or no image.
    """
    return decode_image(_read(path), path)


_FIX = "replace or remove it"


def _read(path: Path) -> bytes:
    # By Python: OpenCV cannot open paths outside the code page on Windows.
    try:
        return path.read_bytes()
    except OSError as exc:
        raise unreadable(SourceError, path, exc) from exc


def decode_image(data: bytes, path: Path | str) -> Image:
    """The picture in the bytes of a file; see `read_image`.

    Args:
        data: all of the file.
        path: what it is called, for messages.

    Raises:
        SourceError: it is damaged, cut off, empty or no image.
    """
    if is_cut_off(data):
        raise SourceError(f"cannot read {path}: it was cut off", fix="copy it again")
    try:
        with quiet_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as exc:
        raise SourceError(f"cannot read {path}: it is too large or damaged", fix=_FIX) from exc
    if image is None:
        what = "it is damaged or not an image" if data else "it is empty (0 bytes)"
        raise SourceError(f"cannot read {path}: {what}", fix=_FIX)
    return np.asarray(image, dtype=np.uint8)


class ImageSource(Closing):
    """See `roadseg.media.sources.base.Source`. Frame i is image i; one that cannot be read
    leaves a gap in the numbers, is counted in `frames_lost` and named in `warnings`.

    Args:
        paths: at least one, in order.
        name: for people.
        path: the folder or the single image, None for a glob.
        loop: start again after the last image; times and numbers go on, and results are named by
            their numbers, since the names of the images would come round again.
        max_frames: stop after so many frames.
        rate: images per second.
        warnings: to begin with.

    Raises:
        SourceError: not a single image can be read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        name: str,
        *,
        path: Path | None,
        loop: bool = False,
        max_frames: int | None = None,
        rate: Fraction | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        self.frames_lost = 0
        self.warnings: list[str] = list(warnings)
        self._paths = list(paths)
        self._rate = rate or IMAGE_RATE
        self._names = None if loop else result_names(self._paths)
        self._loop = loop
        self._max_frames = max_frames
        self._next = 0
        self._delivered = 0
        self._animated: list[Path] = []
        self._animated_line = 0
        self._first_failure: SourceError | None = None
        first = self._find()
        if first is None:
            assert self._first_failure is not None
            if len(self._paths) == 1:
                raise self._first_failure
            raise SourceError(
                f"none of the {len(self._paths)} images in {name} can be read; the first: "
                f"{self._first_failure.what}",
                fix=self._first_failure.fix,
            )
        self._pending: tuple[int, Image] | None = first
        count = None if loop else len(self._paths)
        if max_frames is not None:
            count = max_frames if count is None else min(count, max_frames)
        self.info = SourceInfo(
            name=name,
            kind="images",
            size_hw=(first[1].shape[0], first[1].shape[1]),
            rate=self._rate,
            frame_count=count,
            has_audio=False,
            path=path,
            time_base=1 / self._rate,
            input_dirs=tuple(sorted({p.resolve().parent for p in self._paths})),
            names=tuple(zip(map(str, self._paths), self._names or (), strict=False)),
        )

    def _find(self) -> tuple[int, Image] | None:
        """Position and picture of the next image that can be read."""
        failed = 0
        while failed < len(self._paths) and (self._loop or self._next < len(self._paths)):
            position = self._next
            self._next += 1
            path = self._paths[position % len(self._paths)]
            try:
                data = _read(path)
                image = decode_image(data, path)
            except SourceError as exc:
                self._first_failure = self._first_failure or exc
                failed += 1
                self.frames_lost += 1
                if position < len(self._paths):
                    self.warnings.append(str(exc))
                continue
            if position < len(self._paths) and is_animated(io.BytesIO(data)):
                self._note_animation(path)
            return position, image
        return None

    def _note_animation(self, path: Path) -> None:
        """One line, however many there are."""
        self._animated.append(path)
        first, more = self._animated[0], len(self._animated) - 1
        who = f"{first.name} and {more} more are" if more else f"{first.name} is"
        line = (
            f"{who} animated: in a series only the first picture is taken; "
            f"for all of it, {option('--source', first)}"
        )
        if more:
            self.warnings[self._animated_line] = line
        else:
            self._animated_line = len(self.warnings)
            self.warnings.append(line)

    def read(self) -> Frame | None:
        """See `Source.read`."""
        if self._max_frames is not None and self._delivered >= self._max_frames:
            return None
        found, self._pending = self._pending or self._find(), None
        if found is None:
            return None
        position, image = found
        self._delivered += 1
        name = None if self._names is None else self._names[position]
        return Frame(image, position, float(position / self._rate), time.monotonic(), name=name)

    def close(self) -> None:
        """See `Source.close`."""
        self._pending = None
        self._next = len(self._paths)
        self._loop = False
