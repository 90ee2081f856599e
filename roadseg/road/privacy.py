"""Privacy: hides what label maps show of some classes, such as people and cars.

A mask is as good as the network: what it misses is not hidden. docs/road.md has the share of true
pedestrian pixels that were covered.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.errors import UsageError
from roadseg.core.types import Image, Labels
from roadseg.core.wording import option
from roadseg.road.areas import Mask
from roadseg.road.vocabulary import Vocabulary, check_labels

STYLES = ("blur", "pixelate", "fill")
"""What takes the place of hidden pixels."""

_FILL_BGR = (64, 64, 64)
_CELL = 1 / 24  # of the picture's height: a face nearer than this is large, and has few cells
_LEAST_CELL_PX = 8


class PrivacyMask:
    """Where to hide: classes with a margin around them, and held for a while.

    >>> mask = PrivacyMask(["pedestrian"], Vocabulary(), margin=0.0, hold_s=0.5)
    >>> mask.update(0.0, np.array([[9, 3, 3]], np.uint8))
    array([[255,   0,   0]], dtype=uint8)
    >>> mask.update(0.4, np.array([[3, 3, 9]], np.uint8))
    array([[255,   0, 255]], dtype=uint8)
    >>> mask.update(0.6, np.array([[3, 3, 3]], np.uint8))
    array([[  0,   0, 255]], dtype=uint8)

    Args:
        names: classes or groups to hide.
        words: what the ids of the label maps mean.
        margin: how far around them, as a share of the label map's height; at least one pixel
            unless 0.
        hold_s: how long a place stays hidden after the network last saw something to hide there,
            so that a missed frame shows nothing.

    Raises:
        UsageError: no names, one that means nothing, or a margin or time that is negative.
    """

    def __init__(
        self,
        names: list[str],
        words: Vocabulary,
        *,
        margin: float = 0.02,
        hold_s: float = 0.5,
    ) -> None:
        if not names:
            raise UsageError(
                "nothing to hide", fix=f"name classes, such as {option('--blur', 'people')}"
            )
        if not 0 <= margin <= 1 or not 0 <= hold_s < math.inf:
            raise UsageError(
                f"cannot hide with a margin of {margin} for {hold_s} s",
                fix="use a share of the picture's height, 0 to 1, and a time of 0 s or more",
            )
        self.margin, self.hold_s = margin, hold_s
        self._table = words.table(sorted({i for name in names for i in words.ids(name)}))
        self._seen_s: npt.NDArray[np.float64] | None = None
        self._last_s = math.nan

    def update(self, time_s: float, labels: Labels) -> Mask:
        """The mask of the next frame.

        Args:
            time_s: its time; where it goes backwards, nothing is held.
            labels: (h, w) uint8 class ids.

        Returns:
            (h, w) uint8, 255 where to hide, else 0; the caller's own.

        Raises:
            ValueError: not (h, w) uint8 labels.
        """
        check_labels(labels)
        mask: Mask = cv2.LUT(labels, self._table).reshape(labels.shape)
        reach = math.ceil(self.margin * labels.shape[0])
        if reach:
            # A square takes a tenth of a disk's time, and hides a little more.
            square = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * reach + 1, 2 * reach + 1))
            mask = cv2.dilate(mask, square).reshape(labels.shape)
        if not self.hold_s:
            return mask
        if self._seen_s is None or self._seen_s.shape != labels.shape or time_s < self._last_s:
            self._seen_s = np.full(labels.shape, -math.inf)
        self._last_s = time_s
        self._seen_s[mask > 0] = time_s
        held = self._seen_s >= time_s - self.hold_s
        return held.view(np.uint8) * np.uint8(255)


def check_style(style: str) -> None:
    """Refuse what is none of `STYLES`.

    Raises:
        UsageError: it is not.
    """
    if style not in STYLES:
        raise UsageError(f"cannot hide by {style!r}", fix=f"use {option('--blur-style', *STYLES)}")


def hide(image_bgr: Image, mask: Mask, style: str = "blur") -> Image:
    """Hide, in place, the pixels of a frame that lie under a mask.

    Each takes the average of a cell (`pixelate`), a smooth blend of such averages (`blur`), or one
    grey (`fill`), which alone tells nothing at all of what was there. Cells are 8x8 pixels, or a
    24th of the picture's height where that is larger.

    >>> frame_bgr = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    >>> mask = np.array([[255, 0], [0, 0]], np.uint8)
    >>> hide(frame_bgr, mask, "fill")[:2, 1:3, 0]
    array([[64, 64],
           [64, 64]], dtype=uint8)

    Args:
        image_bgr: (H, W, 3) uint8 BGR, written to.
        mask: (h, w) uint8 of any size, 0 where nothing is hidden. Every pixel of the frame that a
            hidden one touches is hidden.
        style: one of `STYLES`.

    Returns:
        `image_bgr`.

    Raises:
        UsageError: no such style.
    """
    check_style(style)
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return image_bgr
    rows, columns = image_bgr.shape[:2]
    scale_y, scale_x = rows / mask.shape[0], columns / mask.shape[1]
    cell = max(_LEAST_CELL_PX, round(_CELL * rows))
    # A cell more on each side: what is smaller than a cell is averaged with what is around it.
    y0 = max(math.floor((top - 1) * scale_y) - cell, 0)
    x0 = max(math.floor((left - 1) * scale_x) - cell, 0)
    y1 = min(math.ceil((top + height + 1) * scale_y) + cell, rows)
    x1 = min(math.ceil((left + width + 1) * scale_x) + cell, columns)
    part = image_bgr[y0:y1, x0:x1]
    full = mask
    if mask.shape != (rows, columns):
        # Whatever is above 0 is hidden: linear and area shares reach all pixels that touch.
        shrinks = rows < mask.shape[0] or columns < mask.shape[1]
        sampling = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        full = cv2.resize(mask, (columns, rows), interpolation=sampling).reshape(rows, columns)
    hidden = full[y0:y1, x0:x1]
    if style == "fill":
        _put(np.full_like(part, _FILL_BGR), hidden, part)
        return image_bgr
    cells_wh = (max(part.shape[1] // cell, 1), max(part.shape[0] // cell, 1))
    small = cv2.resize(part, cells_wh, interpolation=cv2.INTER_AREA)
    spread = cv2.INTER_LINEAR if style == "blur" else cv2.INTER_NEAREST
    large = cv2.resize(small, (part.shape[1], part.shape[0]), interpolation=spread)
    _put(np.asarray(large, np.uint8).reshape(part.shape), hidden, part)
    return image_bgr


def _put(new_bgr: Image, hidden: Mask, out: Image) -> None:
    """Copy where something is hidden."""
    if out.strides[1:] == (3, 1) and out.strides[0] > 0:
        cv2.copyTo(new_bgr, hidden, dst=out)  # in a fifth of the time
    else:
        np.copyto(out, new_bgr, where=(hidden > 0)[..., None])
