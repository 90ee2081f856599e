"""Where sound belongs when the picture's clock was healed on the way."""

from __future__ import annotations

from fractions import Fraction

# A shift of less is a rounded stamp, no new clock.
_SAME_CLOCK_S = Fraction(1, 50)

# Sound may lie so much before the first picture of its own clip, and overlap the sound before it.
_EARLY_S = Fraction(1, 2)

# A picture that has come so far past the sound has seen the join that the sound has seen.
_PATIENCE_S = Fraction(3, 2)


class PictureClock:
    """Maps times of the file to times of the output, the way the pictures were mapped.

    In recordings glued together, the file's clock steps back or leaps at each join, and the
    source moves the pictures that follow to where they belong. Each such move is kept here, and
    sound takes the one that puts it nearest to the end of the sound before it.

    >>> clock = PictureClock(Fraction(1))
    >>> clock.place(Fraction(3), Fraction(2))  # the first picture lies at 1 s in the file
    Fraction(2, 1)
    """

    def __init__(self, start_s: Fraction) -> None:
        self._shifts = [(Fraction(0), -start_s)]
        self._now_s = Fraction(0)

    def picture(self, source_s: float | None, time_s: Fraction) -> None:
        """A picture at `source_s` of the file is shown at `time_s`."""
        self._now_s = time_s
        if source_s is None:
            return
        shift = time_s - Fraction(source_s)
        if abs(shift - self._shifts[-1][1]) > _SAME_CLOCK_S:
            self._shifts.append((time_s, shift))

    def place(self, source_s: Fraction, expected_s: Fraction) -> Fraction | None:
        """Where sound at `source_s` of the file belongs; it is expected at `expected_s`, the end
        of the sound before it. None: it steps back, and no picture has done so yet."""
        at, place_s = self._nearest(source_s, expected_s)
        if expected_s - place_s > _EARLY_S and expected_s > 0:
            if self._now_s < expected_s + _PATIENCE_S:
                return None
            self._shifts = [(expected_s, expected_s - source_s)]  # the sound's own joint
            return expected_s
        del self._shifts[:at]
        return place_s

    def _nearest(self, source_s: Fraction, expected_s: Fraction) -> tuple[int, Fraction]:
        best, nearest_s = 0, source_s + self._shifts[0][1]
        for at, (begin_s, shift) in enumerate(self._shifts):
            place_s = source_s + shift
            fits = place_s >= begin_s - _EARLY_S and expected_s - place_s <= _EARLY_S
            worse = expected_s - nearest_s > _EARLY_S
            if fits and (worse or abs(place_s - expected_s) < abs(nearest_s - expected_s)):
                best, nearest_s = at, place_s
        return best, nearest_s
