"""The clips of an archive, with those of one drive as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from roadseg.archive.clip import Clip
from roadseg.archive.drives.find import Drive, Recording, by_camera, find_drives
from roadseg.archive.remote import is_remote, opened
from roadseg.core.errors import SourceError
from roadseg.core.files import printable
from roadseg.media.clip_facts import ClipFacts, clip_facts

# Names have whole seconds, and durations leave the last picture out.
_WORTH_A_NOTE_S = 1.5

# The headers of a three-minute clip are about as large.
_AHEAD_BYTES = 256 * 1024


def join_clips(clips: Sequence[Clip], stream: int | None = None) -> list[Clip]:
    """Make one clip of those that are one drive; it is called like the first of them.

    Args:
        clips: of an archive.
        stream: see `roadseg.media.clip_facts.clip_facts`.

    Returns:
        The drives, and the clips that are of none, in the order of their first clips.
    """
    by_path = {clip.path: clip for clip in clips}
    alone = {each[0] for each in by_camera(by_path).values() if len(each) == 1}
    # The headers of a clip that has no neighbour do not matter.
    recordings = [
        Recording(path, None if path in alone else _facts(path, stream)) for path in by_path
    ]
    return [_joined(drive, by_path) for drive in find_drives(recordings)]


def _facts(path: str, stream: int | None) -> ClipFacts | None:
    """None for a folder of pictures, and for what cannot be read, which will say why itself."""
    try:
        if is_remote(path):
            with opened(path, ahead_bytes=_AHEAD_BYTES) as (file, _size):
                return clip_facts(path, stream, file=file)
        return None if Path(path).is_dir() else clip_facts(Path(path), stream)
    except SourceError:
        return None


def _joined(drive: Drive, by_path: dict[str, Clip]) -> Clip:
    clips = [by_path[each.path] for each in drive.clips]
    if len(clips) == 1:
        return clips[0]
    return replace(
        clips[0],
        bytes=sum(clip.bytes for clip in clips),
        parts=tuple(clip.path for clip in clips),
        part_names=tuple(clip.name for clip in clips),
        notes=tuple(_notes(drive)),
    )


def _notes(drive: Drive) -> Iterable[str]:
    for before, after, gap_s in zip(drive.clips[:-1], drive.clips[1:], drive.gaps_s, strict=True):
        names = f"{printable(before.path)} and {printable(after.path)}"
        if gap_s > _WORTH_A_NOTE_S:
            yield f"about {gap_s:.0f} s are missing between {names}"
        elif gap_s < -_WORTH_A_NOTE_S:
            yield f"{names} overlap by about {-gap_s:.0f} s, which are there twice"
