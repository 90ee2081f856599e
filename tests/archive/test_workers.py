"""Workers as processes: what is heard of them, and what becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from roadseg.archive.clip import Clip
from roadseg.archive.result import ClipResult
from roadseg.archive.spec import ClipSpec
from roadseg.archive.workers import Answer, Died, Going, Workers, default_workers
from roadseg.core import processor
from roadseg.core.errors import RoadsegError, UsageError
from roadseg.core.wording import naming_options
from roadseg.loading.choice import choose
from tests.support import ROOT
from tests.support.clips import write_clip

PATIENCE_S = 60.0

needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


def hear(workers: Workers) -> list[Answer]:
    """The next answers but for progress."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        found = [each for each in workers.answers(0.2) if not isinstance(each, Going)]
        if found:
            return found
    raise AssertionError("nothing is heard of the workers")


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (
        state.is_file() and state.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    )


def worker_ids() -> set[int]:
    """Processes that this one has started as workers."""
    import multiprocessing

    return {p.pid for p in multiprocessing.active_children() if p.pid is not None}


@needs_kill
def test_a_worker_that_is_killed_affects_its_clip_alone(tmp_path: Path, clips: Path) -> None:
    long = write_clip(tmp_path / "long.mp4", frames=3000)
    spec = ClipSpec(tmp_path / "out", writes=("png-masks",), backend="fake")
    workers = Workers(spec, 2)
    try:
        workers.take(Clip(str(long), "long"))
        (victim,) = worker_ids()
        workers.take(Clip(str(clips / "e.mp4"), "e"))
        assert not workers.is_free
        assert {clip.name for clip in workers.clips} == {"long", "e"}
        (result,) = hear(workers)
        assert isinstance(result, ClipResult)
        assert (result.name, result.state) == ("e", "done")
        os.kill(victim, signal.SIGKILL)
        assert hear(workers) == [Died(Clip(str(long), "long"), "killed by SIGKILL")]
        assert len(worker_ids()) == 1
        # Another one takes its place, and one that works hears nothing of the other's end.
        workers.take(Clip(str(clips / "day1" / "b.mkv"), "b"))
        workers.take(Clip(str(clips / "day2" / "empty.mp4"), "empty"))
        states = {}
        while len(states) < 2:
            for result in hear(workers):
                assert isinstance(result, ClipResult)
                states[result.name] = (result.state, result.exit_code)
        assert states == {"b": ("done", 0), "empty": ("failed", 3)}
    finally:
        workers.close()
    assert not worker_ids()


def test_workers_that_are_closed_are_gone_whatever_they_do(tmp_path: Path) -> None:
    long = write_clip(tmp_path / "long.mp4", frames=3000)
    workers = Workers(ClipSpec(tmp_path / "out", writes=("png-masks",), backend="fake"), 1)
    workers.take(Clip(str(long), "long"))
    while not list((tmp_path / "out" / ".unfinished").glob("*")):
        assert all(isinstance(answer, Going) for answer in workers.answers(0.05))
    workers.close()
    assert not worker_ids()
    assert not (tmp_path / "out" / "long").exists()


def test_workers_do_not_decide_again_what_runs(tmp_path: Path, clips: Path) -> None:
    # The name says nothing to them: with a choice they look nothing up.
    spec = ClipSpec(tmp_path / "out", writes=("png-masks",), model="gone", backend="fake")
    workers = Workers(spec, 1, choose("segnet-lite", "fake"))
    workers.take(Clip(str(clips / "e.mp4"), "e"))
    try:
        (result,) = hear(workers)
    finally:
        workers.close()
    assert isinstance(result, ClipResult)
    assert (result.state, result.model) == ("done", "segnet-lite")


def test_what_no_worker_can_do_is_an_error_that_names_options(tmp_path: Path, clips: Path) -> None:
    spec = ClipSpec(tmp_path / "out", backend="fake")
    with naming_options():
        workers = Workers(replace(spec, model="auto"), 1)
        workers.take(Clip(str(clips / "e.mp4"), "e"))
        try:
            (error,) = hear(workers)
        finally:
            workers.close()
    assert isinstance(error, UsageError)
    assert isinstance(error, RoadsegError)
    assert error.fix == "use --model segnet-lite"


@needs_kill
def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    write_clip(tmp_path / "long.mp4", frames=3000)
    code = """
import sys, time
from pathlib import Path
from roadseg.archive.clip import Clip
from roadseg.archive.spec import ClipSpec
from roadseg.archive.workers import Workers
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    workers = Workers(ClipSpec(folder / "out", writes=("png-masks",), backend="fake"), 1)
    workers.take(Clip(str(folder / "long.mp4"), "long"))
    print(workers._workers[0]._process.pid, flush=True)
    time.sleep(600)
"""
    script = tmp_path / "parent.py"
    script.write_text(code)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parts = tmp_path / "out" / ".unfinished"
    until_s = time.monotonic() + PATIENCE_S
    while not list(parts.glob("*")) and time.monotonic() < until_s:
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    while is_there(worker) and time.monotonic() < until_s:
        time.sleep(0.02)
    assert not is_there(worker)
    assert not (tmp_path / "out" / "long").exists()


@pytest.mark.parametrize(
    ("backend", "cores", "threads", "count"),
    [
        ("openvino", 8, 1, 8),
        ("openvino", 8, 3, 2),
        ("openvino", 8, None, 1),
        ("openvino", 1, 2, 1),
        ("tensorrt", 64, 1, 1),
    ],
)
def test_there_are_as_many_workers_as_make_sense(
    monkeypatch: pytest.MonkeyPatch, backend: str, cores: int, threads: int | None, count: int
) -> None:
    monkeypatch.setattr("roadseg.archive.workers.usable_cores", lambda: cores)
    assert processor.usable_cores() >= 1
    assert default_workers(backend, threads) == count
