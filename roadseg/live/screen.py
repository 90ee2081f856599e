"""The window of a live run: one camera at a time, and keys."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2

from roadseg.core.errors import RoadsegError
from roadseg.core.files import write_bytes
from roadseg.core.types import Image
from roadseg.live.config import LiveConfig
from roadseg.live.configured import renderer_of
from roadseg.live.outputs import Result
from roadseg.live.slot import Slot
from roadseg.live.station import Station
from roadseg.live.web.recordings import Recorder
from roadseg.render import VIEWS
from roadseg.video.display import Window
from roadseg.video.inference import FrameSegmenter

HELP = (
    "keys: n next camera, v view, + and - opacity, l legend, space pause, . one picture further, "
    "s snapshot, r record, f full screen, h this help, q quit"
)

_LOG = logging.getLogger("roadseg.live")

# How long to wait for a new picture before the window sees to its keys.
_WAIT_S = 0.03

# A lost camera's picture says since when: it is drawn again so often.
_LOST_S = 0.5

_ALPHA_STEP = 0.1


class Screen:
    """Shows one station in a window, and does what keys ask for. For the main thread.

    Args:
        window: shown in; closed by its owner.
        stations: of the run; the first is shown first.
        config: how pictures look to begin with.
        segmenter: says what runs.
        recorder: for the key r; None for none.

    Raises:
        UsageError: there is no such palette or view.
    """

    def __init__(
        self,
        window: Window,
        stations: Sequence[Station],
        config: LiveConfig,
        segmenter: FrameSegmenter,
        recorder: Recorder | None = None,
    ) -> None:
        self._window = window
        self._stations = stations
        self._config = config
        self._segmenter = segmenter
        self._recorder = recorder
        self._which = 0
        self._slot: Slot[Result] = stations[0].watch()
        self._step: Slot[Result] | None = None
        self._picture: Image | None = None
        self._lost_drawn_s = 0.0
        self._keys: dict[str, Callable[[], None]] = {
            "n": self._next,
            "\t": self._next,
            "v": self._view,
            "+": lambda: self._opacity(_ALPHA_STEP),
            "=": lambda: self._opacity(_ALPHA_STEP),
            "-": lambda: self._opacity(-_ALPHA_STEP),
            "l": self._legend,
            " ": self._pause,
            ".": self._one_further,
            "s": self._snapshot,
            "r": self._record,
            "f": window.toggle_full_screen,
            "h": lambda: _LOG.info(HELP),
            "?": lambda: _LOG.info(HELP),
        }
        self._draw_with()

    def attend(self) -> bool:
        """Show what is new and see to a key; see `LiveRun.run`.

        Returns:
            False once the window is closed.
        """
        result = self._slot.get(_WAIT_S)
        if result is not None:
            self._picture = self._render(result)
            if self._step is self._slot:
                self._step = None
                self._station.pause()
        else:
            self._look_for_loss()
        if self._picture is None:
            return True
        if not self._window.show(self._picture):
            return False
        act = self._keys.get(self._window.key.lower())
        if act is not None:
            act()
        return True

    @property
    def _station(self) -> Station:
        return self._stations[self._which]

    def _draw_with(self) -> None:
        if len(self._stations) > 1:
            self._window.rename(f"roadseg: {self._station.name}")
        self._render = renderer_of(
            self._station, self._config, self._segmenter, self._segmenter.classes
        )

    def _redraw(self, **look: object) -> None:
        self._config = replace(self._config, **look)  # type: ignore[arg-type]
        self._draw_with()
        picture = self._station.picture(self._render)
        if picture is not None:
            self._picture = picture

    def _look_for_loss(self) -> None:
        now_s = time.monotonic()
        if not self._station.gives_pictures and now_s - self._lost_drawn_s >= _LOST_S:
            self._lost_drawn_s = now_s
            self._picture = self._station.picture(self._render)

    def _next(self) -> None:
        self._station.unwatch(self._slot)
        self._which = (self._which + 1) % len(self._stations)
        self._slot = self._station.watch()
        self._redraw()

    def _view(self) -> None:
        view = self._config.view or VIEWS[0]
        self._redraw(view=VIEWS[(VIEWS.index(view) + 1) % len(VIEWS)])

    def _opacity(self, step: float) -> None:
        alpha = 0.5 if self._config.alpha is None else self._config.alpha
        self._redraw(alpha=round(min(max(alpha + step, 0.0), 1.0), 2))

    def _legend(self) -> None:
        self._redraw(legend=self._config.legend is False)

    def _pause(self) -> None:
        station = self._station
        (station.resume if station.mailbox.paused else station.pause)()

    def _one_further(self) -> None:
        if self._station.mailbox.paused:
            self._step = self._slot
            self._station.resume()

    def _record(self) -> None:
        if self._recorder is None:
            return
        name = self._station.name
        try:
            if self._recorder.is_recording(name):
                self._recorder.stop(name)
            else:
                self._recorder.start(name)
        except RoadsegError as exc:
            _LOG.warning("%s", exc)

    def _snapshot(self) -> None:
        if self._picture is None:
            return
        name = re.sub(r"[^\w.-]+", "-", self._station.name)
        path = Path(f"{name}-{time.strftime('%Y-%m-%dT%H-%M-%S')}.png")
        _, data = cv2.imencode(".png", self._picture)
        try:
            write_bytes(path, data.tobytes(), durable=False)
        except RoadsegError as exc:
            _LOG.warning("no snapshot: %s", exc)
        else:
            _LOG.info("written to %s", path)
