"""Where frames come from: one function that opens whatever `--source` names.

The kinds, and what each promises:
- `file`: a video file, or a URL whose server says how long it is. Every frame, in order.
- `images`: an image, a folder or a glob. Every image, in natural order.
- `live`: a webcam or a stream. `read` blocks for the next frame; whoever reads too slowly
  loses frames inside the driver or the server, so the video loop reads without pause.

Sources are synchronous and start no thread of their own; one thread at a time uses a source.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable
from urllib.parse import unquote, urlsplit

from roadseg.errors import SourceError, UsageError
from roadseg.types import Frame

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["Source", "SourceInfo", "SourceKind", "open_source"]

SourceKind = Literal["file", "live", "images"]


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
        has_audio: there is sound that `open_sound` leads to.
        path: the file or folder on this machine, None for cameras, URLs and globs.
        time_base: seconds per tick of the source's clock; every `Frame.time_s` is a multiple
            of it. None if the source has no such clock.
        start_s: where `Frame.time_s` 0 lies on the file's own clock; audio is shifted by it.
        sample_aspect: width of a pixel over its height; 1 almost always.
        input_dirs: folders that the images are read from, resolved.
        open_sound: opens the source once more, to read its sound.
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
    sample_aspect: Fraction = Fraction(1)
    input_dirs: tuple[Path, ...] = ()
    open_sound: Callable[[], InputContainer] | None = None
    no_sound: str | None = None


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


_STREAM_SCHEMES = frozenset(
    ["rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "udp", "tcp", "srt", "rtp"]
)
_WHAT_IT_TAKES = "a video file, a webcam number, an rtsp:// or http(s):// URL, an image, a folder"


def open_source(
    spec: str, *, loop: bool = False, timeout_s: float = 10.0, max_frames: int | None = None
) -> Source:
    """Open whatever `spec` names, and read its first frame.

    Args:
        spec: path of a video file, an image or a folder of images; a glob of images such as
            `"drive/*.png"`; a webcam's number (`"0"`) or device (`"/dev/video0"`); a URL.
        loop: start again at the end, with times and numbers going on; no effect on live sources.
        timeout_s: how long a URL may take to answer, and later to send the next frame.
        max_frames: `read` returns None after so many frames.

    Raises:
        SourceError: it is missing, unreadable, or does not answer.
        UsageError: `max_frames` or `timeout_s` is not positive.
    """
    if max_frames is not None and max_frames < 1:
        raise UsageError(f"cannot process {max_frames} frames: --max-frames must be 1 or more")
    if timeout_s <= 0:
        raise UsageError(f"a time limit of {timeout_s:g} s is none: give a positive number")
    camera = _camera_index(spec)
    if camera is not None:
        from roadseg.video.camera_source import CameraSource

        return CameraSource(camera, max_frames=max_frames)
    if "://" in spec:
        return _open_url(spec, loop=loop, timeout_s=timeout_s, max_frames=max_frames)
    return _open_path(spec, loop=loop, max_frames=max_frames)


def _camera_index(spec: str) -> int | None:
    match = re.fullmatch(r"(?:/dev/video)?([0-9]{1,4})", spec)
    return int(match[1]) if match else None


def _open_url(spec: str, *, loop: bool, timeout_s: float, max_frames: int | None) -> Source:
    from roadseg.video.media import redact
    from roadseg.video.stream_source import open_url

    parts = urlsplit(spec)
    if parts.scheme.lower() == "file":
        return _open_path(unquote(parts.path), loop=loop, max_frames=max_frames)
    if parts.scheme.lower() not in _STREAM_SCHEMES:
        raise SourceError(f"cannot open {redact(spec)}: --source takes {_WHAT_IT_TAKES}")
    return open_url(spec, loop=loop, timeout_s=timeout_s, max_frames=max_frames)


def _open_path(spec: str, *, loop: bool, max_frames: int | None) -> Source:
    from roadseg.video.image_source import ImageSource, images_in, is_image, natural_key

    path = Path(spec).expanduser()
    try:
        if path.is_dir():
            images = images_in(path)
            if not images:
                raise SourceError(f"no images in the folder {spec}{_videos_inside(path)}")
            return ImageSource(images, spec, path=path, loop=loop, max_frames=max_frames)
        if path.exists():
            if is_image(path):
                return ImageSource([path], spec, path=path, loop=loop, max_frames=max_frames)
            from roadseg.video.file_source import open_file

            return open_file(path, loop=loop, max_frames=max_frames)
    except OSError as exc:
        raise SourceError(f"cannot read {spec}: {exc.strerror or exc}") from exc
    if not glob.has_magic(spec):
        raise SourceError(f"no such file: {spec}; --source takes {_WHAT_IT_TAKES} or a glob")
    matches = [Path(p) for p in glob.glob(str(path), recursive=True)]
    images = sorted((p for p in matches if is_image(p) and p.is_file()), key=natural_key)
    if not images:
        what = "no image matches" if matches else "nothing matches"
        raise SourceError(f'{what} {spec}; put the pattern in quotes, for example "drive/*.png"')
    return ImageSource(images, spec, path=None, loop=loop, max_frames=max_frames)


def _videos_inside(folder: Path) -> str:
    suffixes = {".mp4", ".mov", ".avi", ".mkv", ".ts", ".webm", ".m4v"}
    videos = sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes)
    if not videos:
        return ": give a folder that holds .png or .jpg files"
    return f": it holds videos; give one of them, for example --source {videos[0]}"
