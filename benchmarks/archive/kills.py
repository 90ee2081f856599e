"""`kill -9` of a whole `roadseg batch` at random moments: what is there in the end.

    python -m benchmarks.archive.kills --times 20

One run goes to its end without interruption. Another is killed, with all its workers, at random
moments, and then goes to its end. Files must be the same bytes, the ledgers the same rows but for
the seconds, and nothing else may lie about. Each frame of a clip is once in its timeline.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.archive.clips import make_clips
from roadseg.archive.ledger import archive_rows
from roadseg.archive.result import ClipResult
from roadseg.archive.spec import UNFINISHED


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--backend", default="fake")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=4.0, help="seconds until a kill, at most")
    arguments = parser.parse_args(argv)
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clips(folder / "clips", arguments.clips)
        command = [
            *(sys.executable, "-m", "roadseg", "batch", str(folder / "clips")),
            *("--backend", arguments.backend, "--workers", str(arguments.workers)),
            *("--write", "overlay,png-masks,timeline", "--event", "car: car > 1%"),
        ]
        whole, killed = folder / "whole", folder / "killed"
        finish(command, whole)
        done = 0
        for number in range(arguments.times):
            after_s = moments.uniform(0.0, arguments.longest)
            ended = kill(command, killed, after_s)
            done = sum(1 for _ in killed.rglob("clip.json")) if killed.exists() else 0
            how = "it had ended" if ended else "killed"
            print(f"{number + 1}: {how} after {after_s:.2f} s, {done} results", flush=True)
            if ended:
                # Everything is done: some of it is taken away, so that the next kill hits work.
                for path in moments.sample(sorted(killed.rglob("overlay.mp4")), done // 2):
                    path.unlink()
        finish(command, killed)
        compare(whole, killed)
        rows = list(archive_rows(killed))
        frames = sum(row.frames_out for row in rows if row.state == "done")
        failed = sum(row.state == "failed" for row in rows)
        print(
            f"{arguments.times} kills: {len(rows)} rows, {failed} of them failed, {frames} frames, "
            f"{len(digests(killed))} files: all as without"
        )


def finish(command: Sequence[str], output: Path) -> None:
    """Run to the end; some clips are broken."""
    process = subprocess.run(
        [*command, "--output", str(output)], capture_output=True, text=True, check=False
    )
    assert process.returncode in (0, 3), process.stderr
    print(process.stdout.splitlines()[0], flush=True)


def kill(command: Sequence[str], output: Path, after_s: float) -> bool:
    """Run, and kill all processes so long after they began with a clip; whether it had come to its
    end before."""
    process = subprocess.Popen(
        [*command, "--output", str(output)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # What an earlier kill left goes before the first clip begins.
    before = set((output / UNFINISHED).glob("*"))
    while process.poll() is None and not set((output / UNFINISHED).glob("*")) - before:
        time.sleep(0.01)
    try:
        process.wait(after_s)
        return True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
        return False


def compare(whole: Path, killed: Path) -> None:
    """Two archives must be the same."""
    first, second = digests(whole), digests(killed)
    assert first.keys() == second.keys(), sorted(first.keys() ^ second.keys())
    different = [path for path in first if first[path] != second[path]]
    assert not different, different
    ours, theirs = rows_of(whole), rows_of(killed)
    assert ours == theirs, [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
    for row in ours:
        assert row.frames_in == row.frames_out, row
        if row.state == "done":
            assert indices(killed / row.name / "timeline.parquet") == list(range(row.frames_out))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, hidden ones too, but for the ledger, which has times in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "ledger.sqlite"
    }


def rows_of(output: Path) -> list[ClipResult]:
    """The rows of a ledger without their times."""
    return [replace(row, seconds=None) for row in archive_rows(output)]


def indices(timeline: Path) -> list[int]:
    """The numbers of the frames that a timeline has."""
    import pyarrow.parquet

    return list(pyarrow.parquet.read_table(timeline).column(0).to_pylist())


if __name__ == "__main__":
    main()
