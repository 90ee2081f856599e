"""Eight cameras of which one is dead and one flaps, against the six good ones alone; and overload.

    python -m benchmarks.live.many --seconds 30

Cameras send small pictures, so that two cores serve eight of them; then three cameras send three
times what the network can take, and the ages of all that is shown are looked at.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.live.cameras import HttpCamera, pictures_of
from benchmarks.live.running import Running, running
from benchmarks.live.viewers import Viewer

CLIP = Path(__file__).resolve().parent.parent.parent / "samples" / "drive.mp4"
SIZE_HW = (96, 512)
DEAD = "rtsp://127.0.0.1:9/dead"


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--fps", type=float, default=2.0, help="of each camera")
    parser.add_argument("--size", default="64x96", help="of the network for the eight")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--staleness", type=float, default=0.3)
    arguments = parser.parse_args(argv)
    pictures = pictures_of(CLIP, 30, SIZE_HW)
    good = [HttpCamera(pictures, arguments.fps) for _ in range(6)]
    flapping = HttpCamera(pictures, arguments.fps, on_s=4, off_s=4)
    six = [each.url for each in good]
    for _ in range(arguments.turns):
        alone = rates(six, arguments.seconds, arguments.size)[:6]
        beside = rates([*six, DEAD, flapping.url], arguments.seconds, arguments.size)
        worst = min(b / a for a, b in zip(alone, beside[:6], strict=True))
        print(
            f"six alone: {', '.join(f'{each:.2f}' for each in alone)} frames a second; beside a "
            f"dead and a flapping one: {', '.join(f'{each:.2f}' for each in beside[:6])} "
            f"(worst {worst - 1:+.1%}; the flapping one {beside[7]:.2f})",
            flush=True,
        )
    for each in (*good, flapping):
        each.close()
    overload(arguments.seconds, arguments.staleness)


def rates(urls: list[str], seconds: float, size: str) -> list[float]:
    """Frames a second that each camera shows."""
    sources = [word for url in urls for word in ("--source", url)]
    with running(*sources, "--size", size, "--max-staleness", "5") as run:
        time.sleep(8)
        before, began_s = shown(run), time.monotonic()
        time.sleep(seconds)
        after, spent_s = shown(run), time.monotonic() - began_s
        run.end()
    return [(b - a) / spent_s for a, b in zip(before, after, strict=True)]


def shown(run: Running) -> list[float]:
    """Frames shown so far, by camera."""
    metrics = run.metrics()
    return [metrics[name] for name in metrics if name.startswith("roadseg_frames_shown_total")]


def overload(seconds: float, staleness: float) -> None:
    """Three cameras with as many frames together as three networks could take."""
    pictures = pictures_of(CLIP, 30)
    probe = HttpCamera(pictures, 60)
    with running("--source", probe.url, "--max-staleness", "5") as run:
        time.sleep(8)
        before, began_s = shown(run)[0], time.monotonic()
        time.sleep(seconds / 2)
        most = (shown(run)[0] - before) / (time.monotonic() - began_s)
        run.end()
    probe.close()
    cameras = [HttpCamera(pictures, max(most, 1.0)) for _ in range(3)]
    sources = [word for each in cameras for word in ("--source", each.url)]
    with running(*sources, "--max-staleness", str(staleness)) as run:
        viewer = Viewer(run.port, (0, 1, 2))
        time.sleep(seconds)
        viewer.close()
        stats = run.end()
    for each in cameras:
        each.close()
    ages = [each["age_s"] for each in stats["sources"]]
    print(f"the network takes {most:.1f} frames a second and gets three times that:")
    for each, age in zip(stats["sources"], ages, strict=True):
        print(
            f"  {each['shown']} of {each['read']} shown, age p99 "
            f"{age['p99'] * 1e3 if age['p99'] else float('nan'):.0f} ms, dropped "
            f"{ {cause: n for cause, n in each['dropped'].items() if n} }"
        )
    if viewer.ages_s:
        print(f"  seen by a viewer: p99 {np.percentile(viewer.ages_s, 99) * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
