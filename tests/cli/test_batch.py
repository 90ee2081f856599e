"""`roadseg batch` from the outside: exit codes, lines, kills and Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from roadseg.archive.ledger import archive_rows
from roadseg.archive.result import ClipResult
from roadseg.cli import main
from tests.archive.test_process import digests
from tests.support import ROOT
from tests.support.clips import write_clip

PATIENCE_S = 120.0
OPTIONS = ("--backend", "fake", "--write", "png-masks,timeline")

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")

# A shell that starts tests in the background has SIGINT ignored.
CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from roadseg.cli import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch") / "clips"
    folder.mkdir()
    for number in range(8):
        write_clip(folder / f"{number}.mp4", frames=60 + number)
    (folder / "8.mp4").write_bytes((folder / "7.mp4").read_bytes()[:2000])
    return folder


class Batch:
    """The command at work in processes of its own."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        script = folder / "child.py"
        script.write_text(CHILD)
        self.process = subprocess.Popen(
            [sys.executable, str(script), "batch", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, what: Path, pattern: str, count: int = 1) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and len(list(what.glob(pattern))) < count:
            assert time.monotonic() < until_s, "what the test waits for never happened"
            time.sleep(0.005)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[type[Batch]]:
    begun: list[Batch] = []

    class Started(Batch):
        def __init__(self, *arguments: object) -> None:
            super().__init__(tmp_path, *arguments)
            begun.append(self)

    yield Started
    for batch in begun:
        if batch.process.poll() is None:
            batch.kill()


def rows(output: Path) -> list[ClipResult]:
    return [replace(row, seconds=None) for row in archive_rows(output)]


def without_ledger(output: Path) -> dict[str, str]:
    found = digests(output)
    del found["ledger.sqlite"]
    return found


@needs_signals
def test_killed_again_and_again_it_ends_as_if_never(
    clips: Path, tmp_path: Path, start: type[Batch]
) -> None:
    whole, killed = tmp_path / "whole" / "out", tmp_path / "killed" / "out"
    code, out, err = start(clips, "--output", whole, *OPTIONS, "--workers", 2).end()
    assert code == 3, err
    assert out.startswith("8 of 9 clips done; 1 failed; 508 frames; 9 in this run in ")
    for count in (1, 4):
        batch = start(clips, "--output", killed, *OPTIONS, "--workers", 2)
        batch.wait_for(killed, "*/clip.json", count)
        batch.wait_for(killed, ".unfinished/*/*")
        batch.kill()
        done = {path: path.stat().st_mtime_ns for path in killed.glob("*/clip.json")}
        assert 1 <= len(done) < 9
    assert start(clips, "--output", killed, *OPTIONS, "--workers", 1).end()[0] == 3
    assert without_ledger(killed) == without_ledger(whole)
    assert rows(killed) == rows(whole)
    assert all(path.stat().st_mtime_ns == before for path, before in done.items())


@needs_signals
@pytest.mark.parametrize(
    ("numbers", "code", "finishes"),
    [
        ([signal.SIGINT], 130, True),
        ([signal.SIGINT, signal.SIGINT], 130, False),
        ([signal.SIGTERM], 143, False),
    ],
)
def test_signals_end_it_without_leftovers(
    tmp_path: Path, start: type[Batch], numbers: list[int], code: int, finishes: bool
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        write_clip(tmp_path / "in" / f"{number}.mp4", frames=400)
    output = tmp_path / "out"
    batch = start(tmp_path / "in", "--output", output, *OPTIONS, "--workers", 1)
    batch.wait_for(output, ".unfinished/*/masks/*.png", 20)
    for number in numbers:
        # As a terminal does: to all of its processes.
        if number == signal.SIGINT:
            os.killpg(batch.process.pid, number)
        else:
            os.kill(batch.process.pid, number)
        time.sleep(0.2)
    ended, out, err = batch.end()
    assert ended == code
    assert "Traceback" not in err
    # Two that come at once are heard as one request to give up.
    announced = "finishing one clip; Ctrl-C again gives them up" in err
    assert announced or not finishes
    assert not announced or numbers[0] == signal.SIGINT
    found = rows(output)
    assert [row.frames_out for row in found] == ([400] if finishes else [])
    names = {path.name for path in output.iterdir()}
    assert names == ({"0", "ledger.sqlite"} if finishes else {"ledger.sqlite"})
    assert f"{len(found)} of 4 clips done; {4 - len(found)} left" in out


def test_a_summary_in_words_and_in_json(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, summary = tmp_path / "out", tmp_path / "summary.json"
    arguments = ["batch", str(clips), "--output", str(output), *OPTIONS, "--json", str(summary)]
    assert main([*arguments, "--limit", "3", "--event", "walker: pedestrian > 5%"]) == 0
    first, last, page = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"3 of 9 clips done; 6 left; 183 frames; 3 in this run in \d+ s, [\d.]+ times real time",
        first,
    )
    assert last == f"written to {output}"
    assert page == f"shown by {output / 'report.html'}"
    values = json.loads(summary.read_text(encoding="utf-8"))
    assert (values["clips"], values["done"], values["left"], values["frames_out"]) == (9, 3, 6, 183)
    assert {path.name for path in (output / "0").iterdir()} == {
        "clip.json",
        "events.jsonl",
        "masks",
        "timeline.parquet",
    }
    assert main(arguments) == 2
    assert "holds results that were made otherwise: with other options (rules, writes)" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["none.mp4"], 3, "no such file: none.mp4"),
        (["in", "--write", "film"], 2, "use --write overlay,masks,timeline"),
        (["in", "--model", "auto"], 2, "--model auto follows the speed"),
        (["in", "--shard", "2"], 2, "--shard 2 is not I/N"),
        (["in", "--shard", "3/2"], 2, "there is no shard 3 of 2"),
        (["in", "--workers", "0"], 2, "--workers 0 cannot be: give 1 or more"),
        (["in", "--worker-cpus", "2"], 2, "--worker-cpus is what a worker takes of a Ray cluster"),
        (["in", "--worker-gpus", "1"], 2, "--worker-gpus is what a worker takes of a Ray cluster"),
        (["in", "--blur-style", "blur"], 2, "--blur-style blur says how to hide, not what"),
        (["in", "--group", "walkers=pedestrain"], 2, "unknown class or group 'pedestrain'"),
        (["in", "--group", "x="], 2, "cannot read the group 'x='"),
        (["in", "--list", "none.txt"], 3, "cannot read the list none.txt"),
        (["in", "--event", "a: ufo > 1%"], 2, "ufo"),
        (["in", "--json", "in"], 4, "it is a folder"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").touch()
    assert main(["batch", *arguments, "--output", "out", "--backend", "fake"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert error in line
    assert not (tmp_path / "out").exists()


def test_an_output_in_the_source_and_clips_of_one_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.mp4", "other/a.mkv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert main(["batch", "in", "--output", "in/out"]) == 2
    assert "is inside the source in" in capsys.readouterr().err
    assert main(["batch", "in", "other", "--output", "out"]) == 2
    assert capsys.readouterr().err == (
        "error: in/a.mp4 and other/a.mkv would both be written to a: give the folder that holds "
        "both, rename one, or give each an output of its own\n"
    )
