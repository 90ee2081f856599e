"""Which drive a frame is from; frames of one drive look alike."""

from __future__ import annotations

import re

from roadseg.core.errors import DataError, UsageError
from roadseg.core.wording import option
from roadseg.datasets.labelled import LabelledSet

DRIVE_PATTERN = r"([^_]+)_"
"""A frame's name up to its first underscore, as in CamVid's `0016E5_07959.png`."""

MOST_DRIVES = 20
"""More are frames without drives in their names."""


def drives_of(data: LabelledSet, pattern: str = DRIVE_PATTERN) -> dict[str, list[int]]:
    """Indices of the frames of each drive, by its name, in the order of the frames.

    Args:
        data: the frames.
        pattern: a regular expression that a frame's file name begins with; its group is the drive.

    Raises:
        UsageError: `pattern` is no regular expression with one group.
        DataError: a frame's name does not begin with it; there is one drive only, or so many that
            they are none.
    """
    fix = f"give another {option('--drives', parameter='pattern')}"
    try:
        compiled = re.compile(pattern)
    except re.error as exc:
        raise UsageError(f"{pattern!r} is not a regular expression ({exc})", fix=fix) from exc
    if compiled.groups != 1:
        raise UsageError(f"{pattern!r} has {compiled.groups} groups", fix=f"{fix}, with one group")
    found: dict[str, list[int]] = {}
    for index, (image, _) in enumerate(data.pairs):
        match = compiled.match(image.name)
        if match is None or not match[1]:
            raise DataError(
                f"{image} is of no drive: its name does not begin as {pattern}", fix=fix
            )
        found.setdefault(match[1], []).append(index)
    if len(found) == 1:
        raise DataError(
            f"all frames of {data.root} are from one drive, {next(iter(found))}",
            fix="label frames of another, or train and validate as usual",
        )
    if len(found) > MOST_DRIVES:
        raise DataError(
            f"{data.root} would have {len(found)} drives, more than {MOST_DRIVES}", fix=fix
        )
    return found
