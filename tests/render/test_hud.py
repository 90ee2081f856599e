from __future__ import annotations

import doctest
from dataclasses import replace

import numpy as np
import pytest

from roadseg.render import hud as hud_module
from roadseg.render.hud import Hud, HudLine, HudStats, format_latency, format_value
from roadseg.render.panel import advance, capital_px

STATS = HudStats(fps=37.24, latency_ms=26.93, dropped=0, backend="openvino")


def drawn(hw: tuple[int, int], stats: HudStats = STATS) -> np.ndarray:
    image_bgr = np.full((*hw, 3), 119, np.uint8)
    Hud().draw(image_bgr, stats)
    return image_bgr


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0.0"),
        (7.25, "7.2"),
        (37.24, "37.2"),
        (99.94, "99.9"),
        (99.96, "100"),
        (1234.5, "1234"),
        (float("nan"), "--"),
        (float("inf"), "--"),
    ],
)
def test_values(value: float, expected: str) -> None:
    assert format_value(value) == expected


@pytest.mark.parametrize(
    ("latency_ms", "expected"),
    [
        (26.93, ("26.9", "ms")),
        (999.0, ("999", "ms")),
        (999.6, ("1.00", "s")),
        (1923.0, ("1.92", "s")),
        (9994.0, ("9.99", "s")),
        (9996.0, ("10.0", "s")),
        (12340.0, ("12.3", "s")),
        (float("nan"), ("--", "ms")),
        (float("inf"), ("--", "ms")),
    ],
)
def test_latency_changes_its_unit_when_it_grows_long(
    latency_ms: float, expected: tuple[str, str]
) -> None:
    assert format_latency(latency_ms) == expected


@pytest.mark.parametrize("capital", [8, 11, 20])
def test_a_latency_leaves_a_gap_behind_the_unit_before_it(capital: int) -> None:
    room = sum(advance(character, capital) for character in "99.9")
    for latency_ms in (1, 99.97, 999.4, 999.5, 1923, 9994, 9996, 12340, 99940):
        value, _unit = format_latency(latency_ms)
        assert sum(advance(character, capital) for character in value) <= room


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(hud_module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("hw", [(360, 480), (540, 960), (1080, 1920), (2160, 3840)])
def test_it_stands_at_the_upper_left(hw: tuple[int, int]) -> None:
    image_bgr = np.full((*hw, 3), 119, np.uint8)
    taken_hw = Hud().draw(image_bgr, STATS)
    rows, columns = np.nonzero((image_bgr != 119).any(axis=2))
    assert rows.min() == columns.min() == capital_px(hw)
    assert (rows.max() + 1, columns.max() + 1) == taken_hw
    assert taken_hw[0] < hw[0] * 0.12
    assert taken_hw[1] < hw[1] * 0.28


def test_figures_change_the_picture_and_not_the_panels_size() -> None:
    slow = drawn((360, 480), HudStats(fps=1.0, latency_ms=5.0, dropped=0, backend="openvino"))
    fast = drawn((360, 480), HudStats(fps=999.0, latency_ms=888.8, dropped=0, backend="openvino"))
    assert (slow != fast).any()
    ends = [np.argwhere((image != 119).any(axis=2)).max(axis=0) for image in (slow, fast)]
    assert ends[0].tolist() == ends[1].tolist()


@pytest.mark.parametrize("hw", [(360, 480), (540, 960), (1080, 1920)])
def test_more_lines_stand_below_and_keep_the_panels_width(hw: tuple[int, int]) -> None:
    plain_hw = Hud().draw(np.full((*hw, 3), 119, np.uint8), STATS)
    sizes = []
    for thing in ("clear", "pedestrian 12 m"):
        lines = (HudLine("ahead", thing, "ahead", "pedestrian >99 m"),)
        image_bgr = np.full((*hw, 3), 119, np.uint8)
        sizes.append(Hud().draw(image_bgr, replace(STATS, lines=lines)))
        added = image_bgr[plain_hw[0] - capital_px(hw) : sizes[-1][0]]
        assert (added > 200).all(axis=2).any(), "white letters"
    assert sizes[0] == sizes[1]
    assert sizes[0][0] > plain_hw[0]


def is_amber(image_bgr: np.ndarray) -> np.ndarray:
    blue, _, red = np.moveaxis(image_bgr.astype(int), 2, 0)
    return red - blue > 100


def test_drops_are_shown_in_amber_from_the_first_on() -> None:
    assert not is_amber(drawn((360, 480))).any()
    assert is_amber(drawn((360, 480), HudStats(37.2, 26.9, 1, "openvino"))).any()


def test_the_panel_widens_for_a_long_line() -> None:
    stats = HudStats(37.2, 26.9, 123456, "a backend with a long name")
    image_bgr = np.full((360, 480, 3), 119, np.uint8)
    assert Hud().draw(image_bgr, stats)[1] > Hud().draw(image_bgr, STATS)[1]


@pytest.mark.parametrize("hw", [(1, 1), (30, 480), (360, 100)])
def test_a_frame_that_is_too_small_is_left_alone(hw: tuple[int, int]) -> None:
    image_bgr = np.full((*hw, 3), 119, np.uint8)
    assert Hud().draw(image_bgr, STATS) == (0, 0)
    assert (image_bgr == 119).all()


def test_unknown_figures_and_no_backend() -> None:
    stats = HudStats(fps=float("nan"), latency_ms=float("nan"), dropped=0, backend="")
    assert (drawn((360, 480), stats) != 119).any()


def test_the_panel_is_redrawn_only_when_its_text_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[object, ...]] = []
    original = hud_module._build

    def counting(*arguments: object) -> object:
        built.append(arguments)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(hud_module, "_build", counting)
    hud = Hud()
    image_bgr = np.zeros((360, 480, 3), np.uint8)
    for fps in (37.24, 37.21, 37.26):
        hud.draw(image_bgr, HudStats(fps, 26.9, 0, "openvino"))
    assert [arguments[1] for arguments in built] == ["37.2", "37.3"]
