"""Runs `roadseg run` on many files, each in a process of its own.

`python -m tests.mutation.runner OUT < jobs`: a line of standard input is a source; a line of
standard output is what became of it, as JSON, in the same order. The process is forked for each
file, and has what the first one imported imported for the others: that is four fifths of such a
run. It has no threads to lose by forking, which is why it is not pytest that forks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import av
import cv2  # noqa: F401  (so that no child has to load it)

from roadseg import cli

_LIMIT_S = 120
_AT_ONCE = 2


@dataclass(frozen=True)
class Run:
    """One run, which writes to a folder of its own."""

    source: Path
    folder: Path
    child: int
    until_s: float


def begin(source: Path, folder: Path, modules: Path | None = None) -> Run:
    """Start a run; what it imported goes to `modules`."""
    folder.mkdir(parents=True)
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
            code = cli.main(command)
            sys.stderr.flush()
            if modules is not None:
                modules.write_text("\n".join(sys.modules))
        finally:
            os._exit(code)
    return Run(source, folder, child, time.monotonic() + _LIMIT_S)


def end(run: Run) -> dict[str, object]:
    """How it ended, and what it left in its folder, which is removed."""
    code = _ended(run)
    target, stats, text = (run.folder / name for name in ("out.mp4", "stats.json", "stderr"))
    found = {
        "source": str(run.source),
        "code": code,
        "stderr": text.read_text(errors="replace") if text.exists() else "",
        "frames_out": json.loads(stats.read_text(encoding="utf-8"))["frames_out"]
        if stats.is_file()
        else None,
        "plays": _frames(target) if target.exists() else None,
        "left": sorted(p.name for p in run.folder.iterdir()),
    }
    shutil.rmtree(run.folder)
    return found


def _ended(run: Run) -> int | str:
    """The exit code, or what else ended the process."""
    while True:
        done, status = os.waitpid(run.child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else signal.Signals(-code).name
        if time.monotonic() > run.until_s:
            break
        time.sleep(0.005)
    os.kill(run.child, signal.SIGKILL)
    os.waitpid(run.child, 0)
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
    first, *others = (Path(line.rstrip("\n")) for line in sys.stdin)
    out.mkdir()
    _tell(end(begin(first, out / "0", out / "modules")))
    _prepare(out / "modules")
    under_way: deque[Run] = deque()
    for i, source in enumerate(others, 1):
        if len(under_way) == _AT_ONCE:
            _tell(end(under_way.popleft()))
        under_way.append(begin(source, out / str(i)))
    for run in under_way:
        _tell(end(run))


def _tell(found: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def _prepare(names: Path) -> None:
    """Import what a child has imported, in the same order, and build the commands.

    What is there then is left alone by the children's collections of garbage: they would copy it.
    """
    for name in names.read_text(encoding="utf-8").splitlines():
        if name not in sys.modules:
            importlib.import_module(name)
    cli._built(cli.app)
    gc.freeze()


_main()
