"""How long `roadseg run` takes from the start of its process to its first frame.

    python -m benchmarks.first_frame --source highway.mp4 --rounds 9 --other ../before

`first_frame_s` of `--stats-json` begins where the command does: Python, typer and the options come
before that. Here the clock begins before the process does. One start that does not count fills the
caches (bytecode, what OpenVINO compiled, the rung of `--model auto`). With `--other` the starts of
a second checkout take turns with those of this one. What follows `--` goes to `roadseg run`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roadseg.core.machine import describe_machine

__all__ = ["Start", "main", "start"]

_HERE = Path(__file__).resolve().parent.parent

# `roadseg run`, whose clock began at the first argument. The system's clock is that of all
# processes.
_PROGRAM = """
import sys, types
from roadseg.cli import main, run
began_s = float(sys.argv[1])
run.time = types.SimpleNamespace(monotonic=lambda: began_s)
sys.exit(main(sys.argv[2:]))
"""


@dataclass(frozen=True)
class Start:
    """One start: seconds to the first frame, and the most memory, in MiB."""

    first_frame_s: float
    peak_rss_mb: float | None


def start(root: Path, source: Path, options: Sequence[str] = ()) -> Start:
    """Run the first frames of a video.

    Args:
        root: the checkout.
        source: the video.
        options: of `roadseg run`, more of them.

    Raises:
        subprocess.CalledProcessError: the run failed.
    """
    # Bytecode is kept for the next start, as it is where roadseg was installed.
    own = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": ""}
    with tempfile.TemporaryDirectory() as folder:
        stats = Path(folder) / "stats.json"
        words = ["run", str(source), "--output", f"{folder}/out.mp4", "--stats-json", str(stats)]
        began_s = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(began_s), *words, "--no-show", *options],
            env={**os.environ, **own},
            cwd=root,
            check=True,
            capture_output=True,
        )
        values = json.loads(stats.read_text())
    return Start(values["first_frame_s"], values["peak_rss_mb"])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the median, the fastest and the slowest start of each checkout."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", type=Path, required=True, help="the video")
    parser.add_argument("--rounds", type=int, default=9, help="starts of each (default 9)")
    parser.add_argument("--other", type=Path, help="another checkout, to compare with")
    parser.add_argument("options", nargs="*", help="options of `roadseg run`, behind --")
    arguments = parser.parse_args(argv)
    roots = [_HERE] if arguments.other is None else [_HERE, arguments.other.resolve()]
    source, options = arguments.source.resolve(), ["--max-frames", "3", *arguments.options]
    starts: dict[Path, list[Start]] = {root: [] for root in roots}
    for turn in range(arguments.rounds + 1):
        for root in roots:
            one = start(root, source, options)
            if turn:
                starts[root].append(one)
    medians = []
    for root, all_of_it in starts.items():
        times_s = [each.first_frame_s for each in all_of_it]
        memory_mb = max((each.peak_rss_mb or 0.0) for each in all_of_it)
        medians.append(statistics.median(times_s))
        print(
            f"{'this' if root == _HERE else 'the other'}: {medians[-1]:.3f} s "
            f"({min(times_s):.3f} to {max(times_s):.3f}), {memory_mb:.0f} MiB"
        )
    if len(medians) == 2:
        print(f"ratio {medians[0] / medians[1]:.3f}")
    print(f"on {describe_machine()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
