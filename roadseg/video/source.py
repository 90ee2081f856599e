"""Where frames come from: one function that opens whatever `--source` names.

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
from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

from roadseg.errors import SourceError, UsageError
from roadseg.picture_file import is_animated
from roadseg.types import Frame
from roadseg.wording import option

if TYPE_CHECKING:
    from av.container import InputContainer

    from roadseg.video.places import Images

__all__ = ["RtspTransport", "Source", "SourceInfo", "SourceKind", "open_source"]

SourceKind = Literal["file", "live", "images"]
RtspTransport = Literal["auto", "tcp", "udp"]

_MOST_FPS = 1000


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
        no_sound: why sound that the source has is not offered, None if it has none or offers it.
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


def open_source(
    spec: str,
    *,
    loop: bool = False,
    timeout_s: float = 10.0,
    max_frames: int | None = None,
    fps: Fraction | None = None,
    rtsp_transport: RtspTransport = "auto",
    stream: int | None = None,
) -> Source:
    """Open whatever `spec` names, and read its first frame.

    Args:
        spec: path of a video file, an image or a folder of images; a glob of images such as
            `"drive/*.png"`; a webcam's number (`"0"`) or device (`"/dev/video0"`, or a link to
            it such as those in /dev/v4l/by-id); a URL. What exists wins over all else.
        loop: start again at the end, with times and numbers going on; no effect on live sources.
        timeout_s: how long a URL may take to answer, and later to send the next frame.
        max_frames: `read` returns None after so many frames.
        fps: frames per second of what has no rate of its own: images, and bare video streams.
        rtsp_transport: see `roadseg.video.network.open_url`.
        stream: number of the video stream to read where there are several (front and rear
            camera), from 1; None for the first that is no preview.

    Raises:
        SourceError: it is missing, unreadable, or does not answer.
        UsageError: `max_frames`, `timeout_s` or `fps` is not positive, or the source has a rate
            of its own.
    """
    from roadseg.video import places

    if max_frames is not None and max_frames < 1:
        raise UsageError(
            f"cannot process {max_frames} frames: {option('--max-frames')} must be 1 or more"
        )
    if timeout_s <= 0:
        raise UsageError(f"a time limit of {timeout_s:g} s is none: give a positive number")
    if fps is not None and not 0 < fps <= _MOST_FPS:
        raise UsageError(
            f"{option('--fps', round(float(fps), 6))} is not above 0 and at most {_MOST_FPS}"
        )
    if rtsp_transport not in get_args(RtspTransport):
        raise UsageError(
            f"unknown {option('--rtsp-transport')} {rtsp_transport!r}: "
            f"use {'|'.join(get_args(RtspTransport))}"
        )
    place = places.find(spec)
    if stream is not None and isinstance(place, (places.Camera, places.Images)):
        raise UsageError(
            f"{option('--stream')} chooses among the videos in one file or URL; {place.name} has "
            "no others: leave it out"
        )
    if fps is not None and isinstance(place, (places.Camera, places.Url)):
        raise UsageError(
            f"{option('--fps')} is for images and bare streams; {place.name} has its own rate: "
            "leave it out"
        )
    if isinstance(place, places.Camera):
        from roadseg.video.camera_source import CameraSource

        return CameraSource(place.index, max_frames=max_frames)
    if isinstance(place, places.Url):
        from roadseg.video.network import open_url

        return open_url(
            place.url,
            loop=loop,
            timeout_s=timeout_s,
            max_frames=max_frames,
            rtsp_transport=rtsp_transport,
            stream=stream,
        )
    if isinstance(place, places.Images):
        return _open_images(place, loop=loop, max_frames=max_frames, fps=fps)
    from roadseg.video.file_source import open_file

    source = open_file(place.path, loop=loop, max_frames=max_frames, fps=fps, stream=stream)
    source.warnings += place.notes
    return source


def _open_images(
    place: Images, *, loop: bool, max_frames: int | None, fps: Fraction | None
) -> Source:
    from roadseg.video.animation import open_animation
    from roadseg.video.image_source import ImageSource

    if place.path is not None and place.paths == (place.path,) and _animated(place.path):
        if fps is not None:
            raise UsageError(
                f"{option('--fps')} is for images and bare streams; {place.name} is animated and "
                "has its own rate: leave it out"
            )
        source = open_animation(place.path, loop=loop, max_frames=max_frames)
        source.warnings += place.notes
        return source
    return ImageSource(
        place.paths,
        place.name,
        path=place.path,
        loop=loop,
        max_frames=max_frames,
        rate=fps,
        warnings=place.notes,
    )


def _animated(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_animated(file)
    except OSError as exc:
        raise SourceError(f"cannot read {path}: {exc.strerror or exc}") from exc
