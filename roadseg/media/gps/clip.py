"""How far a clip went."""

from __future__ import annotations

from pathlib import Path

from roadseg.media.gps.recorded import read_recorded
from roadseg.media.gps.sidecar import read_sidecar, sidecar_of
from roadseg.media.gps.track import distance_m


def driven_m(clip: Path) -> float | None:
    """How long the way of a clip is, in metres.

    Args:
        clip: a file. A track in a file beside it comes before the one inside of it.

    Returns:
        None where no place is known.

    Raises:
        SourceError: the file beside it cannot be read.
    """
    sidecar = sidecar_of(clip)
    fixes = read_recorded(clip) if sidecar is None else read_sidecar(sidecar)
    return distance_m(fixes) if fixes else None
