"""FFmpeg's pictures to arrays that look as players show them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np

from roadseg.core.planes import Colours, Planes
from roadseg.core.types import Image
from roadseg.media.pictures.hdr import ToneMap, is_hdr
from roadseg.media.pictures.orientation import (
    UPRIGHT,
    Orientation,
    orientation_of,
    swaps_sides,
    turn,
)

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


# Colour matrices by the numbers of ISO/IEC 23091-2; swscale has one of its own for each of these.
_UNSPECIFIED_MATRICES = (2, 3)
_BT709 = 1
_BT601 = 5
_MATRICES: dict[int, Literal["bt601", "bt709"]] = {1: "bt709", 5: "bt601", 6: "bt601"}
_PLANAR = ("yuv420p", "yuvj420p")
_FULL_RANGE = 2

# Without tags, players take video from so many rows on for BT.709.
_HD_ROWS = 720

# Pixels twice as wide as high and more exist; what is further off is a damaged header.
_WIDEST_PIXEL = 4


class BgrConverter:
    """FFmpeg's pictures to upright `image_bgr` arrays, whatever their size and pixel format.

    The display matrix, the shape of the pixels, colour matrix and range are honoured; HDR becomes
    SDR, alpha is dropped and deeper pictures are brought to 8 bits. It keeps the conversion tables
    of the last size and format, which is five times faster than building them for every frame.

    Args:
        sample_aspect: width of a pixel over its height. Pictures are widened or heightened so that
            their pixels are square: what is drawn, and what the network sees, has the shape that is
            shown.
    """

    def __init__(self, sample_aspect: Fraction | None = None) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        self._tone_map = ToneMap()
        aspect = sample_aspect or Fraction(1)
        self._aspect = aspect if 1 / _WIDEST_PIXEL <= aspect <= _WIDEST_PIXEL else Fraction(1)
        self._orientation: tuple[object, Orientation] | None = None

    def __call__(self, picture: VideoFrame) -> Image:
        """(H, W, 3) uint8 BGR, in square pixels, turned and mirrored as the file asks for."""
        orientation = self._orientation_of(picture)
        height, width = self._square(picture)
        if is_hdr(picture):
            picture = self._tone_map(picture)
        matrix = self._matrix_of(picture)
        bgr = self._reformatter.reformat(
            picture, width, height, format="bgr24", src_colorspace=matrix
        ).to_ndarray()
        return turn(np.asarray(bgr, dtype=np.uint8), orientation)

    def planes(self, picture: VideoFrame) -> Planes | None:
        """The decoder's own planes, not copied; None for a picture that is not shown as it is
        stored, or not stored as 8-bit 4:2:0 with even sides."""
        matrix = _MATRICES.get(self._matrix_of(picture))
        if (
            matrix is None
            or picture.format.name not in _PLANAR
            or picture.width % 2
            or picture.height % 2
            or picture.planes[0].line_size < picture.width  # stored from the bottom up
            or self._square(picture) != (picture.height, picture.width)
            or is_hdr(picture)
            or self._orientation_of(picture) != UPRIGHT
        ):
            return None
        y, u, v = (
            np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[
                : plane.height, : plane.width
            ]
            for plane in picture.planes
        )
        full = picture.format.name == "yuvj420p" or int(picture.color_range) == _FULL_RANGE
        return Planes(y, u, v, Colours(matrix, full))

    def size_hw(self, picture: VideoFrame) -> tuple[int, int]:
        """Height and width of the array that a picture becomes."""
        height, width = self._square(picture)
        return (width, height) if swaps_sides(self._orientation_of(picture)) else (height, width)

    def _matrix_of(self, picture: VideoFrame) -> int:
        """The colour matrix that a picture states, or that players take where it states none."""
        matrix = int(picture.colorspace)
        if matrix in _UNSPECIFIED_MATRICES:
            return _BT709 if picture.height >= _HD_ROWS else _BT601
        return matrix

    def _orientation_of(self, picture: VideoFrame) -> Orientation:
        """Looked up where something of the picture has changed. Up to PyAV 18 a picture whose side
        data were looked at is kept until Python collects its garbage: a gigabyte in minutes."""
        key = (picture.rotation, picture.width, picture.height)
        if self._orientation is None or self._orientation[0] != key:
            self._orientation = key, orientation_of(picture)
        return self._orientation[1]

    def _square(self, picture: VideoFrame) -> tuple[int, int]:
        """Height and width in square pixels; nothing is made smaller."""
        if self._aspect > 1:
            return picture.height, round(picture.width * self._aspect)
        return round(picture.height / self._aspect), picture.width
