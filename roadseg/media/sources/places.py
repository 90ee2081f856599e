"""What `--source` names: a camera, a URL, images or a video file."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote

from roadseg.core.errors import SourceError, unreadable
from roadseg.core.shipped import shipped_copy
from roadseg.core.wording import option
from roadseg.media.redaction import redact
from roadseg.media.sources.images import images_in, is_image, natural_key

__all__ = ["Camera", "Csi", "Images", "Pipeline", "Place", "Url", "Video", "find"]

_DEVICES = "/dev"
_STREAM_SCHEMES = frozenset(
    ["rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "udp", "tcp", "srt", "rtp"]
)
_VIDEO_SUFFIXES = frozenset([".mp4", ".mov", ".avi", ".mkv", ".ts", ".webm", ".m4v"])
_WHAT_IT_TAKES = "a video file, a webcam number, an rtsp:// or http(s):// URL, an image, a folder"


@dataclass(frozen=True, slots=True)
class Camera:
    """A webcam by its number."""

    index: int

    @property
    def name(self) -> str:
        """For people."""
        return f"webcam {self.index}"


@dataclass(frozen=True, slots=True)
class Url:
    """A network stream, or a file that lies elsewhere."""

    url: str

    @property
    def name(self) -> str:
        """For people, without passwords."""
        return redact(self.url)


@dataclass(frozen=True, slots=True)
class Images:
    """Images, in order.

    Attributes:
        paths: at least one.
        name: for people.
        path: the folder or the single image, None for a glob.
        notes: what people should know, one line each.
    """

    paths: tuple[Path, ...]
    name: str
    path: Path | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Video:
    """A file that is no image."""

    path: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Csi:
    """A camera on a Jetson's own connector: `csi://0?width=1920&height=1080&fps=30`."""

    number: int
    width: int = 1280
    height: int = 720
    fps: int = 30

    @property
    def name(self) -> str:
        """For people."""
        return f"CSI camera {self.number}"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline of GStreamer, without its sink."""

    elements: str

    @property
    def name(self) -> str:
        """For people, without passwords."""
        return redact(self.elements)


Place: TypeAlias = Camera | Csi | Pipeline | Url | Images | Video


def find(spec: str) -> Place:
    """What `spec` names; see `roadseg.media.sources.opening.open_source`.

    Raises:
        SourceError: there is nothing of that name.
    """
    scheme, is_url, rest = spec.partition("://")
    if is_url and scheme.lower() in _STREAM_SCHEMES:
        return Url(f"{scheme.lower()}://{rest}")  # FFmpeg knows no other case
    if is_url and scheme.lower() == "csi":
        return _csi(spec, rest)
    if is_url and scheme.lower() == "file":
        # file:///a and file://localhost/a; Windows writes file:///C:/a.
        spec = re.sub(r"^localhost(?=/)|^/(?=[A-Za-z]:)", "", unquote(rest))
        is_url = ""
    # Without such a home folder it is a name like any other, as for shells.
    path = Path(os.path.expanduser(spec))
    try:
        camera = _camera(path)
        if camera is not None:
            return camera
        if path.exists():
            return _existing(spec, path)
    except OSError as exc:
        raise unreadable(SourceError, redact(spec), exc) from exc
    if re.fullmatch("[0-9]+", spec):
        return _numbered(spec)
    if " ! " in spec:
        return Pipeline(spec)
    if is_url:
        raise SourceError(
            f"cannot open {redact(spec)}", fix=f"{option('--source')} takes {_WHAT_IT_TAKES}"
        )
    if not glob.has_magic(spec):
        raise _missing(spec, path)
    return _matching(spec, path)


def _camera(path: Path) -> Camera | None:
    """The camera behind a path in /dev or behind a link to one, plugged in or not."""
    device = re.fullmatch(
        re.escape(_DEVICES) + r"/video([0-9]{1,4})", os.path.realpath(path).replace(os.sep, "/")
    )
    return Camera(int(device[1])) if device else None


def _csi(spec: str, rest: str) -> Csi:
    number, _, query = rest.partition("?")
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    values = {"number": number or "0", **pairs}
    known = {"number", "width", "height", "fps"}
    sizes = [value for key, value in values.items() if key != "number"]
    fits = re.fullmatch("[0-9]{1,2}", values["number"]) is not None
    fits = fits and all(re.fullmatch("[1-9][0-9]{0,4}", value) for value in sizes)
    if set(values) - known or not fits:
        raise SourceError(
            f"cannot open {redact(spec)}",
            fix=f"write {option('--source', 'csi://0?width=1280&height=720&fps=30')}",
        )
    return Csi(**{key: int(value) for key, value in values.items()})


def _numbered(spec: str) -> Camera:
    if len(spec) > 4 or str(int(spec)) != spec:
        number = str(int(spec))
        fix = f"for webcam {number}, {option('--source', number)}" if len(number) < 5 else ""
        raise SourceError(f"no such file: {spec}", fix=fix)
    return Camera(int(spec))


def _existing(spec: str, path: Path) -> Images | Video:
    notes: tuple[str, ...] = ()
    if re.fullmatch("[0-9]{1,4}", spec):
        kind = "folder" if path.is_dir() else "file"
        notes = (
            f"reading the {kind} {spec}; for webcam {int(spec)}, give "
            f"{option('--source', f'{_DEVICES}/video{int(spec)}')}",
        )
    if path.is_dir():
        images = images_in(path)
        if not images:
            raise _no_images(spec, path)
        return Images(tuple(images), spec, path, notes)
    if is_image(path):
        return Images((path,), spec, path, notes)
    return Video(path, notes)


def _missing(spec: str, path: Path) -> SourceError:
    if spec.startswith(f"{_DEVICES}/v4l/"):
        found = sorted(str(p) for p in path.parent.glob("*")) if path.parent.is_dir() else []
        fix = f"use one of {', '.join(found)}" if found else "plug one in"
        return SourceError(f"no such camera: {spec}", fix=fix)
    shown = redact(spec)
    if shown != spec:
        return SourceError(f"no such file: {shown}", fix="a URL begins with rtsp:// or http(s)://")
    if copy := shipped_copy(spec):
        return SourceError(f"no such file: {shown}", fix=f"the one of the documentation is {copy}")
    return SourceError(
        f"no such file: {shown}", fix=f"{option('--source')} takes {_WHAT_IT_TAKES} or a glob"
    )


def _matching(spec: str, path: Path) -> Images:
    matches = [Path(p) for p in _expand("", list(path.parts))]
    images = sorted({p for p in matches if is_image(p) and p.is_file()}, key=natural_key)
    if images:
        return Images(tuple(images), spec, None)
    shown = redact(spec)
    videos = sorted((p for p in matches if p.suffix.lower() in _VIDEO_SUFFIXES), key=natural_key)
    if videos:
        raise SourceError(
            f"{shown} matches {len(videos)} video{'s' if len(videos) > 1 else ''}, and a "
            "pattern is for images",
            fix=f"give one video, for example {option('--source', videos[0])}",
        )
    if matches:
        raise SourceError(
            f"no image matches {shown}: it matches {matches[0]}",
            fix='give a pattern of images, for example "drive/*.png"',
        )
    folder = _literal_folder(path)
    if not folder.is_dir():
        raise SourceError(
            f"nothing matches {shown}: there is no folder {folder}", fix="check the path"
        )
    raise SourceError(
        f"no such file: {shown}, and nothing in {folder} matches it as a pattern",
        fix='a pattern of images is for example "drive/*.png"',
    )


def _expand(base: str, parts: list[str]) -> Iterator[str]:
    """Paths that a pattern names, part by part. A part that exists as it stands is no pattern:
    people's folders are called `photos [2024]`."""
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    here = os.path.join(base, part)
    if os.path.lexists(here):
        yield from _expand(here, rest)
    elif part == "**":
        below = glob.glob(os.path.join(glob.escape(base), "**", ""), recursive=True)
        for folder in sorted({folder.rstrip(os.sep) for folder in below} | {base}):
            yield from _expand(folder, rest or ["*"])
    elif glob.has_magic(part):
        # Where it is no pattern with its brackets, they may be the name's: `drive [1]*.png`.
        patterns = dict.fromkeys([part, part.replace("[", "[[]")])
        found = (sorted(glob.glob(pattern, root_dir=base or None)) for pattern in patterns)
        for name in next(filter(None, found), []):
            yield from _expand(os.path.join(base, name), rest)


def _literal_folder(path: Path) -> Path:
    """The part of a pattern before its first wildcard."""
    folder = Path(path.anchor)
    for part in path.parts[bool(path.anchor) : -1]:
        if glob.has_magic(part) and not (folder / part).exists():
            break
        folder /= part
    return folder


def _no_images(spec: str, folder: Path) -> SourceError:
    what = f"no images in the folder {spec}"
    videos = sorted(p for p in folder.iterdir() if p.suffix.lower() in _VIDEO_SUFFIXES)
    if not videos:
        return SourceError(what, fix="give a folder that holds .png or .jpg files")
    return SourceError(
        f"{what}: it holds videos",
        fix=f"give one of them, for example {option('--source', videos[0])}",
    )
