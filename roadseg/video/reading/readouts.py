"""Read-outs of each frame, how they look in the head-up display, and their means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from roadseg.core.types import Labels
from roadseg.render import Guides, HudLine
from roadseg.road import Profile, SteadyProfile, free_space, share_of, shares
from roadseg.road.areas import Points
from roadseg.video.reading.scene import Scene

PARTS = 16
"""Values of a profile in a timeline."""

_COLUMNS_OF_A_LINE = 3  # a speck of one column bends no line
_FARTHEST_M = 99.5  # beyond, a display of metres pretends to know what it cannot


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read from one frame.

    Attributes:
        shares: of the classes and of the user's groups, 0 to 1, by `Scene.names`; NaN where
            nothing of the picture counts.
        road_share: of `road`, 0 to 1.
        free_px: rows of free road from the lower edge of the label map, steadied: the median over
            the columns in which the corridor ends.
        free_m: the same along the road, in metres; inf where the road reaches the horizon.
        occupied: share of the corridor that is in the way, 0 to 1; NaN where none of it counts.
        nearest_px: rows to the nearest thing in the way; None without one.
        nearest_m: the same in metres.
        nearest_class: its class.
        free_parts_px, free_parts_m: free space as `free_px` and `free_m`, from left to right in
            `PARTS` equally wide parts of the picture: the median of each.
        profile: free space in each column, steadied; None where it was not kept.
        corridor: its corners.
    """

    shares: tuple[float, ...]
    road_share: float
    free_px: float
    free_m: float
    occupied: float
    nearest_px: int | None
    nearest_m: float | None
    nearest_class: str | None
    free_parts_px: tuple[float, ...] = ()
    free_parts_m: tuple[float, ...] = ()
    profile: Profile | None = field(default=None, compare=False, repr=False)
    corridor: Points = ()

    @property
    def guides(self) -> Guides | None:
        """The same as lines over the picture; None without a profile."""
        if self.profile is None:
            return None
        lines = self.profile.parts(math.ceil(self.profile.pixels.size / _COLUMNS_OF_A_LINE))
        return Guides(1 - lines.pixels / lines.height, self.corridor)


class Readouts:
    """Reads one frame after the other; made once for a run.

    >>> scene = Scene.of(ReadingOptions(), CAMVID, (352, 480))
    >>> Readouts(scene).read(0.0, np.full((352, 480), 3, np.uint8)).road_share
    1.0

    Args:
        scene: names, camera and corridor.

    Attributes:
        things: names of the classes that can be in the way.

    Raises:
        UsageError: the model has no road, or nothing that could be in the way; the message says how
            to map classes.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._ids = [list(scene.words.ids(name)) for name in scene.names]
        scene.words.ids("road")
        self.things = tuple(scene.words.classes.names[i] for i in scene.words.ids("obstacle"))
        self._steady = SteadyProfile()
        self._ends: dict[tuple[int, int], npt.NDArray[np.int64]] = {}

    def read(self, time_s: float, network_ids: Labels) -> Reading:
        """The read-outs of a frame.

        Args:
            time_s: its time.
            network_ids: (h, w) uint8 class ids.

        Raises:
            UsageError: at this size the ignore mask leaves nothing.
        """
        scene, words, ignore = self._scene, self._scene.words, self._scene.ignore
        each = shares(network_ids, words, ignore=ignore)
        profile = self._steady.update(time_s, free_space(network_ids, words, ignore))
        columns = self._columns((network_ids.shape[0], network_ids.shape[1]))
        free_px = float(np.median(profile.pixels[columns]))
        edge = np.array(profile.height - free_px)
        parts = profile.parts(PARTS)
        inside = scene.corridor.read(network_ids, words, ignore)
        return Reading(
            shares=tuple(float(each[ids].sum()) for ids in self._ids),
            road_share=share_of(each, words),
            free_px=free_px,
            free_m=float(scene.camera.distance_m(edge, profile.height)),
            occupied=inside.occupied,
            nearest_px=inside.nearest_px,
            nearest_m=inside.nearest_m(scene.camera),
            nearest_class=inside.nearest_class,
            free_parts_px=tuple(parts.pixels.tolist()),
            free_parts_m=tuple(parts.metres(scene.camera).tolist()),
            profile=profile,
            corridor=scene.corridor.points,
        )

    def _columns(self, size_hw: tuple[int, int]) -> npt.NDArray[np.int64]:
        """Those in which the upper tenth of the corridor lies; the middle one in tiny maps."""
        if size_hw not in self._ends:
            mask = self._scene.corridor.mask(size_hw)
            rows = np.flatnonzero(mask.any(axis=1))
            upper = mask[rows[: max(len(rows) // 10, 1)]] if rows.size else mask[:0]
            columns = np.flatnonzero(upper.any(axis=0))
            self._ends[size_hw] = columns if columns.size else np.array([size_hw[1] // 2])
        return self._ends[size_hw]


def hud_lines(reading: Reading, things: Sequence[str]) -> tuple[HudLine, ...]:
    """Two lines for the head-up display: how much road there is, and what stands on it.

    Args:
        reading: of a frame.
        things: `Readouts.things`, so that a line keeps its width.

    >>> reading = Reading((), 0.432, 132.0, 15.2, 0.04, 132, 15.2, "car")
    >>> [(line.left, line.right) for line in hud_lines(reading, ["car"])]
    [('road 43%', 'free 15 m'), ('ahead', 'car 15 m')]
    """
    share = "--" if math.isnan(reading.road_share) else f"{reading.road_share:.0%}"
    thing = "clear"
    if reading.nearest_class is not None and reading.nearest_m is not None:
        thing = f"{reading.nearest_class} {_metres(reading.nearest_m)}"
    widest = max(things, key=len, default="")
    return (
        HudLine(f"road {share}", f"free {_metres(reading.free_m)}", "road 100%", "free >99 m"),
        HudLine("ahead", thing, "ahead", f"{widest} >99 m"),
    )


def _metres(metres: float) -> str:
    return f"{metres:.0f} m" if metres < _FARTHEST_M else ">99 m"


class Means:
    """Means of the read-outs over a run; one thread adds, others may read.

    Args:
        names: `Scene.names`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self.frames = 0
        self._shares = [_Mean() for _ in names]
        self._road, self._free_m, self._occupied = _Mean(), _Mean(), _Mean()
        self._blocked, self._nearest_m = _Mean(), _Mean()

    def add(self, reading: Reading) -> None:
        """One more frame."""
        self.frames += 1
        for mean, share in zip(self._shares, reading.shares, strict=True):
            mean.add(share)
        self._road.add(reading.road_share)
        self._free_m.add(reading.free_m)
        self._occupied.add(reading.occupied)
        self._blocked.add(float(reading.nearest_px is not None))
        if reading.nearest_m is not None:
            self._nearest_m.add(reading.nearest_m)

    def to_json(self) -> dict[str, object]:
        """As `--stats-json` writes them; None where no frame had a number."""
        return {
            "frames": self.frames,
            "shares": dict(zip(self._names, (m.value(6) for m in self._shares), strict=True)),
            "road_share": self._road.value(6),
            "free_m": self._free_m.value(2),
            "corridor_occupied": self._occupied.value(6),
            "corridor_blocked": self._blocked.value(6),
            "corridor_nearest_m": self._nearest_m.value(2),
        }


class _Mean:
    """Of the finite numbers that were added."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, number: float) -> None:
        if math.isfinite(number):
            self._sum += number
            self._count += 1

    def value(self, digits: int) -> float | None:
        return round(self._sum / self._count, digits) if self._count else None
