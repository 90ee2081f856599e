"""The track inside of a clip, as GoPro, BlackVue and other recorders write it.

There are dozens of formats. mapillary-tools (`roadseg[gps]`) reads some of them.
"""

from __future__ import annotations

from pathlib import Path

from roadseg.core.installing import is_installed
from roadseg.media.gps.track import Fix

_SUFFIXES = frozenset((".mp4", ".mov", ".m4v", ".360", ".insv"))


def reads_recorded(clip: Path) -> bool:
    """Whether a clip is one that may have a track inside, and the package for it is installed."""
    return clip.suffix.lower() in _SUFFIXES and is_installed("mapillary_tools")


def read_recorded(clip: Path) -> list[Fix]:
    """The fixes in a clip, in order; none where it has no track, or none that can be read."""
    if not reads_recorded(clip):
        return []
    from mapillary_tools.exceptions import MapillaryDescriptionError
    from mapillary_tools.geotag.video_extractors.native import NativeVideoExtractor

    try:
        points = NativeVideoExtractor(clip).extract().points
    except MapillaryDescriptionError:
        return []  # no track, or no mp4
    return [Fix(point.lat, point.lon, point.time) for point in points]
