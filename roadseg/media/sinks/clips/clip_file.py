"""One clip: encoded pictures in a file of their own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.core.files import is_special, new_part, put_in_place
from roadseg.media.container import file_url
from roadseg.media.sinks.clips.tap import EncodedPicture
from roadseg.media.sinks.leftovers import new_copy
from roadseg.media.sinks.mp4_boxes import keep_whole_fragments, move_index_to_front
from roadseg.media.sinks.targets import write_failure

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream


# As `Mp4Sink` writes: it plays up to the last second whenever writing ends.
_MUXER_OPTIONS = {
    "frag_duration": "1000000",
    "flush_packets": "1",
    "movflags": "+hybrid_fragmented",
}


class ClipFile:
    """Writes encoded pictures, from a key picture on, into an mp4 file that begins at time 0.

    It grows under a hidden name and gets its own when it is closed. It has no sound.

    Args:
        path: in a folder that exists.
        title: of the file.
        about_s: what it is about is at this time of the source; the file says so.
    """

    def __init__(self, path: Path, title: str, about_s: float) -> None:
        self.path = path
        self.pictures = 0
        self._title, self._about_s = title, about_s
        self._part = new_part(path)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._first_dts = 0
        self._last_dts = -1

    def write(self, picture: EncodedPicture) -> None:
        """Append a picture; those before the first key picture are left out.

        Raises:
            SinkError: it cannot be written; what was written before is there under `path`.
        """
        import av

        try:
            if self._container is None:
                if not picture.is_key:
                    return
                self._container = self._start(picture)
            self._append(self._container, picture)
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            self._keep_what_plays()
            raise write_failure(self.path, exc) from exc

    def close(self) -> bool:
        """Finish the file.

        Returns:
            Whether there is one: without a picture there is none.

        Raises:
            SinkError: it cannot be completed; what plays of it is there under `path`.
        """
        import av

        container, self._container = self._container, None
        if container is None:
            return False
        try:
            container.close()
            put_in_place(self._part, self.path)
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            self._keep_what_plays()
            raise write_failure(self.path, exc) from exc
        self._move_index()
        return True

    def _start(self, first: EncodedPicture) -> OutputContainer:
        import av

        container: OutputContainer = av.open(
            file_url(self._part), "w", format="mp4", options=dict(_MUXER_OPTIONS)
        )
        begins = f"begins at {float(first.time_s):.3f} s of the source"
        container.metadata["title"] = self._title
        container.metadata["comment"] = f"{begins}, its event at {self._about_s:.3f} s"
        self._stream = container.add_stream_from_template(first.template, opaque=True)
        self._stream.time_base = first.time_base
        self._first_dts = first.dts
        return container

    def _append(self, container: OutputContainer, picture: EncodedPicture) -> None:
        import av

        packet = av.Packet(picture.data)
        packet.time_base = picture.time_base
        # A packet of equal time would be refused.
        dts = max(picture.dts - self._first_dts, self._last_dts + 1)
        packet.pts, packet.dts = max(picture.pts - self._first_dts, dts), dts
        packet.duration = picture.duration
        packet.is_keyframe = picture.is_key
        packet.stream = self._stream
        container.mux(packet)
        self._last_dts = dts
        self.pictures += 1

    def _keep_what_plays(self) -> None:
        """Give up, but leave under the final name what was written so far."""
        import av

        container, self._container = self._container, None
        self.pictures = 0
        if container is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                container.close()
        with contextlib.suppress(OSError):
            self.pictures = keep_whole_fragments(self._part)
            if self.pictures:
                put_in_place(self._part, self.path)
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)

    def _move_index(self) -> None:
        """Make browsers play while they load; without room for a copy it plays all the same."""
        if is_special(self.path):
            return
        copy = new_copy(self.path)
        with contextlib.suppress(OSError):
            if move_index_to_front(self.path, copy):
                os.replace(copy, self.path)
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)
