"""What the main thread does while a video runs: the window, and the report of progress."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from roadseg.core.types import Image
from roadseg.video.channel import Channel, Closed

if TYPE_CHECKING:
    from roadseg.video.display import Window

# How long the main thread sleeps at most between progress reports, and how often a window is
# given the chance to see a key press.
PROGRESS_INTERVAL_S = 0.1
_WINDOW_INTERVAL_S = 0.03


def attend(
    ended: threading.Event,
    pictures: Channel[Image],
    window: Window | None,
    *,
    report: Callable[[], None],
    stop: Callable[[], None],
) -> None:
    """Show pictures and report progress until the last stage has ended.

    Args:
        ended: set when it has.
        pictures: holds the newest.
        window: shows it; None shows nothing.
        report: called every now and then, and at the end.
        stop: called when the window is closed.
    """
    picture: Image | None = None
    while not ended.is_set():
        if window is None:
            ended.wait(PROGRESS_INTERVAL_S)
        else:
            try:
                picture = pictures.get(_WINDOW_INTERVAL_S)
            except TimeoutError:
                pass  # show the last one again: the window must see keys while frames are slow
            except Closed:
                ended.wait(_WINDOW_INTERVAL_S)
            if picture is not None and not window.show(picture):
                window = None
                stop()
        report()
    report()
