"""The colours of pictures, swatches and text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from roadseg.core.labels import palette_bgr
from roadseg.evaluation.evaluate import FrameResult
from roadseg.evaluation.report import html
from roadseg.evaluation.report.frames import (
    paint,
)
from tests.support.report import half, write_report


def test_pictures_and_swatches_have_the_colours_that_people_see(tmp_path: Path) -> None:
    true = half(9, 3, (8, 12))
    result = FrameResult(0, np.zeros((8, 12, 3), np.uint8), true, true, None)
    shown = paint(result, 1)["truth"]
    assert (shown[0, 0] == np.rint(0.7 * palette_bgr()[9])).all()
    write_report(tmp_path)
    blue, green, red = palette_bgr()[9]
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert f"background:rgb({red} {green} {blue})" in html


def colours_of(rule: str) -> dict[str, tuple[int, int, int]]:
    """Custom properties of a CSS rule that are colours in hexadecimal."""
    found = {}
    for name, digits in re.findall(r"--(\w+): #([0-9a-f]{3,6})\b", rule):
        digits = digits if len(digits) == 6 else "".join(2 * d for d in digits)
        found[name] = (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))
    return found


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """As the Web Content Accessibility Guidelines define it."""
    light = []
    for colour in (one, other):
        srgb = np.array(colour) / 255
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        light.append(float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05)
    return max(light) / min(light)


def test_text_is_readable_by_day_and_by_night() -> None:
    css = (Path(html.__file__).parent / "templates/report.css").read_text(encoding="utf-8")
    day, _, rest = css.partition("@media (prefers-color-scheme: dark)")
    dark = {**colours_of(day), **colours_of(rest.partition("* {")[0])}
    light = colours_of(day)
    assert sum(dark["paper"]) < 120 < 700 < sum(light["paper"])
    for colours in (light, dark):
        for ground in ("paper", "wash"):
            assert contrast(colours["ink"], colours[ground]) > 7
            assert contrast(colours["soft"], colours[ground]) > 4.5
    # Whatever is drawn follows the scheme: no colour of its own outside the two lists.
    rules = rest.partition("* {")[2].partition("@media print")[0]
    assert re.findall(r"#[0-9a-f]{3,6}\b", rules) == ["#fff"] * rules.count("color: #fff")
