"""Two builds of one engine at once, by real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from roadseg.backends.tensorrt.builder.lock import build_lock
from roadseg.core.errors import SinkError
from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("as_typed")

HOLDER = """
import sys
from pathlib import Path
from roadseg.backends.tensorrt.builder.lock import build_lock
with build_lock(Path(sys.argv[1]), lambda pid: None) as waited:
    print("holding", waited, flush=True)
    sys.stdin.readline()
"""


def hold(engine: Path) -> subprocess.Popen[str]:
    """A process that has the lock until a line is written to it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(engine)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holding False\n"
    return process


def finish(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait(timeout=30)
    process.stdout.close()


def test_nobody_waits_for_nobody(tmp_path: Path) -> None:
    engine = tmp_path / "x.engine"
    told: list[int | None] = []
    for _ in range(2):
        with build_lock(engine, told.append) as waited:
            assert waited is False
            assert (tmp_path / ".x.engine.lock").read_text(encoding="utf-8") == str(os.getpid())
    assert told == []
    # Another engine is another lock.
    with build_lock(engine, told.append), build_lock(tmp_path / "y.engine", told.append) as waited:
        assert waited is False
    assert list(tmp_path.iterdir()) == []


def test_the_second_waits_and_says_for_whom(tmp_path: Path) -> None:
    engine = tmp_path / "x.engine"
    other = hold(engine)
    told: list[int | None] = []
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            finish(other)

    with build_lock(engine, told.append, sleep=sleep) as waited:
        assert waited is True
    # Once, although it looked several times.
    assert told == [other.pid]
    assert len(naps) >= 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_a_lock_of_the_dead_is_no_lock(tmp_path: Path) -> None:
    engine = tmp_path / "x.engine"
    other = hold(engine)
    other.send_signal(signal.SIGKILL)
    finish(other)
    assert (tmp_path / ".x.engine.lock").exists()
    told: list[int | None] = []
    with build_lock(engine, told.append) as waited:
        assert waited is False
    assert told == []
    assert list(tmp_path.iterdir()) == []


def test_it_is_released_by_errors(tmp_path: Path) -> None:
    engine = tmp_path / "x.engine"
    with pytest.raises(ValueError, match="^mine$"), build_lock(engine, print):
        raise ValueError("mine")
    with build_lock(engine, print) as waited:
        assert waited is False


def test_a_folder_that_takes_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    engine = tmp_path / "file" / "x.engine"
    with pytest.raises(SinkError) as caught, build_lock(engine, print):
        pass
    text = str(caught.value)
    assert text.startswith(f"cannot lock {engine.with_name('.x.engine.lock')} (")
    assert text.endswith("): give another folder with --output")


def test_many_at_once_are_one_after_the_other(tmp_path: Path) -> None:
    """The file is removed again and again, and no two ever hold it at a time."""
    code = """
import os, sys
from pathlib import Path
from roadseg.backends.tensorrt.builder.lock import build_lock
folder = Path(sys.argv[1])
for _ in range(40):
    with build_lock(folder / "x.engine", lambda pid: None, sleep=lambda seconds: None):
        (folder / "inside").mkdir()
        os.sched_yield()
        (folder / "inside").rmdir()
"""
    start_s = time.monotonic()
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) for _ in range(3)
    ]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0], start_s
    assert list(tmp_path.iterdir()) == []
