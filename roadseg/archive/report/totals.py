"""What the page says of all clips together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from roadseg.archive.report.digest import Digest
from roadseg.archive.result import ClipResult


@dataclass(slots=True)
class Totals:
    """Sums over an archive.

    Attributes:
        done, failed, parts: clips by what became of them; parts are clips of a drive beside its
            first one.
        driven_m, with_way: how long the ways are, and of how many clips they are known.
        played_s: how long all clips that are done play.
        frames, lost: frames of theirs, delivered and lost.
        bytes: of all results.
        seconds: of work.
        events: how many of each name.
        shares: of each class, 0 to 1, weighted by how long the clips play.
    """

    done: int = 0
    failed: int = 0
    parts: int = 0
    driven_m: float = 0.0
    with_way: int = 0
    played_s: float = 0.0
    frames: int = 0
    lost: int = 0
    bytes: int = 0
    seconds: float = 0.0
    events: Counter[str] = field(default_factory=Counter)
    _weighted: dict[str, float] = field(default_factory=dict)
    _weight_s: float = 0.0

    def add(self, result: ClipResult, digest: Digest) -> None:
        """Count a clip.

        >>> totals = Totals()
        >>> totals.add(ClipResult("a", "a", "done", duration_s=3), Digest({"car": 0.2}))
        >>> totals.add(ClipResult("b", "b", "done", duration_s=1), Digest({"car": 0.6}))
        >>> round(totals.shares["car"], 6)
        0.3
        """
        self.done += result.state == "done"
        self.failed += result.state == "failed"
        self.parts += result.state == "skipped"
        self.seconds += result.seconds or 0.0
        if result.state != "done":
            return
        if digest.driven_m is not None:
            self.driven_m += digest.driven_m
            self.with_way += 1
        self.played_s += result.duration_s
        self.frames += result.frames_out
        self.lost += result.frames_lost
        self.bytes += result.bytes_out
        self.events.update(name for name, _start_s, _end_s in digest.events)
        if digest.shares:
            self._weight_s += result.duration_s
            for name, share in digest.shares.items():
                weighted = self._weighted.get(name, 0.0)
                self._weighted[name] = weighted + share * result.duration_s

    @property
    def shares(self) -> dict[str, float]:
        """See above; the largest first."""
        whole_s = self._weight_s or 1.0
        largest = sorted(self._weighted.items(), key=lambda each: -each[1])
        return {name: value / whole_s for name, value in largest}
