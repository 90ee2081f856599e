"""How far an archive is, and how it ended."""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field

from roadseg.archive.clip import Clip
from roadseg.archive.result import ClipResult
from roadseg.archive.workers import Going


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """Counts of clips, frames and seconds.

    Attributes:
        clips: how many there are.
        done, failed, skipped: of them, so far, with what earlier runs did. A drive is one, and its
            other clips are skipped.
        processed: of those, in this run.
        frames_in, frames_out, frames_lost: of all clips that are done.
        played_s: how long the clips play that this run did.
        elapsed_s: how long this run took so far.
        left_s: how long it will take still, about; None while that is unknown.
        going: what is worked on.
        failures: clips that have failed, with those of earlier runs, by name.
    """

    clips: int
    done: int
    failed: int
    skipped: int
    processed: int
    frames_in: int
    frames_out: int
    frames_lost: int
    played_s: float
    elapsed_s: float
    left_s: float | None
    going: tuple[Going, ...]
    failures: tuple[ClipResult, ...]

    @property
    def left(self) -> int:
        """Clips about which nothing is known yet."""
        return self.clips - self.done - self.failed - self.skipped

    @property
    def times_real_time(self) -> float:
        """Seconds of clips that a second of work has done, over all workers."""
        return self.played_s / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def exit_code(self) -> int:
        """0 where none has failed, else that of the first failure."""
        return self.failures[0].exit_code or 1 if self.failures else 0

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`: what `batch --json` writes."""
        return {
            "clips": self.clips,
            "done": self.done,
            "failed": self.failed,
            "skipped": self.skipped,
            "left": self.left,
            "processed": self.processed,
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "frames_lost": self.frames_lost,
            "played_s": round(self.played_s, 3),
            "seconds": round(self.elapsed_s, 3),
            "times_real_time": round(self.times_real_time, 3),
            "failures": [
                {"clip": each.clip, "exit_code": each.exit_code, "error": each.error}
                for each in self.failures
            ],
        }


@dataclass(slots=True)
class Tally:
    """Counts while an archive is worked on.

    Attributes:
        clips: how many there are.
        bytes: the size of all of them.
        settled_bytes: of those that are settled.
    """

    clips: int
    bytes: int
    settled_bytes: int = 0
    _counts: dict[str, int] = field(
        default_factory=lambda: {"done": 0, "failed": 0, "skipped": 0, "processed": 0}
    )
    _frames: list[int] = field(default_factory=lambda: [0, 0, 0])
    _played_s: float = 0.0
    _processed_bytes: int = 0
    _failures: list[ClipResult] = field(default_factory=list)
    _began_s: float = field(default_factory=time.monotonic)

    @property
    def settled(self) -> int:
        """Clips that are done, failed or skipped."""
        return sum(self._counts[state] for state in ("done", "failed", "skipped"))

    def settle(self, clip: Clip, result: ClipResult, *, now: bool) -> None:
        """Count a clip.

        Args:
            clip: which.
            result: what became of it.
            now: in this run, rather than in an earlier one.
        """
        self._counts[result.state] += 1
        self._counts["skipped"] += len(clip.files) - 1
        self.settled_bytes += clip.bytes
        if result.state == "failed":
            insort(self._failures, result, key=lambda each: each.name)
        else:
            counts = (result.frames_in, result.frames_out, result.frames_lost)
            self._frames = [a + b for a, b in zip(self._frames, counts, strict=True)]
        if now:
            self._counts["processed"] += 1
            self._processed_bytes += clip.bytes
            self._played_s += result.duration_s

    def state(self, going: Iterable[Going] = ()) -> ArchiveState:
        """The counts as they are now."""
        going = tuple(going)
        elapsed_s = time.monotonic() - self._began_s
        so_far = self._processed_bytes + sum(_bytes(each) for each in going)
        left = self.bytes - self.settled_bytes - sum(_bytes(each) for each in going)
        return ArchiveState(
            self.clips,
            **self._counts,
            frames_in=self._frames[0],
            frames_out=self._frames[1],
            frames_lost=self._frames[2],
            played_s=self._played_s,
            elapsed_s=elapsed_s,
            left_s=elapsed_s * left / so_far if so_far > 0 else None,
            going=going,
            failures=tuple(self._failures),
        )


def _bytes(going: Going) -> float:
    """How much of a clip is done."""
    if not going.frame_count:
        return 0.0
    return going.clip.bytes * min(going.frames_out / going.frame_count, 1.0)
