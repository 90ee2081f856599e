"""A file that plays like a camera: each frame comes when its time has come."""

from __future__ import annotations

import time
from dataclasses import replace

from roadseg.core.closing import Closing
from roadseg.core.types import Frame
from roadseg.media.sources.base import Source

# Decoding that falls behind by so much does not catch up by a burst: the clip plays later.
_BEHIND_S = 0.5


class InRealTime(Closing):
    """A source at its own rate, its frames stamped as they come.

    Without it a file under `latest` is read as fast as it can be decoded: it takes the processor
    from the network, and most of its frames are replaced.

    Args:
        source: a file or images; closed with this.

    Attributes:
        due_s: by `time.monotonic()`, when the picture comes that `read` waits with; None while it
            waits with none.
    """

    def __init__(self, source: Source) -> None:
        self.info = source.info
        self.frames_lost = source.frames_lost
        self.warnings = source.warnings
        self._source = source
        self._began_s: float | None = None
        self.due_s: float | None = None

    def read(self) -> Frame | None:
        """See `Source.read`; returns when the frame is due."""
        frame = self._source.read()
        self.frames_lost = self._source.frames_lost
        if frame is None:
            return None
        now_s = time.monotonic()
        if self._began_s is None or now_s - self._began_s - frame.time_s > _BEHIND_S:
            self._began_s = now_s - frame.time_s
        self.due_s = self._began_s + frame.time_s
        time.sleep(max(self.due_s - now_s, 0))
        self.due_s = None
        return replace(frame, captured_s=time.monotonic())

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()
