"""The window: shown where it can be, refused in one line where it cannot, and never a crash.

OpenCV's windows are replaced by fakes: there is no display where tests run.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.errors import UsageError
from roadseg.video import display
from roadseg.video.display import Window, display_available, open_window

IMAGE = np.zeros((4320, 7680, 3), dtype=np.uint8)

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 and Wayland")


class FakeHighgui:
    """Records what OpenCV would have been asked to show."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[np.ndarray] = []
        self.key = -1
        self.visible = 1.0
        self.size: tuple[int, int] | None = None
        self.destroyed = 0
        for name in ("namedWindow", "resizeWindow", "imshow", "waitKey", "getWindowProperty"):
            monkeypatch.setattr(cv2, name, getattr(self, name))
        monkeypatch.setattr(cv2, "destroyWindow", self.destroyWindow)

    def namedWindow(self, _: str, flags: int) -> None:
        assert flags & cv2.WINDOW_KEEPRATIO == cv2.WINDOW_KEEPRATIO

    def resizeWindow(self, _: str, width: int, height: int) -> None:
        self.size = (width, height)

    def imshow(self, _: str, image: np.ndarray) -> None:
        self.shown.append(image)

    def waitKey(self, _: int) -> int:
        return self.key

    def getWindowProperty(self, *_: object) -> float:
        return self.visible

    def destroyWindow(self, _: str) -> None:
        self.destroyed += 1


@pytest.fixture
def highgui(monkeypatch: pytest.MonkeyPatch) -> FakeHighgui:
    return FakeHighgui(monkeypatch)


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


def test_shows_until_told_otherwise(highgui: FakeHighgui) -> None:
    window = Window("test")
    assert window.show(IMAGE)
    assert window.show(IMAGE)
    assert len(highgui.shown) == 2
    assert highgui.size == (1280, 720), "8K shrinks to fit a screen"
    window.close()
    window.close()
    assert highgui.destroyed == 1


@pytest.mark.parametrize("key", [ord("q"), ord("Q"), 27, 0x100000 | ord("q")])
def test_q_and_escape_close(highgui: FakeHighgui, key: int) -> None:
    window = Window("test")
    assert window.show(IMAGE)
    highgui.key = key
    assert not window.show(IMAGE)
    assert highgui.destroyed == 1
    assert not window.show(IMAGE)
    assert len(highgui.shown) == 2, "nothing is shown after it was closed"


def test_other_keys_do_not_close(highgui: FakeHighgui) -> None:
    highgui.key = ord("x")
    assert Window("test").show(IMAGE)


def test_closing_by_the_mouse_is_noticed(highgui: FakeHighgui) -> None:
    window = Window("test")
    assert window.show(IMAGE)
    highgui.visible = 0.0
    assert not window.show(IMAGE)


def test_never_shown_is_never_destroyed(highgui: FakeHighgui) -> None:
    Window("test").close()
    assert highgui.destroyed == 0


def test_window_that_fails_after_all(highgui: FakeHighgui, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise cv2.error("no window for you")

    monkeypatch.setattr(cv2, "imshow", fail)
    window = Window("test")
    with pytest.raises(UsageError) as caught:
        window.show(IMAGE)
    assert str(caught.value) == "cannot show a window: no window for you; use --no-show"
    assert not window.show(IMAGE)
    window.close()


@linux_only
@pytest.mark.usefixtures("no_display")
class TestAvailability:
    def test_no_display(self) -> None:
        assert display_available() == (
            "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set"
        )
        assert open_window("test", required=False) is None
        with pytest.raises(UsageError) as caught:
            open_window("test", required=True)
        assert str(caught.value) == (
            "cannot show a window: there is no display: neither DISPLAY nor WAYLAND_DISPLAY is "
            "set; use --no-show, with --output to keep the result"
        )

    @pytest.mark.parametrize("with_xlib", [True, False])
    @pytest.mark.parametrize("name", [":987", "127.0.0.1:987", "nonsense"])
    def test_display_that_leads_nowhere(
        self, monkeypatch: pytest.MonkeyPatch, name: str, with_xlib: bool
    ) -> None:
        if not with_xlib:
            monkeypatch.setattr(display.ctypes.util, "find_library", lambda _: None)
        monkeypatch.setenv("DISPLAY", name)
        assert display_available() == f"the display {name} does not answer"
        assert open_window("test", required=False) is None

    def test_display_that_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(display.ctypes.util, "find_library", lambda _: None)
        number = 5000 + os.getpid() % 1000
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"\0/tmp/.X11-unix/X{number}")
            server.listen()
            monkeypatch.setenv("DISPLAY", f":{number}.0")
            assert display_available() is None
            assert isinstance(open_window("test", required=True), Window)

    def test_opencv_without_windows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n  Media:\n"
        )
        assert display_available() == (
            "this OpenCV was built without windows (opencv-python-headless)"
        )

    @pytest.mark.parametrize("plugin", ["libqxcb.so", "libqwayland-generic.so"])
    def test_wayland_needs_a_plugin(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plugin: str
    ) -> None:
        platforms = tmp_path / "qt" / "plugins" / "platforms"
        platforms.mkdir(parents=True)
        (platforms / plugin).touch()
        monkeypatch.setattr(cv2, "__file__", str(tmp_path / "__init__.py"))
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
        expected = None
        if "wayland" not in plugin:
            expected = "this OpenCV needs an X server: DISPLAY is not set"
        assert display_available() == expected
