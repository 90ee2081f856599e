"""Memory over many clips: that of the command, and of each of its workers.

python -m benchmarks.archive.memory --clips 300
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.archive.clips import make_clips
from roadseg.archive.result import ClipResult
from roadseg.archive.run import process_archive
from roadseg.archive.spec import ArchiveSpec, ClipSpec


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--height", type=int, default=120)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--write", default="overlay,timeline")
    arguments = parser.parse_args(argv)
    rows: list[tuple[int, list[float]]] = []

    def note(_result: ClipResult) -> None:
        pids = [os.getpid(), *sorted(p.pid or 0 for p in multiprocessing.active_children())]
        rows.append((len(rows) + 1, [resident_mb(pid) for pid in pids]))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clips(
            folder / "clips", arguments.clips, frames=arguments.frames, height=arguments.height
        )
        spec = ClipSpec(
            folder / "out", writes=tuple(arguments.write.split(",")), backend=arguments.backend
        )
        process_archive(
            ArchiveSpec((str(folder / "clips"),), spec, workers=arguments.workers), on_result=note
        )
    print("| clips | command | each worker |")
    print("|---|---|---|")
    step = max(len(rows) // 10, 1)
    for count, sizes in [*rows[step - 1 :: step]]:
        workers = ", ".join(f"{size:.0f}" for size in sizes[1:])
        print(f"| {count} | {sizes[0]:.0f} MB | {workers} MB |")


def resident_mb(pid: int) -> float:
    """Resident memory of a process; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0")
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
