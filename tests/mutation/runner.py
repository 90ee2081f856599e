"""Runs `roadseg run` on many files, each in a process of its own.

`python -m tests.mutation.runner OUT < jobs`: a line of standard input is a source; a line of
standard output is what became of it, as JSON. The process is forked for each file, and has what
the first one imported imported for the others: that is four fifths of such a run. It has no
threads to lose by forking, which is why it is not pytest that forks.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import av
import cv2  # noqa: F401  (so that no child has to load it)

from roadseg.cli import main

_LIMIT_S = 120


def run(source: Path, folder: Path) -> dict[str, object]:
    """One run, and what it left in `folder`."""
    target, stats, text = folder / "out.mp4", folder / "stats.json", folder / "stderr"
    command = ["run", "--source", str(source), "--output", str(target), "--no-show"]
    command += ["--backend", "fake", "--stats-json", str(stats), "--size", "32x32"]
    child = os.fork()
    if child == 0:
        code = 70
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            err = os.open(text, os.O_WRONLY | os.O_CREAT)
            os.dup2(null, 1)
            os.dup2(err, 2)
            code = main(command)
            sys.stderr.flush()
            (folder.parent / "modules").write_text("\n".join(sys.modules))
        finally:
            os._exit(code)
    return {
        "source": str(source),
        "code": _ended(child),
        "stderr": text.read_text(errors="replace") if text.exists() else "",
        "frames_out": json.loads(stats.read_text())["frames_out"] if stats.is_file() else None,
        "plays": _frames(target) if target.exists() else None,
        "left": sorted(p.name for p in folder.iterdir()),
    }


def _ended(child: int) -> int | str:
    """The exit code, or what else ended the process."""
    until_s = time.monotonic() + _LIMIT_S
    while time.monotonic() < until_s:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else signal.Signals(-code).name
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return f"not ended within {_LIMIT_S} s"


def _frames(path: Path) -> int | str:
    """How many pictures play, or why not all do."""
    try:
        with av.open(str(path)) as container:
            count = 0
            for frame in container.decode(video=0):
                if frame.is_corrupt:
                    return f"picture {count} is damaged"
                count += 1
        with av.open(str(path)) as container:
            if container.streams.audio:
                for _ in container.decode(audio=0):
                    pass
    except (av.error.FFmpegError, OSError) as exc:
        return str(exc)
    return count


def _main() -> None:
    out = Path(sys.argv[1])
    for i, line in enumerate(sys.stdin):
        folder = out / str(i)
        folder.mkdir(parents=True)
        sys.stdout.write(json.dumps(run(Path(line.rstrip("\n")), folder)) + "\n")
        sys.stdout.flush()
        shutil.rmtree(folder)
        if i == 0:
            _import_all(out / "modules")


def _import_all(names: Path) -> None:
    """Import what a child has imported; it did so in the same order."""
    for name in names.read_text().splitlines():
        if name not in sys.modules:
            importlib.import_module(name)


_main()
