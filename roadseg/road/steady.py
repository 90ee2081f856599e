"""Steady labels: each frame's labels, voted upon by the frame before and the frame after.

Where the labels of a pixel change over time, the classes that are seen there, now, before and
after, stand for election. A pixel and its four neighbours vote:

- now;
- before and after, at the place where optical flow says that the pixel was and will be;
- before and after, at the pixel itself: a wall or a road moves, and is still there;
- and the label that the pixel had before has a bonus.

Slender things (poles, people on foot) would be outvoted by what they move across: where one is seen
now, votes that do not follow the flow hardly count, and it has a bonus. So has a sign or somebody
on a bicycle that the flow confirms: seen now, and before or after where it was or will be. What
drives has less of a bonus for the label before, since it would leave a trail. Weights and classes
were searched for on rendered drives; docs/road.md has what they do to flicker and to accuracy.

Optical flow (`roadseg.core.flow`) is taken at half size. The flow to the next frame is that of the
next frame to this one, turned round.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.flow import Flow
from roadseg.core.types import Image, Labels
from roadseg.road.vocabulary import Vocabulary, check_labels

_BEFORE, _AFTER = 0.4, 0.5  # votes along the flow, where those around the pixel now weigh 1
_STILL = 0.65  # votes at the same place before and after
_SAME = 0.8  # bonus for the label before
_SLENDER = 0.02  # of the last two where a slender thing is seen now
_SEEN = 0.5  # bonus for a slender thing that is seen now
_SLENDER_NAMES = ("pole", "pedestrian", "person")
_CYCLES = ("bicyclist", "rider", "bicycle", "motorcycle")
_SIGNS = ("sign", "traffic sign", "traffic light")
_CONFIRMED = {**dict.fromkeys(_SIGNS, 1.0), **dict.fromkeys(_CYCLES, 0.8)}  # bonus by the flow
_SAME_OF = {  # in place of the bonus for the label before
    **dict.fromkeys(("car", "truck", "bus", "train"), 0.3),
    **dict.fromkeys(_CYCLES, 0.5),
    **dict.fromkeys(_SLENDER_NAMES, 0.0),
}

_MOST_CHANGED = 0.3  # a cut, rather than movement: there is nothing to learn from the frame before
_EDGE = 1

_Flat = npt.NDArray[np.uint8]
_Places = npt.NDArray[np.int64]


class Steady:
    """Steadies a stream of label maps, with one frame of delay.

    >>> steady = Steady(Vocabulary())
    >>> road, wall = np.full((2, 2), 3, np.uint8), np.full((2, 2), 1, np.uint8)
    >>> speck = road.copy()
    >>> speck[0, 0] = 1
    >>> frame_bgr = np.zeros((2, 2, 3), np.uint8)
    >>> [steady.push(frame_bgr, labels) is None for labels in (road, speck)]
    [True, False]
    >>> steady.push(frame_bgr, road)        # the frame before this one: the speck is gone
    array([[3, 3],
           [3, 3]], dtype=uint8)

    Args:
        words: what the ids mean; slender things and what drives are found by name.
    """

    def __init__(self, words: Vocabulary) -> None:
        self._still = _by_class(words, dict.fromkeys(_SLENDER_NAMES, _SLENDER), 1)
        self._same = _by_class(words, _SAME_OF, _SAME)
        self._seen = _by_class(words, dict.fromkeys(_SLENDER_NAMES, _SEEN), 0)
        self._confirmed = _by_class(words, _CONFIRMED, 0)
        self._dis = Flow()
        self._before: Labels | None = None  # steadied
        self._now: Labels | None = None
        self._grey: Image | None = None
        self._flow: npt.NDArray[np.float32] | None = None

    def push(self, frame_bgr: Image, labels: Labels) -> Labels | None:
        """Take the next frame, and give the steadied labels of the one before it.

        Args:
            frame_bgr: (h, w, 3) uint8 BGR, at the size of the labels.
            labels: (h, w) uint8 class ids; copied.

        Returns:
            (h, w) uint8 of the frame before, the caller's own; None for the first frame. After a
            frame of another size it begins anew.

        Raises:
            ValueError: not (h, w) uint8 labels, or a frame of another size.
        """
        check_labels(labels)
        if frame_bgr.shape != (*labels.shape, 3):
            raise ValueError(
                f"expected a frame of {labels.shape[0]}x{labels.shape[1]}, the labels' size, "
                f"got {frame_bgr.shape}"
            )
        if self._now is not None and self._now.shape != labels.shape:
            last = self.flush()
            self._now, self._grey = labels.copy(), _half_grey(frame_bgr)
            return last
        grey, flow = _half_grey(frame_bgr), None
        if self._grey is not None:
            flow = self._dis.between(grey, self._grey)
        steadied = self._steadied(labels, flow)
        self._before, self._now, self._grey, self._flow = steadied, labels.copy(), grey, flow
        return None if steadied is None else steadied.copy()

    def flush(self) -> Labels | None:
        """The steadied labels of the last frame; None without one. It begins anew after that."""
        last = None if self._now is None else self._steadied(self._now, None)
        self._before = self._now = self._grey = self._flow = None
        return last

    def _steadied(self, after: Labels, flow: npt.NDArray[np.float32] | None) -> Labels | None:
        now, before = self._now, self._before
        if now is None or before is None:
            return now
        changed = (now != before) | (now != after)
        at = np.flatnonzero(changed)
        if not 0 < at.size <= _MOST_CHANGED * now.size:
            return now
        width = now.shape[1]
        y, x = np.divmod(at, width)
        stride = width + 2 * _EDGE
        here = (y + _EDGE) * stride + x + _EDGE
        flat = [_padded(each) for each in (before, now, after)]
        was = _moved(y, x, self._flow, now.shape, 1)
        will_be = _moved(y, x, flow, now.shape, -1)
        winner = self._elect(flat, here, was, will_be, stride)
        steadied = now.copy()
        steadied.reshape(-1)[at] = winner
        return steadied

    def _elect(
        self, flat: list[_Flat], here: _Places, was: _Places, will_be: _Places, stride: int
    ) -> _Flat:
        before, now, after = flat
        candidates = [now.take(here), before.take(was), after.take(will_be), before.take(here)]
        still = self._still.take(candidates[0])
        steps = (0, -stride, stride, -1, 1)
        around = [here + step for step in steps]
        moving: list[tuple[list[_Flat], list[_Places], float]] = [
            ([now], around, 1.0),
            ([before], [was + step for step in steps], _BEFORE),
            ([after], [will_be + step for step in steps], _AFTER),
        ]
        votes = np.zeros((len(candidates), here.size), np.float32)
        for labels, places, weight in moving:
            votes += _agreeing(labels, places, candidates) * np.float32(weight / len(steps))
        weights = still * np.float32(_STILL / len(steps))
        votes += _agreeing([before, after], around, candidates) * weights
        last = candidates[3]
        bonus = self._same.take(last) * still
        winner, most = candidates[0], votes[0] + np.where(candidates[0] == last, bonus, 0)
        most += self._seen.take(winner)
        is_confirmed = (candidates[1] == winner) | (candidates[2] == winner)
        most += self._confirmed.take(winner) * is_confirmed
        for candidate, count in zip(candidates[1:], votes[1:], strict=True):
            total = count + np.where(candidate == last, bonus, 0)
            # A tie leaves what the network says now.
            wins = total > most + 1e-4
            winner, most = np.where(wins, candidate, winner), np.where(wins, total, most)
        return winner


def _by_class(
    words: Vocabulary, of_names: Mapping[str, float], otherwise: float
) -> npt.NDArray[np.float32]:
    """(256,): a number for each class id, by the names that these classes have."""
    table = np.full(256, otherwise, np.float32)
    for name, number in of_names.items():
        if name in words.classes.names:
            table[list(words.ids(name))] = number
    return table


def _agreeing(labels: list[_Flat], places: list[_Places], candidates: list[_Flat]) -> _Flat:
    """(candidates, pixels): at how many places each candidate is seen."""
    count = np.zeros((len(candidates), candidates[0].size), np.uint8)
    same = np.empty(candidates[0].size, np.bool_)
    for each in labels:
        for place in places:
            seen = each.take(place)
            for candidate, number in zip(candidates, count, strict=True):
                np.equal(seen, candidate, out=same)
                np.add(number, same.view(np.uint8), out=number)
    return count


def _half_grey(frame_bgr: Image) -> Image:
    height, width = frame_bgr.shape[:2]
    half_wh = (max(width // 2, 1), max(height // 2, 1))
    grey: Image = cv2.cvtColor(
        cv2.resize(frame_bgr, half_wh, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY
    )
    return grey


def _padded(labels: Labels) -> _Flat:
    """Flat, with an edge all round, so that every pixel has eight neighbours."""
    padded = cv2.copyMakeBorder(labels, _EDGE, _EDGE, _EDGE, _EDGE, cv2.BORDER_REPLICATE)
    flat: _Flat = padded.ravel()
    return flat


def _moved(
    y: _Places,
    x: _Places,
    flow: npt.NDArray[np.float32] | None,
    size_hw: tuple[int, ...],
    sign: int,
) -> _Places:
    """Where pixels go along a flow at half size: places in padded, flat labels."""
    height, width = size_hw
    if flow is not None:
        rows, columns = flow.shape[:2]
        place = np.minimum(y >> 1, rows - 1) * columns + np.minimum(x >> 1, columns - 1)
        step = flow.reshape(-1, 2).take(place, axis=0) * np.float32(2 * sign)
        x = np.clip(np.rint(x + step[:, 0]), 0, width - 1).astype(np.int64)
        y = np.clip(np.rint(y + step[:, 1]), 0, height - 1).astype(np.int64)
    return (y + _EDGE) * (width + 2 * _EDGE) + x + _EDGE
