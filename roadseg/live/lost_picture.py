"""What stands in a lost camera's place: its last picture, darkened, and since when and why."""

from __future__ import annotations

import time

import cv2
import numpy as np

from roadseg.core.types import Image
from roadseg.live.events import StateChange
from roadseg.render.panel import Colour, Panel, capital_px, text_width

_BRIGHTNESS = 0.35
_EMPTY_HW = (360, 640)
_EMPTY_LEVEL = 40
_TITLE: Colour = (255, 255, 255)
_TEXT: Colour = (200, 200, 200)


def lost_picture(last_bgr: Image | None, change: StateChange, since_wall_s: float) -> Image:
    """A picture that nobody takes for a live one.

    Args:
        last_bgr: (H, W, 3), the last picture; None if there never was one.
        change: the state that the source is in now.
        since_wall_s: since when it has given no picture, by `time.time()`.

    Returns:
        A new picture of the same size; 640x360 without one. Text is left out where it has no room.
    """
    if last_bgr is None:
        last_bgr = np.full((*_EMPTY_HW, 3), _EMPTY_LEVEL, np.uint8)
        dark = last_bgr
    else:
        dark = np.asarray(cv2.convertScaleAbs(last_bgr, alpha=_BRIGHTNESS), np.uint8)
    why = f" ({change.reason.value})" if change.reason is not None else ""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since_wall_s))
    _write(dark, change.source, f"{change.state.value}{why}", f"no picture since {since}")
    return dark


def _write(image_bgr: Image, *lines: str) -> None:
    """Lines on a panel in the middle."""
    height, width = image_bgr.shape[:2]
    capital = capital_px((height, width))
    padding, line_px = capital, round(capital * 2.2)
    panel_hw = (
        2 * padding + capital + line_px * (len(lines) - 1),
        2 * padding + max(text_width(line, capital) for line in lines),
    )
    if panel_hw[0] > height or panel_hw[1] > width:
        return
    panel = Panel(panel_hw, 0.75, capital // 2)
    for i, line in enumerate(lines):
        x = (panel_hw[1] - text_width(line, capital)) // 2
        baseline = padding + capital + i * line_px
        panel.text(line, x, baseline, capital, _TEXT if i else _TITLE)
    panel.blend_into(image_bgr, (width - panel_hw[1]) // 2, (height - panel_hw[0]) // 2)
