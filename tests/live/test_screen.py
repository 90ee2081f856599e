"""The window of a live run, with a stand-in for the window: what is shown, and what keys do."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from roadseg.core.errors import SinkError
from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.types import Image
from roadseg.live.config import LiveConfig, SourceConfig
from roadseg.live.events import CameraState, LossReason, StateChange
from roadseg.live.mailbox import Bell
from roadseg.live.screen import HELP, Screen
from roadseg.live.station import Station
from roadseg.loading.segmenter import Segmenter
from tests.support.live import PATIENCE_S, FakeSource, make_frame


class Window:
    """Keeps what it is shown, and presses keys."""

    def __init__(self) -> None:
        self.shown: list[Image] = []
        self.key = ""
        self.keys: list[str] = []
        self.open = True
        self.full = 0
        self.title = ""

    def rename(self, title: str) -> None:
        self.title = title

    def show(self, image_bgr: Image) -> bool:
        self.shown.append(image_bgr)
        self.key = self.keys.pop(0) if self.keys else ""
        return self.open

    def toggle_full_screen(self) -> None:
        self.full += 1


class Recorder:
    def __init__(self) -> None:
        self.on: set[str] = set()

    def is_recording(self, source: str) -> bool:
        return source in self.on

    def start(self, source: str) -> None:
        if source == "rear":
            raise SinkError("the disk is full")
        self.on.add(source)

    def stop(self, source: str) -> None:
        self.on.discard(source)


class Show:
    """Two stations, front (dark) and rear (bright), on a screen."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.window, self.recorder = Window(), Recorder()
        sources = tuple(SourceConfig(n, "0", max_staleness=PATIENCE_S) for n in ("front", "rear"))
        self.stations = [Station(source, Bell()) for source in sources]
        for station in self.stations:
            station.opened(FakeSource().info)
        self.screen = Screen(
            self.window,  # type: ignore[arg-type]
            self.stations,
            LiveConfig(sources, legend=False, hud=False, alpha=0.0),
            segmenter,
            self.recorder,  # type: ignore[arg-type]
        )
        self._index = 0

    def give(self) -> None:
        """A picture of each camera."""
        for station, shade in zip(self.stations, (50, 200), strict=True):
            frame = make_frame(self._index, time.monotonic(), shade)
            station.tally.read += 1
            labels = np.full((32, 32), 3, np.uint8)
            station.show(frame, LabelMap(labels, Geometry(frame.size_hw, (32, 32))))
        self._index += 1

    def press(self, *keys: str) -> None:
        """Keys, one to a picture, and one picture more."""
        self.window.keys = list(keys)
        for _ in range(len(keys) + 1):
            self.give()
            assert self.screen.attend()

    def level(self) -> int:
        return int(self.window.shown[-1].max())


@pytest.fixture
def show() -> Iterator[Show]:
    with Segmenter(backend="fake", size_hw=(32, 32)) as segmenter:
        yield Show(segmenter)


def test_the_first_camera_is_shown_and_n_shows_the_next_around(show: Show) -> None:
    show.press()
    assert show.level() == 50
    assert show.window.title == "roadseg: front"
    show.press("n")
    assert show.level() == 200
    assert show.window.title == "roadseg: rear"
    show.press("\t")
    assert show.level() == 50


def test_nothing_is_shown_before_there_is_a_picture(show: Show) -> None:
    assert show.screen.attend()
    assert show.window.shown == []


def test_a_closed_window_ends_the_run(show: Show) -> None:
    show.give()
    show.window.open = False
    assert not show.screen.attend()


def test_views_and_opacity_change_the_picture(show: Show) -> None:
    show.press()
    plain = show.window.shown[-1]
    show.press("+", "+")
    assert not np.array_equal(show.window.shown[-1], plain)
    show.press("-", "-", "-")
    assert np.array_equal(show.window.shown[-1], plain)
    show.press("v", "v")
    assert show.window.shown[-1].shape[1] == 2 * plain.shape[1], "side by side"


def test_space_pauses_and_a_point_goes_one_further(show: Show) -> None:
    show.press(" ")
    assert show.stations[0].mailbox.paused
    show.window.keys = ["."]
    show.give()
    assert show.screen.attend()
    assert not show.stations[0].mailbox.paused
    show.give()
    assert show.screen.attend()
    assert show.stations[0].mailbox.paused, "after one picture"
    show.press(" ")
    assert not show.stations[0].mailbox.paused


def test_a_snapshot_is_written_here(show: Show, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    show.press("s")
    assert [path.name[:6] for path in tmp_path.glob("*.png")] == ["front-"]


def test_r_records_and_stops_and_a_failure_is_said(show: Show, caplog) -> None:
    show.press("r")
    assert show.recorder.on == {"front"}
    show.press("R")
    assert show.recorder.on == set()
    show.press("n", "r")
    assert "the disk is full" in caplog.text


def test_other_keys(show: Show, caplog) -> None:
    caplog.set_level("INFO", "roadseg.live")
    show.press("h", "f", "x")
    assert show.window.full == 1
    assert HELP in caplog.text


def test_a_lost_camera_is_darkened_without_a_new_picture(show: Show) -> None:
    show.press()
    show.stations[0].arrived(make_frame(0, time.monotonic(), 200))
    lost = StateChange(0, 0, "front", CameraState.LOST, LossReason.TIMEOUT)
    show.stations[0].changed(lost)
    assert show.screen.attend()
    assert show.window.shown[-1][0, 0].max() < 100
