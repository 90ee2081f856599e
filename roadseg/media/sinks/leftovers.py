"""What runs that were killed left beside their results."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from roadseg.core.errors import SourceError
from roadseg.core.file_lock import TargetTakenError, lock_target
from roadseg.core.files import hidden_beside

_PART = re.compile(r"\.\d+-[0-9a-f]{6}(\.copy)?\.part")
_MAX_BYTES = 255


def new_copy(target: Path) -> Path:
    """A hidden name for a copy of what has its final name already; nobody needs half of one."""
    return hidden_beside(target, f".{os.getpid()}-{secrets.token_hex(3)}.copy.part")


def settle_parts(target: Path) -> list[str]:
    """Name the recordings or masks that runs into this file left when they were killed.

    To be called by whoever has the target's lock: nobody else writes to its parts then.

    Returns:
        Warnings, one for each.

    Raises:
        OSError: the folder cannot be read.
    """
    warnings = []
    for part, is_copy in parts_of(target):
        # What cannot be touched, on whatever grounds, stays: this run does not depend on it.
        with contextlib.suppress(OSError):
            pictures = 0 if is_copy else _whole_pictures(part, target)
            if pictures:
                place = free_name(target)
                part.rename(place)
                warnings.append(
                    f"an earlier run into {target.name} was killed: what it wrote, "
                    f"{pictures} frames, is now {place}"
                )
            else:
                part.unlink()
                if not is_copy:
                    warnings.append(
                        f"an earlier run into {target.name} was killed before it wrote anything "
                        "that plays: its unfinished file was removed"
                    )
    return warnings


def _whole_pictures(part: Path, target: Path) -> int:
    """How many pictures a file holds that was not finished."""
    if target.suffix.lower() != ".mkv":
        from roadseg.media.sinks.mp4_boxes import keep_whole_fragments

        return keep_whole_fragments(part)
    from roadseg.media.mask_video import MaskVideo

    try:
        with MaskVideo(part) as masks:
            return len(masks)
    except SourceError:
        return 0


def parts_of(target: Path) -> list[tuple[Path, bool]]:
    """Hidden files beside `target` that runs write, or wrote, and whether each is a mere copy.

    Raises:
        OSError: the folder cannot be read.
    """
    start = hidden_beside(target, "").name
    found = []
    for part in sorted(target.parent.iterdir()):
        match = part.name.startswith(start) and _PART.fullmatch(part.name[len(start) :])
        if match:
            found.append((part, match[1] is not None))
    return found


def settle_folder(folder: Path) -> list[str]:
    """Remove PNGs that runs into this folder had not finished when they were killed.

    To be called by whoever has the folder's lock.

    Returns:
        A warning, if there were any.

    Raises:
        OSError: the folder cannot be read.
    """
    removed = 0
    for part in folder.glob(".*.png.part"):
        with contextlib.suppress(OSError):
            part.unlink()
            removed += 1
    if not removed:
        return []
    count = "one PNG file" if removed == 1 else f"{removed} PNG files"
    return [f"an earlier run into {folder} was killed: {count} that it had not finished removed"]


def settle_recordings(folder: Path) -> list[str]:
    """`settle_parts` for every mp4 file that killed runs left in a folder.

    Files that another run is writing to are left to it.

    Returns:
        Warnings, one for each.

    Raises:
        OSError: the folder cannot be read.
    """
    targets = {
        folder / part.name[1 : match.start()]
        for part in folder.glob(".*.mp4.*.part")
        if (match := _PART.search(part.name)) is not None
    }
    warnings: list[str] = []
    for target in sorted(targets):
        try:
            lock = lock_target(hidden_beside(target, ".lock"), str(target))
        except TargetTakenError:
            continue
        if lock is None:
            continue  # without locks a part may be one that another run is writing
        try:
            warnings += settle_parts(target)
        finally:
            lock.release()
    return warnings


def free_name(target: Path) -> Path:
    """`out-interrupted-1.mp4` or the next number that nothing has."""
    number = 1
    while True:
        stem, ending = target.stem, f"-interrupted-{number}{target.suffix}"
        while len(os.fsencode(stem + ending)) > _MAX_BYTES:
            stem = stem[:-1]
        place = target.with_name(stem + ending)
        if not os.path.lexists(place):
            return place
        number += 1
