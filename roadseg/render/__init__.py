"""Pictures from label maps: overlay, lines over the road, legend and head-up display.

NumPy and OpenCV only.
"""

from __future__ import annotations

from roadseg.render.guides import Guides
from roadseg.render.hud import HudLine, HudStats
from roadseg.render.renderer import VIEWS, Renderer, output_hw

__all__ = ["VIEWS", "Guides", "HudLine", "HudStats", "Renderer", "output_hw"]
