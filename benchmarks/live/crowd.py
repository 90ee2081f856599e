"""What viewers cost: one against ten, 200 that come and go, and some that never read.

    python -m benchmarks.live.crowd --seconds 20

One viewer and ten take turns, so that a busy machine is busy for both.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.live.cameras import HttpCamera, pictures_of
from benchmarks.live.running import Running, running
from benchmarks.live.viewers import Viewer

CLIP = Path(__file__).resolve().parent.parent.parent / "samples" / "drive.mp4"


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--comers", type=int, default=200)
    arguments = parser.parse_args(argv)
    camera = HttpCamera(pictures_of(CLIP), arguments.fps)
    with running("--source", camera.url, "--max-staleness", "5") as run:
        time.sleep(5)
        turns: dict[int, list[tuple[float, float]]] = {1: [], 10: []}
        for _ in range(arguments.turns):
            for count in turns:
                turns[count].append(turn(run, count, arguments.seconds))
        for count, measured in turns.items():
            cpu, fps = (statistics.median(each) for each in zip(*measured, strict=True))
            print(f"{count} viewers: {cpu * 1e3:.1f} ms of a core a frame, {fps:.2f} a second")
        ratios = [ten[0] / one[0] for one, ten in zip(turns[1], turns[10], strict=True)]
        print(f"ten against one: {statistics.median(ratios) - 1:+.1%} of its CPU a frame")
        come_and_go(run, arguments.comers)
        never_read(run, arguments.seconds)
        run.end()
    camera.close()


def turn(run: Running, count: int, seconds: float) -> tuple[float, float]:
    """Seconds of a core for each frame that is shown, and frames a second, with so many viewers.

    By the frame, since viewers that run beside on a busy machine make frames fewer.
    """
    viewers = [Viewer(run.port) for _ in range(count)]
    time.sleep(3)
    cpu_s, began_s, shown = run.cpu_s(), time.monotonic(), frames(run)
    time.sleep(seconds)
    spent_s = time.monotonic() - began_s
    count_shown = max(frames(run) - shown, 1)
    result = ((run.cpu_s() - cpu_s) / count_shown, count_shown / spent_s)
    for viewer in viewers:
        viewer.close()
    return result


def frames(run: Running) -> float:
    """Frames shown so far."""
    return sum(v for name, v in run.metrics().items() if name.startswith("roadseg_frames_shown"))


def come_and_go(run: Running, count: int) -> None:
    """Viewers that connect, look for a moment and leave."""
    from websockets.sync.client import connect

    time.sleep(3)
    before = (run.descriptors(), run.threads(), run.rss_mb())
    for i in range(count):
        with (
            contextlib.suppress(OSError, TimeoutError),
            connect(f"ws://127.0.0.1:{run.port}/live", max_size=None, proxy=None) as viewer,
        ):
            viewer.send(json.dumps({"type": "watch", "cameras": {"0": i % 2}}))
            viewer.recv(10)
    time.sleep(5)
    after = (run.descriptors(), run.threads(), run.rss_mb())
    print(
        f"{count} came and went: descriptors {before[0]} to {after[0]}, threads {before[1]} to "
        f"{after[1]}, memory {before[2]:.0f} to {after[2]:.0f} MB"
    )


def never_read(run: Running, seconds: float) -> None:
    """Five viewers that ask for pictures and read none: what is shown meanwhile."""
    from websockets.sync.client import connect

    rates = []
    for deaf in (0, 5, 0, 5):
        with contextlib.ExitStack() as stack:
            for _ in range(deaf):
                viewer = stack.enter_context(
                    connect(
                        f"ws://127.0.0.1:{run.port}/live",
                        max_size=None,
                        proxy=None,
                        max_queue=1,
                        close_timeout=1,
                    )
                )
                viewer.send(json.dumps({"type": "watch", "cameras": {"0": 0}}))
            shown, began_s = frames(run), time.monotonic()
            time.sleep(seconds)
            rates.append((frames(run) - shown) / (time.monotonic() - began_s))
    print(
        f"frames a second without and with five viewers that never read: {rates[0]:.2f} and "
        f"{rates[1]:.2f}, again {rates[2]:.2f} and {rates[3]:.2f}"
    )


if __name__ == "__main__":
    main()
