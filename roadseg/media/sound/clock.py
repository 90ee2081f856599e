"""Where sound belongs when the picture's clock was healed on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

# A shift of less is a rounded stamp, no new clock.
_SAME_CLOCK_S = Fraction(1, 50)

# Sound may lie so much before the first picture of its own clip, and overlap the sound before it.
_EARLY_S = Fraction(1, 2)

# A picture that has come so far past the sound has seen the join that the sound has seen.
_PATIENCE_S = Fraction(3, 2)

# Times that pass through floats and microseconds come back so near.
_ROUNDED_S = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class _Shift:
    """A move of pictures: those from `source_s` of the file on are shown so much later; the first
    of them at `begin_s`."""

    source_s: Fraction
    begin_s: Fraction
    shift_s: Fraction


class PictureClock:
    """Maps times of the file to times of the output, the way the pictures were mapped.

    In recordings glued together, the file's clock steps back or leaps at each join, and the
    source moves the pictures that follow to where they belong. Each such move is kept here, and
    sound takes the one that puts it nearest to the end of the sound before it.

    Several files that are read as one have a clock that goes on from file to file, and lengths
    that are not those of their pictures: sound is often longer, and pictures may be lost. There
    sound takes the move of the pictures that lie beside it in the file.

    >>> clock = PictureClock(Fraction(1))
    >>> clock.place(Fraction(3), Fraction(2))  # the first picture lies at 1 s in the file
    Fraction(2, 1)

    Args:
        start_s: where the first picture lies in the file; it is shown at 0.
        cuts_s: where files begin that are read as one; empty for a single file.
    """

    def __init__(self, start_s: Fraction, cuts_s: Sequence[Fraction] = ()) -> None:
        self._cuts_s = sorted(cuts_s)
        self._shifts = [_Shift(min((start_s, *cuts_s)), Fraction(0), -start_s)]
        self._now_s = Fraction(0)
        self._source_s = start_s
        self._goes_on = bool(cuts_s)

    def picture(self, source_s: float | None, time_s: Fraction) -> None:
        """A picture at `source_s` of the file is shown at `time_s`."""
        self._now_s = time_s
        if source_s is None:
            return
        at_s = Fraction(source_s)
        # One of the files has a join of its own.
        self._goes_on = self._goes_on and at_s >= self._source_s - _ROUNDED_S
        self._source_s = at_s
        last, shift_s = self._shifts[-1], time_s - at_s
        if abs(shift_s - last.shift_s) > _SAME_CLOCK_S:
            cut_s = max((cut for cut in self._cuts_s if cut <= at_s + _ROUNDED_S), default=at_s)
            # Sound may begin a little before the first picture of its file.
            from_s = cut_s if cut_s > last.source_s else at_s
            self._shifts.append(_Shift(from_s, time_s, shift_s))

    def place(self, source_s: Fraction, expected_s: Fraction) -> Fraction | None:
        """Where sound at `source_s` of the file belongs; it is expected at `expected_s`, the end
        of the sound before it. None: it steps back, and no picture has done so yet."""
        if self._goes_on:
            at = self._beside(source_s)
            del self._shifts[:at]
            return source_s + self._shifts[0].shift_s
        at, place_s = self._nearest(source_s, expected_s)
        if expected_s - place_s > _EARLY_S and expected_s > 0:
            if self._now_s < expected_s + _PATIENCE_S:
                return None
            own = _Shift(source_s, expected_s, expected_s - source_s)  # the sound's own joint
            self._shifts = [own]
            return expected_s
        del self._shifts[:at]
        return place_s

    def is_beside_none(self, source_s: Fraction) -> bool:
        """Whether the pictures beside this sound are lost: those that it would be heard with are
        of the next file. As far as pictures have come."""
        if not self._goes_on:
            return False
        at = self._beside(source_s)
        following = self._shifts[at + 1 : at + 2]
        return bool(following) and source_s + self._shifts[at].shift_s >= following[0].begin_s

    def _beside(self, source_s: Fraction) -> int:
        begun = [at for at, s in enumerate(self._shifts) if s.source_s <= source_s + _ROUNDED_S]
        return max(begun, default=0)

    def _nearest(self, source_s: Fraction, expected_s: Fraction) -> tuple[int, Fraction]:
        best, nearest_s = 0, source_s + self._shifts[0].shift_s
        for at, each in enumerate(self._shifts):
            place_s = source_s + each.shift_s
            fits = place_s >= each.begin_s - _EARLY_S and expected_s - place_s <= _EARLY_S
            worse = expected_s - nearest_s > _EARLY_S
            if fits and (worse or abs(place_s - expected_s) < abs(nearest_s - expected_s)):
                best, nearest_s = at, place_s
        return best, nearest_s
