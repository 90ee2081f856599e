"""One picture per frame: view, lines over the road, legend and head-up display."""

from __future__ import annotations

from typing import overload

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.errors import UsageError
from roadseg.core.geometry import LabelMap
from roadseg.core.labels import CAMVID, DEFAULT_PALETTE, ClassSet, palette_bgr
from roadseg.core.planes import Planes
from roadseg.core.types import Image, Labels, Picture, size_of
from roadseg.core.wording import option
from roadseg.render.doubt_view import paint_doubt
from roadseg.render.guides import Guides, draw_guides
from roadseg.render.hud import Hud, HudStats
from roadseg.render.legend import Legend
from roadseg.render.overlay import Painter
from roadseg.render.panel import load_font
from roadseg.render.planar import PlanarPainter

VIEWS = ("overlay", "mask", "side-by-side", "doubt")
"""Colours over the frame; colours alone; the frame with the overlay at its right; the frame in grey
with warm colours where the network is torn between classes."""


def output_hw(view: str, source_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width of what `Renderer` returns: side-by-side is twice as wide as the source.

    Raises:
        UsageError: there is no such view.
    """
    _check_view(view)
    height, width = source_hw
    return height, width * 2 if view == "side-by-side" else width


class Renderer:
    """Draws label maps. One thread at a time: buffers are kept from frame to frame.

    Args:
        palette: name of the class colours, see `roadseg.core.labels.palette_bgr`.
        view: one of `VIEWS`.
        alpha: opacity of the colours in the overlay, 0..1.
        legend: show the names of the classes at the top right, or below the `HudStats`.
        hud: show the `HudStats` at the top left, and the `Guides` in the overlay.
        classes: what the label maps name.

    Raises:
        UsageError: no such palette or view, or `alpha` is outside 0..1.
    """

    def __init__(
        self,
        palette: str = DEFAULT_PALETTE,
        view: str = "overlay",
        alpha: float = 0.5,
        legend: bool = True,
        hud: bool = True,
        classes: ClassSet = CAMVID,
    ) -> None:
        colours = palette_bgr(palette, classes)
        _check_view(view)
        if not 0 <= alpha <= 1:
            raise UsageError(
                f"alpha {alpha:g} is outside 0..1", fix=f"use for example {option('--alpha', 0.5)}"
            )
        self.view = view
        self.alpha = alpha
        self._painter = Painter(colours)
        self._planar = PlanarPainter(colours)
        self._legend = Legend(colours, classes.names) if legend else None
        self._hud = Hud() if hud else None

    def prepare(self, source_hw: tuple[int, int]) -> None:
        """Load OpenCV's font, so that the first frame need not wait for it.

        Args:
            source_hw: size of the frames; they are drawn by the thread that calls this.
        """
        if self._hud is not None or self._legend is not None:
            load_font(source_hw)

    @overload
    def __call__(
        self,
        picture: Image,
        label_map: LabelMap,
        hud: HudStats | None = None,
        left_out: Labels | None = None,
        doubt: npt.NDArray[np.float32] | None = None,
        guides: Guides | None = None,
    ) -> Image: ...

    @overload
    def __call__(
        self,
        picture: Planes,
        label_map: LabelMap,
        hud: HudStats | None = None,
        left_out: Labels | None = None,
        doubt: npt.NDArray[np.float32] | None = None,
        guides: Guides | None = None,
    ) -> Planes: ...

    def __call__(
        self,
        picture: Picture,
        label_map: LabelMap,
        hud: HudStats | None = None,
        left_out: Labels | None = None,
        doubt: npt.NDArray[np.float32] | None = None,
        guides: Guides | None = None,
    ) -> Picture:
        """Render one frame.

        Args:
            picture: (H, W, 3) uint8 BGR, or planes; not written to.
            label_map: the labels of that frame. Void pixels keep the frame in the overlay.
            hud: what the display shows; None for no display. Panels are left out of pictures
                that are too small for them.
            left_out: (H, W) uint8, not 0 where nothing is coloured: the overlay shows the frame
                there, and the mask is black. None to colour all.
            doubt: (h, w) float32, 0 (sure) to 1, for the view of that name; see
                `roadseg.road.doubt_maps`. None where nothing is known of it: no colour.
            guides: lines over the road, in the overlay alone, also in that of side-by-side; none
                where the picture is left out. None for no lines.

        Returns:
            A new picture of `output_hw(view, (H, W))`, of the same kind.

        Raises:
            ValueError: the frame is not (H, W, 3) uint8, or the labels are of another frame.
        """
        if not isinstance(picture, Planes) and (
            picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8
        ):
            raise ValueError(
                f"expected a (H, W, 3) uint8 BGR frame, got {picture.shape} {picture.dtype}"
            )
        height, width = size_of(picture)
        if label_map.geometry.source_hw != (height, width):
            raise ValueError(
                f"expected labels of a {width}x{height} frame, "
                f"got those of {label_map.geometry.source_hw[1]}x{label_map.geometry.source_hw[0]}"
            )
        if self._hud is None:
            guides = None
        if not isinstance(picture, Planes):
            return self._in_bgr(picture, label_map, hud, left_out, doubt, guides)
        plain = left_out is None and self.view != "doubt"
        if plain and not self._painter.has_void(label_map):
            return self._in_planes(picture, label_map, hud, guides)
        # Rare: not worth a second way to draw them.
        drawn_bgr = self._in_bgr(picture.bgr, label_map, hud, left_out, doubt, guides)
        return Planes.of_bgr(drawn_bgr, picture.colours)

    def _in_bgr(
        self,
        image_bgr: Image,
        label_map: LabelMap,
        hud: HudStats | None,
        left_out: Labels | None,
        doubt: npt.NDArray[np.float32] | None,
        guides: Guides | None,
    ) -> Image:
        height, width = image_bgr.shape[:2]
        out: Image = np.empty((*output_hw(self.view, (height, width)), 3), np.uint8)
        right = out[:, -width:]
        if self.view == "doubt":
            paint_doubt(image_bgr, doubt, out)
            if left_out is not None:
                cv2.copyTo(image_bgr, left_out, out)
        elif self.view == "mask":
            self._painter.mask(label_map, out)
            if left_out is not None:
                out[left_out > 0] = 0
        else:
            self._painter.overlay(image_bgr, label_map, self.alpha, right)
            if guides is not None:
                draw_guides(right, guides)
            if left_out is not None:
                cv2.copyTo(image_bgr, left_out, right)
            if self.view == "side-by-side":
                np.copyto(out[:, :width], image_bgr)
        self._draw_panels(out[:, :width], right, hud)
        return out

    def _in_planes(
        self,
        picture: Planes,
        label_map: LabelMap,
        hud: HudStats | None,
        guides: Guides | None,
    ) -> Planes:
        """The same in planes; see `roadseg.render.planar`."""
        width = picture.size_hw[1]
        out = Planes.empty(output_hw(self.view, picture.size_hw), picture.colours)
        left, right = out.columns(0, width), out.columns(out.size_hw[1] - width, out.size_hw[1])
        if self.view == "mask":
            self._planar.mask(label_map, out)
        else:
            self._planar.overlay(picture, label_map, self.alpha, right)
            if guides is not None:
                draw_guides(right, guides)
            if self.view == "side-by-side":
                left.copy_from(picture)
        self._draw_panels(left, right, hud)
        return out

    def _draw_panels(self, left: Picture, right: Picture, hud: HudStats | None) -> None:
        """Head-up display and legend, in a picture or its halves."""
        taken_hw, shares = (0, 0), tuple[float, ...]()
        if self._hud is not None and hud is not None:
            taken_hw, shares = self._hud.draw(left, hud), hud.shares
        # Doubt has no classes.
        if self._legend is not None and self.view != "doubt":
            shared = self.view != "side-by-side"
            self._legend.draw(right, taken_hw if shared else (0, 0), shares)


def _check_view(view: str) -> None:
    if view not in VIEWS:
        raise UsageError(f"unknown view {view!r}", fix=f"use {option('--view', *VIEWS)}")
