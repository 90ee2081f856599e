"""The ego corridor: the piece of road that the car is about to drive over."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from roadseg.core.errors import UsageError
from roadseg.core.types import Labels
from roadseg.core.wording import option
from roadseg.road.areas import Area, IgnoreMask, Mask, Points, counted
from roadseg.road.flat_road import FlatRoad
from roadseg.road.shares import Shares, shares
from roadseg.road.vocabulary import Vocabulary, check_labels

_WIDTH_M = 2.2
_FAR_M = 30.0


@dataclass(frozen=True)
class Occupancy:
    """What is in the corridor.

    Attributes:
        shares: (num_classes,) float64: shares of the classes inside; see `roadseg.road.shares`.
        occupied: share of what is in the way, 0 to 1; NaN where nothing of the corridor counts.
        nearest_px: rows from the picture's lower edge up to the nearest thing in the way; None if
            there is nothing.
        nearest_class: its class; None if there is nothing.
        height: rows of the label map.
    """

    shares: Shares
    occupied: float
    nearest_px: int | None
    nearest_class: str | None
    height: int

    def nearest_m(self, camera: FlatRoad) -> float | None:
        """Metres along the road to the nearest thing in the way; None if there is nothing."""
        if self.nearest_px is None:
            return None
        edge = np.array(float(self.height - self.nearest_px))
        return float(camera.distance_m(edge, self.height))


class Corridor(Area):
    """The ego corridor; an area called `corridor`.

    >>> lane = Corridor([(0.25, 1), (0.25, 0), (0.75, 0), (0.75, 1)])
    >>> labels = np.array([[0, 0, 0, 0], [0, 8, 3, 0], [3, 3, 3, 3], [3, 3, 3, 3]], np.uint8)
    >>> inside = lane.read(labels, Vocabulary())
    >>> inside.occupied, inside.nearest_px, inside.nearest_class
    (0.125, 2, 'car')

    Args:
        points: its corners, fractions of the picture (see `roadseg.road.areas`); without any, the
            corridor of `Corridor.ahead()`.

    Raises:
        UsageError: fewer than three corners, or nothing of it lies in the picture.
    """

    def __init__(self, points: Points | None = None) -> None:
        super().__init__("corridor", _trapezium(FlatRoad()) if points is None else points)

    @classmethod
    def ahead(
        cls,
        camera: FlatRoad | None = None,
        width_m: float = _WIDTH_M,
        far_m: float = _FAR_M,
    ) -> Corridor:
        """The road straight ahead of a camera: a trapezium, from the picture's lower edge on.

        >>> [(round(x, 2), round(y, 2)) for x, y in Corridor.ahead().points]
        [(0.18, 1.0), (0.47, 0.55), (0.53, 0.55), (0.82, 1.0)]

        Args:
            camera: that looks along the car; the default of `FlatRoad` without one.
            width_m: a car's width and some room.
            far_m: where it ends.

        Raises:
            UsageError: nothing of it lies in the picture.
        """
        try:
            return cls(_trapezium(camera or FlatRoad(), width_m, far_m))
        except UsageError as exc:
            raise UsageError(
                f"the camera does not see the road up to {far_m:g} m ahead, where the corridor is",
                fix=f"look at {option('--camera-height', 'METRES', parameter='camera_height_m')} "
                f"and {option('--horizon', 'ROW')}, or give corners with "
                + option("--corridor", "0.2,1 0.45,0.5 0.55,0.5 0.8,1", parameter="points"),
            ) from exc

    def read(
        self,
        labels: Labels,
        words: Vocabulary,
        ignore: IgnoreMask | None = None,
        *,
        obstacles: str = "obstacle",
        row_share: float = 0.1,
    ) -> Occupancy:
        """What is in the corridor, and how far ahead the nearest thing in the way is.

        Args:
            labels: (h, w) uint8 class ids.
            words: what the ids mean.
            ignore: what does not count.
            obstacles: the class or group that is in the way.
            row_share: a row is blocked when at least this share of the corridor's pixels in it
                show what is in the way, so that specks block nothing.

        Raises:
            ValueError: not (h, w) uint8 labels.
            UsageError: `obstacles` means nothing in these classes.
        """
        check_labels(labels)
        size_hw = (labels.shape[0], labels.shape[1])
        each = shares(labels, words, self, ignore)
        ids = list(words.ids(obstacles))
        mask = counted(self, ignore, size_hw)
        assert mask is not None
        thing = cv2.LUT(labels, words.table(ids)).reshape(size_hw)
        row = nearest_row(thing, mask, row_share)
        nearest = None
        if row is not None:
            inside = labels[row][(thing[row] > 0) & (mask[row] > 0)]
            nearest = words.classes.names[int(np.bincount(inside).argmax())]
        return Occupancy(
            each,
            float(each[ids].sum()),
            None if row is None else size_hw[0] - 1 - row,
            nearest,
            size_hw[0],
        )


def nearest_row(thing: Mask, mask: Mask, row_share: float) -> int | None:
    """The lowest row in which enough of a mask shows a thing; None without one.

    Args:
        thing: (h, w) uint8, 255 where the thing is, else 0.
        mask: (h, w) uint8, 255 where pixels count, else 0.
        row_share: share of the mask's pixels in a row that must show it; one pixel is the least.
    """
    both = cv2.bitwise_and(thing, mask)
    in_way = cv2.reduce(both, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    room = cv2.reduce(mask, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    rows = np.flatnonzero((in_way > 0) & (in_way >= row_share * room))
    return int(rows[-1]) if rows.size else None


def _trapezium(
    camera: FlatRoad, width_m: float = _WIDTH_M, far_m: float = _FAR_M
) -> list[tuple[float, float]]:
    # From where the road enters the picture; a camera that looks up a lot sees it later.
    near_m = float(camera.distance_m(np.array(1.0), 1))
    half = width_m / 2
    return [
        camera.point(-half, near_m),
        camera.point(-half, far_m),
        camera.point(half, far_m),
        camera.point(half, near_m),
    ]
