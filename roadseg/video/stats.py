"""What a run reports: its progress while it runs, and its statistics at the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        frames_out: frames delivered.
        frame_count: frames to expect, None if nobody knows.
        fps: over the last two seconds; NaN before the second frame.
        latency_ms: over the last two seconds; NaN before the first frame.
        dropped: frames of a live source that were replaced by newer ones.
    """

    frames_out: int
    frame_count: int | None
    fps: float
    latency_ms: float
    dropped: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from capture to delivery; None when no frame came out."""

    p50: float | None
    p95: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class PictureName:
    """Which picture file a result comes from.

    Attributes:
        source: path of the picture that was read.
        picture: name of the PNG in `--output` and `--save-masks`.
    """

    source: str
    picture: str


@dataclass(frozen=True, slots=True)
class RunStats:
    """What happened, as `--stats-json` writes it.

    Attributes:
        frames_in: frames read from the source.
        frames_out: frames delivered; equals `frames_in` for files, `frames_in - dropped` live.
        dropped: frames of a live source that a newer one replaced before inference.
        fps: end to end, see `Meters.fps`.
        latency_ms: capture to delivery; for files this includes waiting in queues.
        stages_ms: median per stage; `capture` includes waiting for a live source. Stages
            overlap, so their sum exceeds 1000 / fps.
        backend: name of the runtime.
        model: name of the model.
        size_hw: height and width of the network's input.
        peak_rss_mb: most memory the process held, in MiB; None where the system cannot tell.
        frames_lost: frames of a damaged file that could not be decoded.
        warnings: one line each, for people.
        first_frame_s: from the beginning of the command, once its options were taken apart, to the
            first frame delivered.
        reuse: the network saw every so many frames, and labels were carried to the others.
        names: for picture files, which result is whose; empty where results are numbered or none
            were written.
        road: means of the read-outs; None, and not written, for a run without. docs/road.md has
            its keys.
        auto: how the network and its input were chosen; None, and not written, where they were
            asked for.
    """

    frames_in: int
    frames_out: int
    dropped: int
    fps: float
    latency_ms: Latency
    stages_ms: dict[str, float | None]
    backend: str
    model: str
    size_hw: tuple[int, int]
    peak_rss_mb: float | None
    frames_lost: int
    warnings: tuple[str, ...]
    first_frame_s: float | None
    reuse: int = 1
    names: tuple[PictureName, ...] = ()
    road: dict[str, object] | None = None
    auto: dict[str, object] | None = None

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`."""
        values = asdict(self)
        for key in ("road", "auto"):
            if values[key] is None:
                del values[key]
        return values


def peak_rss_mb() -> float | None:
    """The most resident memory this process has held, in MiB; None where unknown."""
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage would count the parent's peak too when it forked us.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
