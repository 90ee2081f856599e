"""Which rung a viewer gets, by how fast it acknowledges what it was sent."""

from __future__ import annotations

from roadseg.live.web.message import RUNGS

_SLOW_IN_A_ROW = 6
_QUICK_IN_A_ROW = 50
_MOST_PATIENCE = 16 * _QUICK_IN_A_ROW

# A full message has about four times the bytes of a half one.
_QUICK_SHARE = 0.25


class Ladder:
    """Down after a few messages that took longer than the camera's frames are apart; up after many
    so quick that the larger one would have been in time. A relapse makes it more careful.

    Attributes:
        rung: index into `RUNGS`; 0 is the best.
    """

    def __init__(self) -> None:
        self.rung = 0
        self._slow = 0
        self._quick = 0
        self._patience = _QUICK_IN_A_ROW
        self._was_up = False

    def acknowledged(self, took_s: float, round_trip_s: float, due_s: float) -> None:
        """A message has arrived.

        Args:
            took_s: from sending to the acknowledgement.
            round_trip_s: what an empty message takes: distance is not slowness.
            due_s: between two frames of the camera.
        """
        busy_s = took_s - round_trip_s
        self._slow = self._slow + 1 if busy_s > due_s else max(self._slow - 1, 0)
        self._quick = self._quick + 1 if busy_s < due_s * _QUICK_SHARE else 0
        if self._slow >= _SLOW_IN_A_ROW:
            self._slow = 0
            if self.rung < len(RUNGS) - 1:
                self.rung += 1
                self._quick = 0
                if self._was_up:
                    self._patience = min(2 * self._patience, _MOST_PATIENCE)
        elif self.rung and self._quick >= self._patience:
            self.rung -= 1
            self._quick = self._slow = 0
            self._was_up = True
