"""How many clips two workers do in the time of one, and what a worker takes.

    python -m benchmarks.archive.workers --workers 1 2 --rounds 3
    python -m benchmarks.archive.workers --workers 2 --ray local

All run over the same clips, in turn. What counts is the time between the first result and the last,
without the start of Python, the opening of the network, and the clips that workers begin with.
With `--a-core-each` a run with N workers has N cores, else all of the machine: decoding and
encoding use a second core beside a network of one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.archive.clips import RATE, make_clips
from roadseg.archive.result import ClipResult
from roadseg.archive.run import process_archive
from roadseg.archive.spec import ArchiveSpec, ClipSpec, Cluster
from roadseg.core.machine import describe_machine


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=45)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--a-core-each", action="store_true")
    parser.add_argument("--write", default="overlay")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--ray", metavar="ADDRESS", help="each number of workers there as well")
    arguments = parser.parse_args(argv)
    print(describe_machine())
    cores = sorted(os.sched_getaffinity(0))
    clusters = [None] if arguments.ray is None else [None, Cluster(arguments.ray)]
    kinds = [(count, cluster) for count in arguments.workers for cluster in clusters]
    rates: list[list[float]] = [[] for _ in kinds]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clips(folder / "clips", 1, frames=arguments.frames, height=arguments.height)
        (clip,) = (folder / "clips").rglob("*.mp4")
        for number in range(1, arguments.clips):
            clip.with_name(f"{number}.mp4").write_bytes(clip.read_bytes())
        for number in range(arguments.rounds):
            for at, (count, cluster) in enumerate(kinds):
                spec = ClipSpec(
                    folder / f"{number}-{at}",
                    writes=tuple(arguments.write.split(",")),
                    backend=arguments.backend,
                    threads=arguments.threads,
                )
                if arguments.a_core_each:
                    os.sched_setaffinity(0, cores[:count])
                archive = ArchiveSpec((str(folder / "clips"),), spec, workers=count)
                rates[at].append(measure(replace(archive, cluster=cluster)))
                print(f"{named(count, cluster)}: {rates[at][-1]:.2f} frames/s", flush=True)
    for (count, cluster), measured in zip(kinds, rates, strict=True):
        median = statistics.median(measured)
        print(
            f"{named(count, cluster)} of {arguments.threads} threads: {median:.2f} frames/s, "
            f"{median / RATE:.2f} times real time"
        )
    first, *others = kinds
    for other, measured in zip(others, rates[1:], strict=True):
        ratios = [b / a for a, b in zip(rates[0], measured, strict=True)]
        print(f"{named(*other)} do {statistics.median(ratios):.2f} times what {named(*first)} do")


def named(count: int, cluster: Cluster | None) -> str:
    """Workers in words."""
    return f"{count} workers" if cluster is None else f"{count} workers on Ray"


def measure(spec: ArchiveSpec) -> float:
    """Frames a second, of all workers together."""
    came: list[tuple[float, int]] = []

    def note(result: ClipResult) -> None:
        assert result.state == "done", result.error
        came.append((time.monotonic(), result.frames_out))

    process_archive(spec, on_result=note)
    workers = spec.workers or 1
    begin, counted = came[workers - 1], came[workers:]
    return sum(frames for _, frames in counted) / (counted[-1][0] - begin[0])


if __name__ == "__main__":
    main()
