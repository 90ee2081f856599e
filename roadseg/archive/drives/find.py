"""Which clips follow each other without a break: the drives that a recorder cut into clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from roadseg.archive.drives.names import ClipName, read_clip_name
from roadseg.media.clip_facts import ClipFacts

MOST_GAP_S = 10.0
"""A longer pause between two clips ends a drive: recorders lose a few seconds at a cut."""

MOST_OVERLAP_S = 3.0
"""Some recorders write the last moments of a clip once more into the next one."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A clip, and what its headers say; None where they cannot be read."""

    path: str
    facts: ClipFacts | None


@dataclass(frozen=True, slots=True)
class Drive:
    """Clips of one camera that follow each other, or one clip alone.

    Attributes:
        clips: in order, at least one.
        gaps_s: seconds between each and the next, one less than clips. Below 0 they overlap. Names
            have whole seconds, so that a second more or less says nothing.
    """

    clips: tuple[Recording, ...]
    gaps_s: tuple[float, ...] = ()


def by_camera(paths: Iterable[str]) -> dict[str, list[str]]:
    """The paths of each camera, in the order in which they came."""
    cameras: dict[str, list[str]] = {}
    for path in paths:
        cameras.setdefault(read_clip_name(path).camera, []).append(path)
    return cameras


def find_drives(recordings: Sequence[Recording]) -> list[Drive]:
    """Put clips together that are of one drive.

    Clips belong together that have the same folder, the same kind of name and pictures of one
    size, and of which each begins where the one before ends. The begin is in the name, or is the
    container's creation time; the end follows from the duration.

    Returns:
        Drives in the order of their first clips. Each recording is in one of them.
    """
    cameras: dict[str, list[_Known]] = {}
    drives: dict[str, Drive] = {}
    for recording in recordings:
        name, facts = read_clip_name(recording.path), recording.facts
        if facts is None or not facts.duration_s:
            drives[recording.path] = Drive((recording,))
            continue
        known = _Known(recording, name, facts, facts.duration_s)
        cameras.setdefault(name.camera, []).append(known)
    for clips in cameras.values():
        for drive in _chained(sorted(clips, key=_order)):
            drives[drive.clips[0].path] = drive
    return [drives[each.path] for each in recordings if each.path in drives]


@dataclass(frozen=True, slots=True)
class _Known:
    recording: Recording
    name: ClipName
    facts: ClipFacts
    duration_s: float

    @property
    def begins(self) -> datetime | None:
        """By one clock for all clips of a camera; only differences mean anything."""
        if self.name.begins is not None:
            return self.name.begins
        return None if self.facts.created is None else self.facts.created.replace(tzinfo=None)


def _order(clip: _Known) -> tuple[int, datetime, str]:
    return clip.name.chapter or 0, clip.begins or datetime.min, clip.recording.path


def _chained(clips: Iterable[_Known]) -> list[Drive]:
    drives: list[Drive] = []
    before: _Known | None = None
    for clip in clips:
        gap_s = None if before is None else _gap_s(before, clip)
        if gap_s is None:
            drives.append(Drive((clip.recording,)))
        else:
            drive = drives[-1]
            drives[-1] = Drive((*drive.clips, clip.recording), (*drive.gaps_s, gap_s))
        before = clip
    return drives


def _gap_s(clip: _Known, following: _Known) -> float | None:
    """Seconds between two clips; None if the second does not follow the first."""
    if clip.facts.size_wh != following.facts.size_wh:
        return None
    if clip.name.chapter is not None and following.name.chapter is not None:
        return 0.0 if following.name.chapter == clip.name.chapter + 1 else None
    if clip.begins is None or following.begins is None:
        return None
    apart_s = (following.begins - clip.begins).total_seconds()
    gap_s = apart_s - clip.duration_s
    if clip.name.begins is None:
        # Some recorders write the time at which a clip ended.
        gap_s = min(gap_s, apart_s - following.duration_s, key=abs)
    return round(gap_s, 3) if -MOST_OVERLAP_S <= gap_s <= MOST_GAP_S else None
