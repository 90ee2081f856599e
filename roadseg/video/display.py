"""The live window, where there is a display to show it on."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import socket
import sys
from pathlib import Path

import cv2

from roadseg.core.errors import UsageError
from roadseg.core.types import Image
from roadseg.core.wording import option

_ESCAPE = 27
_NO_KEY = 255
_CLOSE_KEYS = frozenset([_ESCAPE, ord("q"), ord("Q")])
_CONNECT_TIMEOUT_S = 1.0

_FRAME_WH = (16, 96)
"""Pixels of the screen that the window's frame, its title and the desktop's bar take."""
_UNKNOWN_ROOM_WH = (1280, 720)
"""What is left for the picture where the screen's size is not known."""


def display_available() -> str | None:
    """Why no window can be shown; None when one can.

    On Linux the display server is really called: with a `DISPLAY` that leads nowhere (a closed
    ssh -X session, a container) the window toolkit inside OpenCV would end the whole process.
    """
    if not _opencv_has_windows():
        return "this OpenCV was built without windows (opencv-python-headless)"
    if not sys.platform.startswith("linux"):
        return None
    display = os.environ.get("DISPLAY")
    if not display:
        if os.environ.get("WAYLAND_DISPLAY") and _opencv_speaks_wayland():
            return None
        if os.environ.get("WAYLAND_DISPLAY"):
            return "this OpenCV needs an X server: DISPLAY is not set"
        return "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set"
    if not _x_server_answers(display):
        return f"the display {display} does not answer"
    return None


def _opencv_has_windows() -> bool:
    match = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    return match is None or match[1].upper() != "NONE"


def _opencv_speaks_wayland() -> bool:
    """The wheels on the package index bring Qt with its X11 platform only."""
    platforms = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms"
    return not platforms.is_dir() or any(platforms.glob("*wayland*"))


def _x_server_answers(display: str) -> bool:
    library = ctypes.util.find_library("X11")
    if library is not None:
        x11 = ctypes.CDLL(library)
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
        connection = x11.XOpenDisplay(display.encode())
        if not connection:
            return False
        x11.XCloseDisplay(connection)
        return True
    match = re.fullmatch(r"(?:unix)?([^:]*):(\d+)(?:\.\d+)?", display)
    if match is None:
        return Path(display.rpartition(":")[0]).is_socket()  # macOS names its socket by path
    host, number = match[1], int(match[2])
    try:
        if host and not host.startswith("/"):
            socket.create_connection((host, 6000 + number), _CONNECT_TIMEOUT_S).close()
            return True
        return any(
            _unix_socket_answers(name)
            for name in (f"/tmp/.X11-unix/X{number}", f"\0/tmp/.X11-unix/X{number}")
        )
    except OSError:
        return False


def _unix_socket_answers(name: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_CONNECT_TIMEOUT_S)
        try:
            client.connect(name)
        except OSError:
            return False
    return True


def screen_size() -> tuple[int, int] | None:
    """Width and height of the (smallest) screen in pixels; None where the system does not say."""
    if sys.platform == "win32":
        metric = ctypes.windll.user32.GetSystemMetrics
        return int(metric(0)), int(metric(1))
    display = os.environ.get("DISPLAY")
    library = ctypes.util.find_library("X11")
    if display is None or library is None or not sys.platform.startswith("linux"):
        return None
    x11 = ctypes.CDLL(library)
    x11.XOpenDisplay.restype = ctypes.c_void_p
    connection = x11.XOpenDisplay(display.encode())
    if not connection:
        return None
    connection = ctypes.c_void_p(connection)
    sizes = _monitors(connection)
    if not sizes:
        sizes = [(int(x11.XDisplayWidth(connection, 0)), int(x11.XDisplayHeight(connection, 0)))]
    x11.XCloseDisplay(connection)
    return min(width for width, _ in sizes), min(height for _, height in sizes)


class _Monitor(ctypes.Structure):
    """XineramaScreenInfo."""

    _fields_ = (
        ("number", ctypes.c_int),
        *((name, ctypes.c_short) for name in ("x", "y", "width", "height")),
    )


def _monitors(connection: ctypes.c_void_p) -> list[tuple[int, int]]:
    """Sizes of the monitors behind one X screen, which is as wide as all of them together."""
    library = ctypes.util.find_library("Xinerama")
    if library is None:
        return []
    xinerama = ctypes.CDLL(library)
    xinerama.XineramaQueryScreens.restype = ctypes.POINTER(_Monitor)
    count = ctypes.c_int()
    found = xinerama.XineramaQueryScreens(connection, ctypes.byref(count))
    return [(int(found[i].width), int(found[i].height)) for i in range(count.value)]


