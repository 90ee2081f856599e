"""Pictures as decoders give them and encoders take them: brightness and two colour planes.

Only a third of a decoded picture's numbers are colours, and most files are written the way they are
read. A picture that stays as it is, with class colours blended into its planes, costs a third of
the time that the way through BGR takes, and its own colours are not rounded on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.resize import resized

Plane: TypeAlias = npt.NDArray[np.uint8]
"""(H, W) uint8; its rows may be parts of longer ones."""

_Bgr: TypeAlias = npt.NDArray[np.uint8]
_Matrix: TypeAlias = npt.NDArray[np.float32]

# 224 of 255 levels are used for colour differences.
_CHROMA_SCALE = 224 / 255

# Shares of red and blue in brightness, by ITU-R BT.601 and BT.709.
_RED_BLUE = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


@dataclass(frozen=True, slots=True)
class Colours:
    """How a picture's colours were taken apart.

    Attributes:
        matrix: of SD or of HD video.
        full_range: brightness is 0..255 and colours 1..255, rather than 16..235 and 16..240.
    """

    matrix: Literal["bt601", "bt709"] = "bt601"
    full_range: bool = False

    @property
    def from_bgr(self) -> _Matrix:
        """(3, 4): brightness, blue and red difference = matrix @ (blue, green, red, 1)."""
        return _from_bgr(self)

    @property
    def to_bgr(self) -> _Matrix:
        """(3, 4): blue, green, red = matrix @ (brightness, blue and red difference, 1)."""
        return _to_bgr(self)

    def of(self, bgr: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """(..., 3) BGR to (..., 3) brightness, blue and red difference, not rounded.

        >>> Colours().of([255, 255, 255]).round(3)
        array([235., 128., 128.], dtype=float32)
        """
        matrix = self.from_bgr
        parts: npt.NDArray[np.float32] = (
            np.asarray(bgr, np.float32) @ matrix[:, :3].T + matrix[:, 3]
        )
        return parts


BT601 = Colours()
"""What is written for pictures that come in BGR."""


@lru_cache
def _from_bgr(colours: Colours) -> _Matrix:
    red, blue = _RED_BLUE[colours.matrix]
    brightness = np.array([blue, 1 - red - blue, red])
    rows = np.stack(
        [
            brightness,
            (np.array([1, 0, 0]) - brightness) / (2 * (1 - blue)),
            (np.array([0, 0, 1]) - brightness) / (2 * (1 - red)),
        ]
    )
    full = colours.full_range
    levels = np.ones(3) if full else np.array([219, 224, 224]) / 255
    offsets = np.array([0.0 if full else 16.0, 128.0, 128.0])
    return np.column_stack([rows * levels[:, None], offsets]).astype(np.float32)


@lru_cache
def _to_bgr(colours: Colours) -> _Matrix:
    forward = _from_bgr(colours).astype(np.float64)
    back = np.linalg.inv(forward[:, :3])
    return np.column_stack([back, -back @ forward[:, 3]]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Planes:
    """An 8-bit 4:2:0 picture with even sides.

    Attributes:
        y: (H, W) brightness.
        u, v: (H / 2, W / 2) blue and red difference, each of 2x2 pixels.
        colours: what the numbers mean.

    Raises:
        ValueError: the planes do not fit each other.
    """

    y: Plane
    u: Plane
    v: Plane
    colours: Colours = BT601

    def __post_init__(self) -> None:
        height, width = self.y.shape
        half_hw = (height // 2, width // 2)
        if height % 2 or width % 2 or self.u.shape != half_hw or self.v.shape != half_hw:
            raise ValueError(
                f"expected even sides and colour planes of half of them, got {self.y.shape}, "
                f"{self.u.shape} and {self.v.shape}"
            )

    @classmethod
    def empty(cls, size_hw: tuple[int, int], colours: Colours = BT601) -> Planes:
        """New ones, one behind the other in memory; see `packed`."""
        height, width = size_hw
        return cls.unpack(np.empty((height * 3 // 2, width), np.uint8), colours)

    @classmethod
    def unpack(cls, packed: Plane, colours: Colours = BT601) -> Planes:
        """Views of a (H * 3 / 2, W) array; see `packed`."""
        width = packed.shape[1]
        height = packed.shape[0] * 2 // 3
        u, v = packed[height:].reshape(2, height // 2, width // 2)
        planes = cls(packed[:height], u, v, colours)
        planes.__dict__["packed"] = packed
        return planes

    @classmethod
    def of_bgr(cls, image_bgr: _Bgr, colours: Colours = BT601, out: Plane | None = None) -> Planes:
        """Take a picture's colours apart, each colour the mean of its 2x2 block.

        OpenCV's own conversion is exact in brightness, but takes the colour of one pixel of the
        four, which frays the edges of an overlay. That of PyAV (swscale) tints greys: its rounding
        can only be corrected from PyAV 18 on.

        Args:
            image_bgr: (H, W, 3) uint8 BGR, H and W even.
            colours: what the numbers are to mean.
            out: (H * 3 / 2, W) uint8 to write to.
        """
        height, width = image_bgr.shape[:2]
        if out is None:
            out = np.empty((height * 3 // 2, width), np.uint8)
        planes = cls.unpack(out, colours)
        half = cv2.resize(image_bgr, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        if colours == BT601:  # the usual one, and twice as fast this way
            cv2.cvtColor(image_bgr, cv2.COLOR_BGR2YUV_I420, dst=out)
            chroma = cv2.convertScaleAbs(
                cv2.cvtColor(half, cv2.COLOR_BGR2YCrCb),
                alpha=_CHROMA_SCALE,
                beta=128 * (1 - _CHROMA_SCALE),
            )
            np.copyto(planes.u, chroma[..., 2])
            np.copyto(planes.v, chroma[..., 1])
        else:
            np.copyto(planes.y, cv2.transform(image_bgr, colours.from_bgr[:1]))
            chroma = cv2.transform(half, colours.from_bgr[1:])
            np.copyto(planes.u, chroma[..., 0])
            np.copyto(planes.v, chroma[..., 1])
        return planes

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.y.shape[0], self.y.shape[1]

    @cached_property
    def packed(self) -> Plane:
        """(H * 3 / 2, W) uint8: H rows of brightness, then the two colour planes, as FFmpeg's
        yuv420p has them without gaps. Those of `empty` and `unpack` are not copied."""
        copy = Planes.empty(self.size_hw, self.colours)
        copy.copy_from(self)
        return copy.packed

    @cached_property
    def bgr(self) -> _Bgr:
        """(H, W, 3) uint8 BGR, computed at first use."""
        return self.resized_bgr(self.size_hw)

    def columns(self, first: int, last: int) -> Planes:
        """A part of the picture, not copied; both columns are even."""
        return Planes(
            self.y[:, first:last],
            self.u[:, first // 2 : last // 2],
            self.v[:, first // 2 : last // 2],
            self.colours,
        )

    def copy_from(self, other: Planes) -> None:
        """Take the numbers of another picture of the same size and colours."""
        for mine, its in zip((self.y, self.u, self.v), (other.y, other.u, other.v), strict=True):
            np.copyto(mine, its)

    def resized_bgr(self, size_hw: tuple[int, int], out: _Bgr | None = None) -> _Bgr:
        """(h, w, 3) uint8 BGR of another size; each plane is resized before colours are made.

        Args:
            size_hw: height and width.
            out: (h, w, 3) uint8 to write to.
        """
        planes = [
            plane if plane.shape == size_hw else resized(plane, size_hw)
            for plane in (self.y, self.u, self.v)
        ]
        bgr: Any = cv2.transform(cv2.merge(planes), self.colours.to_bgr, dst=out)
        return np.asarray(bgr, np.uint8)
