"""Charts as inline SVG: sharp at any size, and no program beside the page draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Line", "Plot"]

_WIDTH, _HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 12, 44


@dataclass(frozen=True)
class Line:
    """A curve: points in data units, and how it is called and drawn (a CSS class)."""

    points: Sequence[tuple[float, float]]
    label: str
    css: str
    dots: bool = False


class Plot:
    """One chart with linear axes; things are drawn in the order in which they are added.

    Args:
        x: first and last value of the horizontal axis, and what it is.
        y: the same of the vertical axis.
        title: read out by screen readers.
    """

    def __init__(self, x: tuple[float, float, str], y: tuple[float, float, str], title: str):
        self._x, self._y, self._title = x, y, title
        self._shapes: list[str] = []
        self._key: list[tuple[str, str]] = []

    def bars(
        self, spans: Iterable[tuple[float, float, float]], css: str, label: str | None = None
    ) -> None:
        """Bars from 0 up to a height: (left, right, height) each; NaN is left out."""
        for left, right, height in spans:
            if math.isnan(height):
                continue
            x, y = self._px(left, height)
            end, floor = self._px(right, self._y[0])
            self._shapes.append(
                f'<rect class="{css}" x="{x + 0.5:.1f}" y="{y:.1f}" '
                f'width="{max(end - x - 1, 0.5):.1f}" height="{floor - y:.1f}"/>'
            )
        if label is not None:
            self._key.append((label, css))

    def line(self, line: Line) -> None:
        """A curve; points that are NaN are left out."""
        points = [self._px(x, y) for x, y in line.points if not math.isnan(y)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(f'<polyline class="{line.css}" points="{path}"/>')
        if line.dots:
            self._shapes += [
                f'<circle class="{line.css}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in points
            ]
        self._key.append((line.label, line.css))

    def svg(self) -> str:
        """The chart as an `<svg>` element with its key beneath, in a `<div>`."""
        left, bottom = self._px(self._x[0], self._y[0])
        right, top = self._px(self._x[1], self._y[1])
        grid = []
        for value in _ticks(self._y[0], self._y[1]):
            y = self._px(self._x[0], value)[1]
            grid.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
            grid.append(
                f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
            )
        for value in _ticks(self._x[0], self._x[1]):
            x = self._px(value, self._y[0])[0]
            grid.append(
                f'<text x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{value:g}</text>'
            )
        middle = (top + bottom) / 2
        names = (
            f'<text class="axis" x="{(left + right) / 2:.1f}" y="{_HEIGHT - 8}" '
            f'text-anchor="middle">{self._x[2]}</text>'
            f'<text class="axis" x="12" y="{middle:.1f}" text-anchor="middle" '
            f'transform="rotate(-90 12 {middle:.1f})">{self._y[2]}</text>'
        )
        key = "".join(f'<span><i class="{css}"></i>{label}</span>' for label, css in self._key)
        return (
            f'<div class="chart"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
            f'aria-label="{self._title}">{"".join(grid)}'
            f'<path class="frame" d="M{left:.1f} {top:.1f}V{bottom:.1f}H{right:.1f}"/>'
            f'{"".join(self._shapes)}{names}</svg><p class="key">{key}</p></div>'
        )

    def _px(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / (self._y[1] - self._y[0])
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
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
