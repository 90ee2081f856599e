"""Semi-transparent panels with text and swatches: drawn once, blended into many frames.

Text is drawn four times too large and averaged down, which gives even, antialiased glyphs at
the small sizes that video needs, with every font that OpenCV brings.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.planes import Colours, Planes
from roadseg.core.types import Picture

__all__ = [
    "SMALLEST_CAPITAL_PX",
    "Colour",
    "Panel",
    "advance",
    "capital_px",
    "load_font",
    "text_width",
]

Colour = tuple[int, int, int]
"""Blue, green, red, 0..255."""

SMALLEST_CAPITAL_PX = 8
"""Capital letters of fewer pixels are hard to read, above all after video compression."""

_Mask = npt.NDArray[np.float32]
_Fixed = npt.NDArray[np.uint16]

_OVERSAMPLING = 4
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BACKGROUND: Colour = (22, 18, 16)


def capital_px(size_hw: tuple[int, int]) -> int:
    """Height in pixels of a capital letter that reads well on a picture of that size.

    8 at 480x360, 11 at 960x540, 18 at full HD, 36 at 4K: a share of large pictures, and as large
    as small ones have room for.
    """
    height, width = size_hw
    side = min(height, width * 0.6)
    return max(round(side / 60), min(round(side / 38), 11), SMALLEST_CAPITAL_PX)


class Panel:
    """A bitmap with its own opacity per pixel.

    Args:
        size_hw: height and width in pixels.
        opacity: of the dark background, 0..1.
        radius_px: of the rounded corners.
    """

    def __init__(self, size_hw: tuple[int, int], opacity: float, radius_px: int) -> None:
        self.size_hw = size_hw
        # A blended pixel is frame * keep + add.
        alpha = (_rounded_rectangle(size_hw, radius_px) * opacity)[..., None]
        self._keep: _Mask = np.repeat(1 - alpha, 3, axis=2)
        self._add: _Mask = alpha * np.array(_BACKGROUND, np.float32)
        # For pictures of one kind, and in planes of one place modulo 2.
        self._fixed: tuple[tuple[int, int, Colours] | None, list[_Blend]] | None = None

    def copy(self) -> Panel:
        """A panel that can be drawn on without changing this one."""
        other = Panel.__new__(Panel)
        other.size_hw = self.size_hw
        other._keep = self._keep.copy()
        other._add = self._add.copy()
        other._fixed = self._fixed
        return other

    def text(self, text: str, x: int, baseline_y: int, capital_px: int, colour: Colour) -> None:
        """Write `text` with its left end at `x`; what falls outside the panel is cut off."""
        mask, ascent_px = _text_mask(text, capital_px)
        self._paint(mask, x, baseline_y - ascent_px, colour)

    def swatch(self, x: int, y: int, side_px: int, colour: Colour) -> None:
        """An opaque square of exactly `colour`, with a thin light rim so that dark ones show."""
        rim = max(side_px // 10, 1)
        outer = np.full((side_px + 2 * rim, side_px + 2 * rim), 0.45, np.float32)
        self._paint(outer, x - rim, y - rim, (255, 255, 255))
        self._paint(np.ones((side_px, side_px), np.float32), x, y, colour)

    def blend_into(self, picture: Picture, x: int, y: int) -> None:
        """Blend the panel into a frame, in place, with its top left corner at (x, y).

        The whole panel must lie inside the frame.
        """
        key = (x % 2, y % 2, picture.colours) if isinstance(picture, Planes) else None
        if self._fixed is None or self._fixed[0] != key:
            parts = [(self._keep, self._add)] if key is None else self._in_planes(*key)
            self._fixed = key, [_Blend(*part) for part in parts]
        blends = self._fixed[1]
        if not isinstance(picture, Planes):
            blends[0].into(picture, x, y)
            return
        blends[0].into(picture.y, x, y)
        for blend, plane in zip(blends[1:], (picture.u, picture.v), strict=True):
            blend.into(plane, x // 2, y // 2)

    def _in_planes(self, odd_x: int, odd_y: int, colours: Colours) -> list[tuple[_Mask, _Mask]]:
        """What is kept and added in brightness, blue and red difference.

        The colour planes begin at an even pixel and end at one; there all is kept.
        """
        keep = self._keep[..., 0]
        # Black is a colour, too, with an offset of its own.
        offset, added = colours.from_bgr[:, 3], colours.of(self._add)
        added -= keep[..., None] * offset
        height, width = keep.shape
        border = (odd_y, (odd_y + height) % 2, odd_x, (odd_x + width) % 2)
        half_wh = ((odd_x + width + 1) // 2, (odd_y + height + 1) // 2)

        def halved(mask: _Mask, outside: float) -> _Mask:
            even = cv2.copyMakeBorder(mask, *border, cv2.BORDER_CONSTANT, value=outside)
            return np.asarray(cv2.resize(even, half_wh, interpolation=cv2.INTER_AREA), np.float32)

        half_keep = halved(keep, 1.0)
        planes = [np.ascontiguousarray(added[..., i]) for i in range(3)]
        return [
            (keep, planes[0]),
            (half_keep, halved(planes[1], 0.0)),
            (half_keep, halved(planes[2], 0.0)),
        ]

    def _paint(self, mask: _Mask, x: int, y: int, colour: Colour) -> None:
        height, width = self.size_hw
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + mask.shape[1], width), min(y + mask.shape[0], height)
        if left >= right or top >= bottom:
            return
        part = mask[top - y : bottom - y, left - x : right - x, None]
        area = (slice(top, bottom), slice(left, right))
        self._keep[area] *= 1 - part
        add = self._add[area]
        add += (np.array(colour, np.float32) - add) * part
        self._fixed = None


class _Blend:
    """`keep * picture + add`, in whole numbers."""

    def __init__(self, keep: _Mask, add: _Mask) -> None:
        # In 256ths, with a half that rounds. What is added is cut where the sum would pass 255:
        # pure red and blue of full range have a chroma of 255.5.
        self._keep: _Fixed = np.rint(keep * 256).astype(np.uint16)
        most = 255 * (256 - self._keep.astype(np.float32))
        self._add: _Fixed = (np.clip(add * 256, 0, most) + 128).astype(np.uint16)
        self._scratch = np.empty(self._add.shape, np.uint16)

    def into(self, image: npt.NDArray[np.uint8], x: int, y: int) -> None:
        """Blend into the part of `image` whose top left corner is (x, y)."""
        height, width = self._keep.shape[:2]
        region = image[y : y + height, x : x + width]
        np.multiply(region, self._keep, out=self._scratch)
        np.add(self._scratch, self._add, out=self._scratch)
        np.right_shift(self._scratch, 8, out=self._scratch)
        np.copyto(region, self._scratch, casting="unsafe")


def load_font(size_hw: tuple[int, int]) -> None:
    """Have OpenCV load its font, for pictures of one size: 20 ms, in each thread that writes."""
    text_width("H", capital_px(size_hw))


def text_width(text: str, capital_px: int) -> int:
    """Width in pixels of `text`, for laying out."""
    scale, thickness = _font(capital_px)
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    return round(int(width) / _OVERSAMPLING)


@lru_cache(maxsize=256)
def advance(character: str, capital_px: int) -> int:
    """Pixels from one character to the next, for text that is set character by character."""
    # A single character's size includes the stroke or not, depending on OpenCV's version.
    return round((text_width(character * 11, capital_px) - text_width(character, capital_px)) / 10)


@lru_cache(maxsize=512)
def _text_mask(text: str, capital_px: int) -> tuple[_Mask, int]:
    """Coverage 0..1 of `text`, and how many of its rows lie above the baseline."""
    scale, thickness = _font(capital_px)
    ascent_px = math.ceil(capital_px * 1.35)
    height = ascent_px + math.ceil(capital_px * 0.5)
    width = text_width(text, capital_px) + 3
    canvas = np.zeros((height * _OVERSAMPLING, width * _OVERSAMPLING), np.uint8)
    origin = (0, ascent_px * _OVERSAMPLING)
    cv2.putText(canvas, text, origin, _FONT, scale, 255, thickness, cv2.LINE_AA)
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    mask: _Mask = small.astype(np.float32) / np.float32(255)
    return mask, ascent_px


@lru_cache(maxsize=64)
def _font(capital_px: int) -> tuple[float, int]:
    """Font scale and thickness for oversampled capitals.

    The scale is measured and not computed: OpenCV 5 draws other glyphs than OpenCV 4.
    """
    canvas = np.zeros((200, 200), np.uint8)
    cv2.putText(canvas, "H", (20, 150), _FONT, 4.0, 255, 4)
    rows = np.flatnonzero(canvas.any(axis=1))
    scale = 4.0 * capital_px * _OVERSAMPLING / (int(rows[-1]) - int(rows[0]) + 1)
    return scale, max(round(capital_px * _OVERSAMPLING / 9), 1)


def _rounded_rectangle(size_hw: tuple[int, int], radius_px: int) -> _Mask:
    height, width = (side * _OVERSAMPLING for side in size_hw)
    radius = min(radius_px * _OVERSAMPLING, height // 2, width // 2)
    canvas = np.zeros((height, width), np.uint8)
    cv2.rectangle(canvas, (radius, 0), (width - 1 - radius, height - 1), 255, cv2.FILLED)
    cv2.rectangle(canvas, (0, radius), (width - 1, height - 1 - radius), 255, cv2.FILLED)
    for x in (radius, width - 1 - radius):
        for y in (radius, height - 1 - radius):
            cv2.circle(canvas, (x, y), radius, 255, cv2.FILLED)
    small = cv2.resize(canvas, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_AREA)
    mask: _Mask = small.astype(np.float32) / np.float32(255)
    return mask
