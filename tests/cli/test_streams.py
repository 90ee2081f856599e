"""A log that cannot be written ends no run, and changes no exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roadseg.media.sources.opening import open_source
from tests.support.clips import write_clip

pytestmark = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs /dev/full, a disk without room"
)

FRAMES = 30


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "drive.mp4", frames=FRAMES)


def run(redirection: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`roadseg WORDS` under a shell, with one of its redirections."""
    line = f'exec "$0" -m roadseg "$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", line, sys.executable, *words],
        cwd=cwd,
        env={name: text for name, text in os.environ.items() if name != "DISPLAY"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def frames_in(video: Path) -> int:
    with open_source(str(video)) as source:
        return sum(1 for _ in iter(source.read, None))


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", ">&- 2>&-"])
def test_cameras_and_files_go_on(redirection: str, clip: Path, tmp_path: Path) -> None:
    words = ["run", str(clip), "--backend", "fake", "--no-show"]
    event = ["--event", "any: sky < 100% for 0s"]
    whole = run(redirection, *words, *event, "--output", "whole.mp4", cwd=tmp_path)
    assert whole.returncode == 0
    assert frames_in(tmp_path / "whole.mp4") == FRAMES
    live = run(redirection, *words, "--stride", "1", "--output", "live.mp4", cwd=tmp_path)
    assert live.returncode == 0
    assert frames_in(tmp_path / "live.mp4") == FRAMES


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_an_error_keeps_its_exit_code(redirection: str, tmp_path: Path) -> None:
    done = run(redirection, "run", "nofile.mp4", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")


def test_what_libraries_say_on_a_closed_stderr_is_in_no_file(clip: Path, tmp_path: Path) -> None:
    program = (
        "import os; from roadseg.cli.endings import lasting_streams\n"
        "with lasting_streams():\n"
        "    with open('results', 'w') as file: os.write(2, b'said by FFmpeg')"
    )
    line = 'exec "$0" -c "$1" 2>&-'
    subprocess.run(["sh", "-c", line, sys.executable, program], cwd=tmp_path, check=True)
    assert (tmp_path / "results").read_bytes() == b""
