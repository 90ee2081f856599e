"""The window: shown where it can be, refused in one line where it cannot, and never a crash.

OpenCV's windows are replaced by fakes: there is no display where tests run.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.video import display
from roadseg.video.display import Window, display_available, open_window

pytestmark = pytest.mark.usefixtures("as_typed")

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
        assert flags & cv2.WINDOW_GUI_NORMAL, "no tool bar"

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


@pytest.fixture(autouse=True)
def unknown_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "screen_size", lambda: None)


def test_shows_until_told_otherwise(highgui: FakeHighgui) -> None:
    window = Window("test")
    assert window.show(IMAGE)
    assert window.show(IMAGE)
    assert len(highgui.shown) == 2
    assert highgui.size == (1280, 720), "8K shrinks to fit a screen"
    assert highgui.shown[0].shape == (720, 1280, 3)
    window.close()
    window.close()
    assert highgui.destroyed == 1


@pytest.mark.parametrize(
    ("picture_wh", "screen_wh", "expected"),
    [
        ((960, 540), (1920, 1080), (960, 540)),
        ((960, 540), None, (960, 540)),
        ((1920, 1080), (2560, 1440), (1920, 1080)),
        ((1920, 1080), (1920, 1080), (1749, 984)),
        ((3840, 1080), (1920, 1080), (1904, 536)),
        ((1080, 1920), (1920, 1080), (554, 984)),
        ((20, 10), (1920, 1080), (64, 64)),
    ],
)
def test_a_pixel_is_a_pixel_where_the_screen_has_room(
    highgui: FakeHighgui,
    monkeypatch: pytest.MonkeyPatch,
    picture_wh: tuple[int, int],
    screen_wh: tuple[int, int] | None,
    expected: tuple[int, int],
) -> None:
    monkeypatch.setattr(display, "screen_size", lambda: screen_wh)
    image = np.random.default_rng(0).integers(0, 255, (*picture_wh[::-1], 3), dtype=np.uint8)
    window = Window("test")
    window.show(image)
    window.show(image)
    assert highgui.size == expected
    assert len(highgui.shown) == 2
    for shown in highgui.shown:
        if expected[0] >= picture_wh[0]:
            assert shown is image
        else:
            assert shown.shape == (*expected[::-1], 3)


def test_qt_is_given_a_folder_to_look_for_fonts_in(
    highgui: FakeHighgui, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QT_QPA_FONTDIR", str(tmp_path / "missing"))
    Window("test").show(IMAGE)
    assert Path(os.environ["QT_QPA_FONTDIR"]).is_dir()
    monkeypatch.setenv("QT_QPA_FONTDIR", str(tmp_path))
    Window("test").show(IMAGE)
    assert os.environ["QT_QPA_FONTDIR"] == str(tmp_path), "the user's choice"


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
    assert str(caught.value) == "cannot show a window: no window for you: use --no-show"
    assert not window.show(IMAGE)
    window.close()


SHOWING = """
import sys, time
import numpy as np
from roadseg.video import display
height, width = int(sys.argv[1]), int(sys.argv[2])
y, x = np.mgrid[:height, :width]
image = np.stack([x % 251, y % 241, (x * y) % 239], axis=2).astype(np.uint8)
window = display.open_window("test", required=True)
print(*display.screen_size(), flush=True)
while window.show(image):
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def x_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A screen of 1000x700 in memory: its name, and the folder that its pixels are written to."""
    program = shutil.which("Xvfb")
    if program is None:
        pytest.skip("a real window needs Xvfb: apt-get install xvfb")
    folder = tmp_path_factory.mktemp("screen")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        [
            *(program, "-displayfd", str(writing), "-noreset", "-nocursor"),
            *("-screen", "0", "1000x700x24", "-fbdir", str(folder)),
        ],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as number:
            line = number.readline().strip()
        if not line:
            pytest.skip("Xvfb does not start here")
        yield f":{line}", folder / "Xvfb_screen0"
    finally:
        server.terminate()
        server.wait()


def screen_bgr(file: Path) -> np.ndarray:
    """What is on the screen, from the X window dump that Xvfb keeps: (700, 1000, 3) BGR."""
    content = file.read_bytes()
    header = struct.unpack(">25I", content[:100])
    size, height, line, colours = header[0], header[5], header[12], header[19]
    pixels = np.frombuffer(content, np.uint8, height * line, size + 12 * colours)
    return pixels.reshape(height, -1, 4)[..., :3]


@linux_only
class TestRealWindow:
    @pytest.mark.parametrize(
        ("size_hw", "shown_hw"), [((360, 480), (360, 480)), ((1080, 1920), (554, 984))]
    )
    def test_the_picture_and_nothing_else(
        self, x_server: tuple[str, Path], size_hw: tuple[int, int], shown_hw: tuple[int, int]
    ) -> None:
        if "QT5" not in cv2.getBuildInformation() and "QT6" not in cv2.getBuildInformation():
            pytest.skip("this OpenCV does not bring its windows along")
        expected = pattern(size_hw)
        if size_hw != shown_hw:
            expected = cv2.resize(expected, shown_hw[::-1], interpolation=cv2.INTER_LINEAR)
        # Without a window manager some windows never get to draw: Qt misses that they are shown.
        for _ in range(4):
            screen, output, errors = shown_on(x_server, size_hw, expected)
            if screen.any():
                break
        # Without a window manager the window stands in the corner, without a frame.
        height, width = shown_hw
        assert (screen[:height, :width] == expected).all()
        assert not screen[height:].any()
        assert not screen[:, width:].any()
        assert (output, errors) == ("1000 700\n", "")


def shown_on(
    x_server: tuple[str, Path], size_hw: tuple[int, int], expected: np.ndarray
) -> tuple[np.ndarray, str, str]:
    """The screen once `expected` is in its corner, or after a while; what the program said."""
    name, file = x_server
    height, width = expected.shape[:2]
    showing = subprocess.Popen(
        [sys.executable, "-c", SHOWING, *(str(side) for side in size_hw)],
        env={**os.environ, "DISPLAY": name},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        screen = screen_bgr(file)
        deadline_s = time.monotonic() + 15
        while time.monotonic() < deadline_s and showing.poll() is None:
            time.sleep(0.05)
            screen = screen_bgr(file).copy()
            if (screen[:height, :width] == expected).all():
                break
    finally:
        showing.terminate()
        output, errors = showing.communicate()
    return screen, output, errors


def pattern(size_hw: tuple[int, int]) -> np.ndarray:
    """The picture of `SHOWING`."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    return np.stack([x % 251, y % 241, (x * y) % 239], axis=2).astype(np.uint8)


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
            "set: use --no-show, with --output to keep the result"
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
