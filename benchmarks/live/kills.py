"""`kill -9` at random moments while recording: how much is lost, and whether the rest plays.

    python -m benchmarks.live.kills --times 20

The camera writes the moment into each picture. The recording is raw, and the last moment in it is
compared with the moment of the kill; what the network needs for a frame is part of the loss.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.live.cameras import BITS, HttpCamera, pictures_of, read_code
from roadseg.media.sinks.leftovers import settle_recordings

CLIP = Path(__file__).resolve().parent.parent.parent / "samples" / "drive.mp4"


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    moments = random.Random(arguments.seed)
    camera = HttpCamera(pictures_of(CLIP), arguments.fps)
    lost: list[float] = []
    for _ in range(arguments.times):
        with tempfile.TemporaryDirectory() as folder:
            lost.append(once(camera.url, Path(folder), moments.uniform(3, 8)))
            print(f"lost {lost[-1]:.2f} s", flush=True)
    camera.close()
    print(f"{len(lost)} kills: median {sorted(lost)[len(lost) // 2]:.2f} s, most {max(lost):.2f} s")


def once(url: str, folder: Path, after_s: float) -> float:
    """Record, kill so long after the first picture was recorded, and read what is left."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "roadseg", "run", "--source", url, "--no-show"),
            *("--output", str(folder), "--record-raw", "--backend", "fake"),
        ],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not any(path.stat().st_size for path in folder.glob(".*.part")):
        time.sleep(0.05)
    time.sleep(after_s)
    killed_ms = time.time_ns() // 1_000_000 % (1 << BITS)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    settle_recordings(folder)
    import av

    (raw,) = folder.glob("*-raw*.mp4")
    last: int | None = None
    with av.open(str(raw)) as container:
        for frame in container.decode(video=0):
            last = read_code(frame.to_ndarray(format="bgr24"))
    assert last is not None
    return (killed_ms - last) / 1e3


if __name__ == "__main__":
    main()
