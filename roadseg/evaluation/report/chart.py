"""Charts for inline SVG: sharp at any size, and no program beside the page draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """What is drawn, in pixels of the drawing, with its label and CSS class.

    Attributes:
        points: of a curve.
        bars: x, y, width and height of each.
    """

    label: str
    css: str
    points: Sequence[tuple[float, float]] = ()
    bars: Sequence[tuple[float, float, float, float]] = ()
    dots: bool = False


class Chart:
    """One chart with linear axes; things are drawn in the order in which they are added.

    Args:
        x: first and last value of the horizontal axis, and what it is.
        y: the same of the vertical axis.
        title: read out by screen readers.
    """

    width, height = 420, 300
    left, right, top, bottom = 46, 404, 12, 256

    def __init__(self, x: tuple[float, float, str], y: tuple[float, float, str], title: str):
        self.x, self.y, self.title = x, y, title
        self.shapes: list[Shape] = []

    def bars(
        self, spans: Iterable[tuple[float, float]], heights: Iterable[float], label: str, css: str
    ) -> None:
        """Bars from 0 up to a height, each from its left to its right."""
        bars = []
        for (start, end), height in zip(spans, heights, strict=True):
            left, y = self._px(start, height)
            width = self._px(end, height)[0] - left
            bars.append((left + 0.5, y, max(width - 1, 0.5), self._px(0, self.y[0])[1] - y))
        self.shapes.append(Shape(label, css, bars=bars))

    def line(
        self, points: Iterable[tuple[float, float]], label: str, css: str, *, dots: bool = False
    ) -> None:
        """A curve; points that are NaN are left out."""
        known = [self._px(x, y) for x, y in points if not math.isnan(x + y)]
        self.shapes.append(Shape(label, css, points=known, dots=dots))

    def rows(self) -> Iterator[tuple[str, float]]:
        """The round values of the vertical axis, and where they are."""
        return ((f"{v:g}", self._px(self.x[0], v)[1]) for v in _ticks(*self.y[:2]))

    def columns(self) -> Iterator[tuple[str, float]]:
        """The same of the horizontal axis."""
        return ((f"{v:g}", self._px(v, self.y[0])[0]) for v in _ticks(*self.x[:2]))

    def _px(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            self.left + across * (self.right - self.left),
            self.bottom - up * (self.bottom - self.top),
        )


def _ticks(low: float, high: float) -> list[float]:
    """About five round values between two.

    >>> _ticks(0, 100)
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    """
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]
