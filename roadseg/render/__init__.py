"""Pictures from label maps: overlay, legend and head-up display. NumPy and OpenCV only."""

from __future__ import annotations

from roadseg.render.hud import HudLine, HudStats
from roadseg.render.renderer import VIEWS, Renderer, output_hw

__all__ = ["VIEWS", "HudLine", "HudStats", "Renderer", "output_hw"]
