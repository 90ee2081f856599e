"""What results are called where nobody has said it: like their source, and never what is there."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from roadseg.media.sinks.png import PngFileSink, PngFolderSink
from roadseg.media.sinks.targets import TargetTakenError
from roadseg.media.sources.base import SourceInfo

if TYPE_CHECKING:
    from roadseg.media.sinks.sink import Sink


# What file systems take as a name, less what is added to it: `-roadseg`, a number, `.mp4`.
_ROOM_BYTES = 255 - 32


def default_name(source: SourceInfo) -> str:
    """The source's name, as it may stand in the name of any file: no slashes, no line ends.

    A file gives its name without suffix, a folder or the folder of a pattern its own, and a URL
    the last part of its path.

    >>> default_name(open_source("https://u:p@host/drives/Monday%20am.mp4?token=1").info)
    'Monday am'
    """
    if source.kind == "images" and not _is_one_picture(source):
        return _safe(_folder_of(source).name) or "pictures"
    if source.path is not None:
        return _safe(_stem(source.path.name)) or "video"
    return _safe(_stem(_last_part(source.name))) or "video"


def open_default_sink(source: SourceInfo, folder: Path = Path()) -> Sink:
    """Open a sink for pictures under a name that nobody has: neither a file nor another run.

    Args:
        source: not live. A video becomes NAME-roadseg.mp4, one picture NAME-roadseg.png, several
            the folder NAME-roadseg; where that is taken, NAME-roadseg-2 and so on.
        folder: where; default: the current one.

    Raises:
        SinkError: nothing can be written there.
    """
    opener: Callable[..., Sink]
    suffix = ""
    if source.kind != "images":
        from roadseg.media.sinks.mp4 import Mp4Sink

        opener, suffix = Mp4Sink, ".mp4"
    elif source.frame_count == 1 and _is_one_picture(source):
        opener, suffix = PngFileSink, ".png"
    else:
        opener = PngFolderSink
    name = f"{default_name(source)}-roadseg"
    for number in itertools.count(1):
        path = folder / f"{name}{'' if number == 1 else f'-{number}'}{suffix}"
        if _is_taken(path, is_folder=not suffix):
            continue
        try:
            return opener(path, source, overwrite=False)
        except TargetTakenError:
            continue  # by another run, or just now
    raise AssertionError


def _is_one_picture(source: SourceInfo) -> bool:
    """Whether it was named itself, by path or URL, and not by its folder or a pattern."""
    if source.path is not None:
        return not source.path.is_dir()
    return not source.input_dirs


def _folder_of(source: SourceInfo) -> Path:
    """The folder that is the source, or that holds all that a pattern matches."""
    if source.path is not None:
        return source.path.resolve()
    try:
        return Path(os.path.commonpath(source.input_dirs))
    except ValueError:  # on several drives
        return Path()


def _last_part(url: str) -> str:
    """Of the path; `url` is one without passwords."""
    path = url.partition("://")[2].partition("?")[0].partition("#")[0]
    _host, _slash, path = path.partition("/")
    # Escaped, these could stand in it once more.
    name = unquote(path.rstrip("/").rpartition("/")[2])
    return name.partition("?")[0].partition("#")[0].replace("/", "_")


def _stem(name: str) -> str:
    """Without `.mp4` and the like; what stands behind another dot belongs to the name."""
    return re.sub(r"(?<=.)\.[a-z0-9]{1,5}$", "", name, flags=re.IGNORECASE | re.DOTALL)


def _safe(name: str) -> str:
    """Without what some system or shell takes for something else, and not too long."""
    name = "".join(c if c.isprintable() and c not in '<>:"/\\|?*' else "_" for c in name)
    name = name.strip(" .").lstrip("-")
    return name.encode()[:_ROOM_BYTES].decode(errors="ignore").rstrip(" .")


def _is_taken(path: Path, *, is_folder: bool) -> bool:
    if is_folder and path.is_dir():
        return any(path.iterdir())
    return os.path.lexists(path)
