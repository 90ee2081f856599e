"""What a source is.

The kinds, and what each promises:
- `file`: a video file, or a URL whose server says how long it is. Every frame, in order.
- `images`: an image, a folder or a glob. Every image, in natural order.
- `live`: a webcam or a stream. `read` blocks for the next frame; whoever reads too slowly
  loses frames inside the driver or the server, so the video loop reads without pause.

Sources are synchronous and start no thread of their own; one thread at a time uses a source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from roadseg.core.types import Frame

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["CameraMode", "RtspTransport", "Source", "SourceInfo", "SourceKind"]

SourceKind = Literal["file", "live", "images"]
RtspTransport = Literal["auto", "tcp", "udp"]


@dataclass(frozen=True)
class CameraMode:
    """What a camera is asked for; it gives what it can.

    Attributes:
        size_wh: width and height of the pictures, None for the camera's choice.
        fps: pictures a second, None for the camera's choice.
    """

    size_wh: tuple[int, int] | None = None
    fps: float | None = None


@dataclass(frozen=True)
class SourceInfo:
    """What is known about a source before its first frame is processed.

    Attributes:
        name: for people; passwords in URLs are blotted out.
        kind: `file`, `live` or `images`.
        size_hw: size of the first frame as it will be read (rotation applied), None if unknown.
            Later frames may have another size.
        rate: nominal frames per second, None if unknown.
        frame_count: frames that the source declares (an estimate where the container only
            gives a duration), no more than `max_frames`; None for live and looping sources.
        has_audio: there is sound that `reopen` leads to.
        path: the file or folder on this machine, None for cameras, URLs and globs.
        time_base: seconds per tick of the source's clock; every `Frame.time_s` is a multiple
            of it. None if the source has no such clock.
        start_s: where `Frame.time_s` 0 lies on the file's own clock; audio is shifted by it.
        tags: what the container says of the recording: date, place, title and the like.
        input_dirs: folders that the images are read from, resolved.
        names: path of every image and the name of its results; see `Frame.name`.
        reopen: opens the source once more, to read what it holds beside the pictures.
        has_data: there are subtitles or data (a GPS track) that `reopen` leads to.
        parts: the files of a joined source, in order.
        cuts_s: where they begin on the clock that `start_s` is on.
        no_sound: why sound that the source has is not offered, None if it has none or offers it.
        planar: the first frame's picture comes in planes (`roadseg.core.planes.Planes`). Later
            frames may come otherwise.
    """

    name: str
    kind: SourceKind
    size_hw: tuple[int, int] | None
    rate: Fraction | None
    frame_count: int | None
    has_audio: bool
    path: Path | None
    time_base: Fraction | None = None
    start_s: Fraction = Fraction(0)
    tags: Mapping[str, str] = field(default_factory=dict)
    input_dirs: tuple[Path, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    reopen: Callable[[], InputContainer] | None = None
    no_sound: str | None = None
    has_data: bool = False
    parts: tuple[Path, ...] = ()
    cuts_s: tuple[Fraction, ...] = ()
    planar: bool = False


@runtime_checkable
class Source(Protocol):
    """An open source of frames; also a context manager that closes itself.

    Attributes:
        info: what is known about it.
        frames_lost: frames that a damaged file declared and that could not be decoded;
            final once `read` has returned None.
        warnings: one line each, for people; it may grow with every `read`.
    """

    info: SourceInfo
    frames_lost: int
    warnings: list[str]

    def read(self) -> Frame | None:
        """The next frame, or None at the end (and again at every later call).

        Raises:
            SourceError: the source failed: camera unplugged, stream lost.
        """
        ...

    def close(self) -> None:
        """Give files and devices back; a second call does nothing."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(self, *exc_info: object) -> None: ...
