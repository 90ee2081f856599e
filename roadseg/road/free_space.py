"""Free space: how far the road goes on, column by column."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Labels
from roadseg.road.areas import IgnoreMask
from roadseg.road.flat_road import FlatRoad
from roadseg.road.vocabulary import Vocabulary, check_labels


@dataclass(frozen=True)
class Profile:
    """Free space in front of each column.

    Attributes:
        pixels: (w,) float64: rows from the picture's lower edge up to the first pixel that is no
            road; the height of the label map where nothing but road is above.
        height: rows of the label map.
    """

    pixels: npt.NDArray[np.float64]
    height: int

    def metres(self, camera: FlatRoad) -> npt.NDArray[np.float64]:
        """(w,) float64: metres along the road; inf where the road reaches the horizon.

        Where the very lowest row shows no road, it is the distance of that row: what is nearer
        lies below the picture.
        """
        return camera.distance_m(self.height - self.pixels, self.height)

    def parts(self, count: int) -> Profile:
        """The profile in so many equally wide parts of the picture: the median of each.

        >>> Profile(np.array([4.0, 5.0, 9.0, 0.0, 1.0, 1.0]), 20).parts(2).pixels
        array([5., 1.])
        """
        width = self.pixels.size
        each = -(-width // count)
        # Where the parts are no whole columns, some columns count in two of them.
        columns = ((np.arange(count * each) + 0.5) * (width / (count * each))).astype(np.intp)
        return Profile(np.median(self.pixels[columns].reshape(count, each), axis=1), self.height)


def free_space(
    labels: Labels,
    words: Vocabulary,
    ignore: IgnoreMask | None = None,
    *,
    road: str = "road",
    gap_px: int = 0,
) -> Profile:
    """How far the road goes on in each column, from the picture's lower edge upwards.

    Ignored pixels end nothing: the free space goes on behind the bonnet.

    >>> labels = np.array([[0, 3, 0], [0, 3, 8], [3, 3, 3], [3, 3, 3]], np.uint8)
    >>> profile = free_space(labels, Vocabulary())
    >>> profile.pixels
    array([2., 4., 2.])
    >>> profile.metres(FlatRoad(camera_height_m=1.0, horizon=0.25, vertical_fov_deg=90))
    array([ 2., inf,  2.])

    Args:
        labels: (h, w) uint8 class ids.
        words: what the ids mean.
        ignore: what ends no free space.
        road: the class or group that is free; `ground` to take pavements for free, too.
        gap_px: what is no road and not higher than this is passed over, such as specks.

    Raises:
        ValueError: not (h, w) uint8 labels.
        UsageError: these classes have no road; the message says how to map one.
    """
    check_labels(labels)
    height, width = labels.shape
    free = np.uint8(255) - words.table(words.ids(road))
    blocked = cv2.LUT(labels, free).reshape(height, width)
    if ignore is not None:
        blocked = cv2.bitwise_and(blocked, ignore.counts((height, width)))
    # Columns become rows in memory, from the lower edge on, where argmax ends at its first hit.
    columns = cv2.rotate(blocked, cv2.ROTATE_90_CLOCKWISE).reshape(width, height)
    if gap_px:
        # Blocked is what is blocked, and the next pixels upwards, too; the upper edge blocks.
        run = np.ones((1, gap_px + 1), np.uint8)
        columns = cv2.erode(
            columns, run, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT, borderValue=255
        ).reshape(width, height)
    first = columns.view(np.bool_).argmax(axis=1)
    nothing = columns[np.arange(width), first] == 0
    return Profile(np.where(nothing, height, first).astype(np.float64), height)


class SteadyProfile:
    """Steadies free space over time, without a delay of its own for things that come nearer.

    Each column follows what is measured by an exponential average; a column that becomes shorter
    follows twice as fast as one that becomes longer.

    >>> steady = SteadyProfile(time_constant_s=0.2)
    >>> before = steady.update(0.0, Profile(np.array([10.0, 10.0]), 20))
    >>> steady.update(0.1, Profile(np.array([10.0, 20.0]), 20)).pixels.round(1)
    array([10. , 13.9])

    Args:
        time_constant_s: after this time a longer column has gone 63 % of its way.

    Raises:
        ValueError: a time constant that is not above 0.
    """

    def __init__(self, time_constant_s: float = 0.2) -> None:
        if not time_constant_s > 0:
            raise ValueError(f"expected a time constant above 0 s, got {time_constant_s}")
        self.time_constant_s = time_constant_s
        self._time_s = math.nan
        self._last: Profile | None = None

    def update(self, time_s: float, profile: Profile) -> Profile:
        """The steadied profile at a frame's time.

        It begins anew with a profile of another size, when the time goes backwards, and after a
        second without a frame.
        """
        last, passed_s = self._last, time_s - self._time_s
        if (
            last is not None
            and last.height == profile.height
            and last.pixels.shape == profile.pixels.shape
            and 0 <= passed_s <= 1
        ):
            change = profile.pixels - last.pixels
            slow = -math.expm1(-passed_s / self.time_constant_s)
            fast = -math.expm1(-2 * passed_s / self.time_constant_s)
            profile = Profile(
                last.pixels + change * np.where(change < 0, fast, slow), profile.height
            )
        self._time_s, self._last = time_s, profile
        return profile
