"""The head-up display, top left: frames per second, latency, backend, dropped frames, read-outs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from roadseg.core.types import Picture, size_of
from roadseg.render.panel import Panel, advance, capital_px, text_width

__all__ = ["Hud", "HudLine", "HudStats"]

_OPACITY = 0.55
_VALUE_COLOUR = (255, 255, 255)
_UNIT_COLOUR = (190, 190, 190)
_ALERT_COLOUR = (60, 180, 255)


@dataclass(frozen=True, slots=True)
class HudLine:
    """One line more, of two texts.

    Attributes:
        left, right: what stands at the left and, in white, at the right.
        widest_left, widest_right: the widest that they become, so that the panel keeps its width.
    """

    left: str
    right: str
    widest_left: str
    widest_right: str


@dataclass(frozen=True, slots=True)
class HudStats:
    """What the display shows.

    Attributes:
        fps: frames per second, end to end; not finite while unknown.
        latency_ms: from capture to picture; not finite while unknown.
        dropped: frames of a live source that were skipped; shown from the first one on.
        backend: its name.
        lines: more lines below.
        shares: of the picture, 0 to 1 by class id, for the legend; what follows the last class is
            not shown. Empty for none.
    """

    fps: float
    latency_ms: float
    dropped: int
    backend: str
    lines: tuple[HudLine, ...] = ()
    shares: tuple[float, ...] = ()


class Hud:
    """Draws `HudStats`. Values stand in slots of fixed width, so that nothing jumps about."""

    def __init__(self) -> None:
        self._shown: tuple[object, ...] | None = None
        self._panel: Panel | None = None

    def draw(self, picture: Picture, stats: HudStats) -> tuple[int, int]:
        """Draw onto a frame, in place; does nothing where the panel would not fit.

        Returns:
            The rows taken at the top and the columns at the left, margins included; zeros when
            nothing was drawn.
        """
        size_hw = size_of(picture)
        capital = capital_px(size_hw)
        fps, latency = format_value(stats.fps), format_latency(stats.latency_ms)
        dropped = f"{stats.dropped} dropped" if stats.dropped else ""
        shown = (capital, fps, latency, stats.backend, dropped, stats.lines)
        if shown != self._shown:
            self._panel = _build(capital, fps, latency, stats.backend, dropped, stats.lines)
            self._shown = shown
        assert self._panel is not None
        height, width = self._panel.size_hw
        if height + 2 * capital > size_hw[0] or width + 2 * capital > size_hw[1]:
            return 0, 0
        self._panel.blend_into(picture, capital, capital)
        return capital + height, capital + width


def format_value(value: float) -> str:
    """Three digits at least, four characters at most where that can be.

    >>> [format_value(v) for v in (7.25, 37.24, 99.96, 240.3, float("nan"))]
    ['7.2', '37.2', '100', '240', '--']
    """
    if not math.isfinite(value):
        return "--"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def format_latency(latency_ms: float) -> tuple[str, str]:
    """Value and unit. Up to 99.9 s the value is no wider than `99.9`, which there is room for.

    >>> format_latency(26.93), format_latency(1234.0), format_latency(12340.0)
    (('26.9', 'ms'), ('1.23', 's'), ('12.3', 's'))
    """
    if math.isfinite(latency_ms) and latency_ms >= 999.5:
        seconds = latency_ms / 1000
        return (f"{seconds:.2f}" if seconds < 9.995 else format_value(seconds)), "s"
    return format_value(latency_ms), "ms"


def _build(
    capital: int,
    fps: str,
    latency: tuple[str, str],
    backend: str,
    dropped: str,
    lines: tuple[HudLine, ...],
) -> Panel:
    big = round(capital * 1.3)
    padding = round(capital * 0.65)
    slot = sum(advance(character, big) for character in "00.0")
    unit_gap = round(capital * 0.4)
    group_gap = round(capital * 0.9)
    line_gap = round(capital * 0.75)
    first_width = 2 * (slot + unit_gap) + text_width("FPS", capital) + group_gap
    first_width += text_width("ms", capital)
    second_width = text_width(backend, capital)
    if dropped:
        second_width += group_gap + text_width(dropped, capital)
    widths = [first_width, second_width]
    for line in lines:
        left, right = (
            max(line.left, line.widest_left, key=len),
            max(line.right, line.widest_right, key=len),
        )
        widths.append(text_width(left, capital) + group_gap + text_width(right, capital))
    width = 2 * padding + max(widths)
    height = 2 * padding + big + (1 + len(lines)) * (line_gap + capital)
    panel = _background((height, width), round(capital * 0.6)).copy()

    baseline = padding + big
    x = padding
    for value, unit, widest in ((fps, "FPS", "FPS"), (*latency, "ms")):
        _number(panel, value, x + slot, baseline, big)
        x += slot + unit_gap
        panel.text(unit, x, baseline, capital, _UNIT_COLOUR)
        x += text_width(widest, capital) + group_gap
    baseline += line_gap + capital
    panel.text(backend, padding, baseline, capital, _UNIT_COLOUR)
    if dropped:
        x = width - padding - text_width(dropped, capital)
        panel.text(dropped, x, baseline, capital, _ALERT_COLOUR)
    for line in lines:
        baseline += line_gap + capital
        panel.text(line.left, padding, baseline, capital, _UNIT_COLOUR)
        x = width - padding - text_width(line.right, capital)
        panel.text(line.right, x, baseline, capital, _VALUE_COLOUR)
    return panel


def _number(panel: Panel, value: str, right_x: int, baseline: int, capital: int) -> None:
    # Digit by digit: eleven cached glyphs serve every value.
    x = right_x
    for character in reversed(value):
        x -= advance(character, capital)
        panel.text(character, x, baseline, capital, _VALUE_COLOUR)


@lru_cache(maxsize=8)
def _background(size_hw: tuple[int, int], radius_px: int) -> Panel:
    return Panel(size_hw, _OPACITY, radius_px)