def without_window() -> str:
    """How to ask for no window, for a message."""
    return option("--no-show", parameter="show=False")


def open_window(title: str, *, required: bool) -> Window | None:
    """A window, or None where there is no display and none is `required`.

    Raises:
        UsageError: a window is required (`--show` was typed) and cannot be shown.
    """
    obstacle = display_available()
    if obstacle is None:
        return Window(title)
    if required:
        raise UsageError(
            f"cannot show a window: {obstacle}",
            fix=f"use {without_window()}, with {option('--output')} to keep the result",
        )
    return None


def _window_size(picture_wh: tuple[int, int], screen_wh: tuple[int, int] | None) -> tuple[int, int]:
    """The picture's own size, so that a pixel is a pixel, or as much of it as the screen holds.

    >>> _window_size((1920, 1080), (2560, 1440)), _window_size((1920, 1080), (1366, 768))
    ((1920, 1080), (1195, 672))
    """
    width, height = picture_wh
    room_wh = _UNKNOWN_ROOM_WH
    if screen_wh is not None:
        room_wh = (screen_wh[0] - _FRAME_WH[0], screen_wh[1] - _FRAME_WH[1])
    scale = min(1.0, room_wh[0] / width, room_wh[1] / height)
    return max(round(width * scale), 64), max(round(height * scale), 64)


class Window:
    """Shows pictures; opens with the first one. Use it from the main thread only: no system
    that has windows allows them from just any thread.

    Attributes:
        key: the character of the key that was pressed last, for whoever takes it; empty for none.
    """

    def __init__(self, title: str) -> None:
        self.key = ""
        self._title = title
        self._says = title
        self._renamed = False
        self._open = False
        self._closed = False
        self._window_wh = (0, 0)
        self._shrunk: Image | None = None
        self._seen = False

    def show(self, image_bgr: Image) -> bool:
        """Show a picture, (H, W, 3) uint8 BGR, and see to key presses.

        Returns:
            False once the user has closed the window or pressed q or Esc; it is gone then, and
            later calls do nothing.

        Raises:
            UsageError: the window cannot be shown after all.
        """
        if self._closed:
            return False
        try:
            if not self._open:
                self._create((image_bgr.shape[1], image_bgr.shape[0]))
            cv2.imshow(self._title, self._fitted(image_bgr))
            if self._renamed:
                self._renamed = False
                cv2.setWindowTitle(self._title, self._says)
            key = cv2.waitKey(1) & 0xFF
            self.key = "" if key == _NO_KEY else chr(key)
            self._open = True
            visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
            # A busy screen takes its time to show a new window: that is not a closed one.
            gone = self._seen and not visible
            self._seen = self._seen or visible
        except cv2.error as exc:
            self._closed = True
            raise UsageError(
                f"cannot show a window: {exc.err or exc}", fix=f"use {without_window()}"
            ) from exc
        if gone or key in _CLOSE_KEYS:
            self.close()
        return not self._closed

    def rename(self, title: str) -> None:
        """Let the title bar say something else, from the next picture on."""
        self._renamed = title != self._says
        self._says = title

    def toggle_full_screen(self) -> None:
        """Fill the screen, or go back to a window."""
        if self._open:
            full = cv2.getWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN) == 1
            mode = cv2.WINDOW_NORMAL if full else cv2.WINDOW_FULLSCREEN
            cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, mode)

    def _create(self, picture_wh: tuple[int, int]) -> None:
        # Qt looks for fonts where OpenCV's wheels have none, and complains on stderr. The window
        # has no text of its own, so that any folder does.
        fonts = os.environ.get("QT_QPA_FONTDIR")
        if fonts is not None and not Path(fonts).is_dir():
            os.environ["QT_QPA_FONTDIR"] = str(Path(cv2.__file__).parent)
        # No tool bar, and the user may drag the corner.
        plain = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
        cv2.namedWindow(self._title, plain)
        self._window_wh = _window_size(picture_wh, screen_size())
        cv2.resizeWindow(self._title, *self._window_wh)

    def _fitted(self, image_bgr: Image) -> Image:
        # OpenCV's own shrinking leaves pixels out, which tears thin lines and letters.
        if image_bgr.shape[1] <= self._window_wh[0] and image_bgr.shape[0] <= self._window_wh[1]:
            return image_bgr
        self._shrunk = cv2.resize(
            image_bgr, self._window_wh, dst=self._shrunk, interpolation=cv2.INTER_LINEAR
        )
        return self._shrunk

    def close(self) -> None:
        """Close the window; a second call does nothing."""
        self._closed = True
        if not self._open:
            return
        self._open = False
        try:
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)
        except cv2.error:
            return  # the user closed it already
