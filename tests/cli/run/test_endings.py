"""What ends `roadseg run` from outside, in processes of their own: signals, pipes, terminals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.cli import main
from tests.support import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals and terminals")


# A shell that starts tests in the background has SIGINT ignored. Each frame that has been written
# is told by its time, in a file of its own.
CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
log = open(sys.argv[1], "w", buffering=1)
from roadseg.video.outputs import Outputs
write = Outputs.write
def told(self, read, *rest):
    write(self, read, *rest)
    log.write(f"{read.frame.time_s}\\n")
Outputs.write = told
from roadseg.cli import main
sys.exit(main(sys.argv[2:]))
"""

# The same, as the first process of a terminal.
IN_TERMINAL = "import os; os.close(os.open(os.ttyname(0), os.O_RDWR))\n" + CHILD


class Run:
    """A command at work on pictures without end."""

    def __init__(
        self,
        folder: Path,
        *options: object,
        command: str = "run",
        code: str = CHILD,
        **popen: object,
    ) -> None:
        self.log = folder / "log"
        words = [sys.executable, "-c", code, self.log, command, "--source", folder / "images"]
        words += ["--backend", "fake", *(["--loop", "--no-show"] if command == "run" else [])]
        self.process = subprocess.Popen(
            [*map(str, words), *map(str, options)],
            cwd=ROOT,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **popen},
        )

    def times_s(self) -> list[float]:
        """Of the frames that were written."""
        lines = (
            self.log.read_text(encoding="utf-8").splitlines(keepends=True)
            if self.log.exists()
            else []
        )
        return [float(line) for line in lines if line.endswith("\n")]

    def wait_for(self, frames: int) -> None:
        wait_until(lambda: len(self.times_s()) >= frames, self.process)

    def end(self, *numbers: int) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        for number in numbers:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline_s = time.monotonic() + 60
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(5):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((48, 64, 3), index * 40, np.uint8))
    runs: list[Run] = []

    def begin(*options: object, **popen: object) -> Run:
        runs.append(Run(tmp_path, *options, **popen))  # type: ignore[arg-type]
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.process.wait()
        for stream in (run.process.stdout, run.process.stderr):
            if stream is not None:
                stream.close()


def times_s(path: Path) -> list[float]:
    """Of the pictures of a video, all of which decode."""
    import av

    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_a_finished_file(
    start: Callable[..., Run], tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "new" / "out.mp4"
    run = start("--output", out, "--stats-json", tmp_path / "new" / "run.json")
    run.wait_for(40)
    ended, stdout, stderr = run.end(number)
    assert (ended, stderr.strip()) == (code, "")
    assert stdout.endswith(f"written to {out}\n")
    assert names(out.parent) == ["out.mp4", "run.json"]
    stats = json.loads((out.parent / "run.json").read_text(encoding="utf-8"))
    assert stats["frames_out"] == len(times_s(out)) == len(run.times_s()) >= 40
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_signal_that_comes_again_and_again_changes_nothing(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out.mp4"
    run = start("--output", out)
    run.wait_for(40)
    code, _, stderr = run.end(signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGTERM)
    assert code in (129, 143)
    assert "Traceback" not in stderr
    assert len(times_s(out)) == len(run.times_s()) >= 40
    assert names(out.parent) == ["out.mp4"]


def test_nohup_is_respected(start: Callable[..., Run], tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + CHILD
    run = start("--save-masks", tmp_path / "masks", code=code)
    run.wait_for(20)
    run.process.send_signal(signal.SIGHUP)
    run.wait_for(len(run.times_s()) + 20)
    assert run.end(signal.SIGTERM)[0] == 143


def test_a_terminal_that_is_closed(start: Callable[..., Run], tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    out = tmp_path / "new" / "out.mp4"
    places = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    run = start("--output", out, code=IN_TERMINAL, start_new_session=True, **places)
    os.close(theirs)
    try:
        wait_until(lambda: len(run.times_s()) >= 40 and bool(os.read(ours, 4096)), run.process)
    finally:
        os.close(ours)
    run.process.wait(timeout=60)
    assert run.process.returncode == 129
    assert len(times_s(out)) == len(run.times_s()) >= 40
    assert names(out.parent) == ["out.mp4"]


def test_a_pipe_that_nobody_reads(start: Callable[..., Run], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    out, stats = tmp_path / "new" / "out.mp4", tmp_path / "new" / "run.json"
    run = start("--output", out, "--stats-json", stats, "--max-frames", 9, stdout=writer)
    os.close(writer)
    code, _, stderr = run.end()
    assert (code, stderr) == (0, "")
    assert len(times_s(out)) == json.loads(stats.read_text(encoding="utf-8"))["frames_out"] == 9


def test_an_error_that_nobody_reads(start: Callable[..., Run], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    run = start("--output", tmp_path / "images", stdout=writer, stderr=writer)
    os.close(writer)
    assert run.end()[0] == 4


def test_bench_removes_its_files(start: Callable[..., Run], tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {**os.environ, "TMPDIR": str(scratch)}
    run = start("--frames", 100_000, command="bench", env=env)
    run.wait_for(5)
    assert names(scratch) != []
    assert run.end(signal.SIGTERM)[0] == 143
    assert names(scratch) == []


@pytest.mark.parametrize("again", [False, True])
def test_kill_9_costs_two_seconds_at_most(
    start: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str], again: bool
) -> None:
    folder = tmp_path / "new"
    out = folder / "out.mp4"
    run = start("--output", out)
    run.wait_for(120)
    assert run.end(signal.SIGKILL)[0] == -signal.SIGKILL
    written = run.times_s()
    (part,) = folder.glob(".out.mp4.*.part")
    left = times_s(part)
    assert left == pytest.approx(written[: len(left)])
    assert written[-1] - left[-1] < 2

    if again:
        (folder / "out-interrupted-1.mp4").write_bytes(b"of another day")
    number = 2 if again else 1
    arguments = ["run", "--source", str(tmp_path / "images"), "--backend", "fake", "--no-show"]
    assert main([*arguments, "--output", str(out)]) == 0
    named = folder / f"out-interrupted-{number}.mp4"
    assert capsys.readouterr().err == (
        f"warning: an earlier run into out.mp4 was killed: what it wrote, {len(left)} frames, is "
        f"now {named}\n"
    )
    expected = [f"out-interrupted-{n + 1}.mp4" for n in range(number)] + ["out.mp4"]
    assert names(folder) == expected
    assert times_s(named) == left
    assert len(times_s(out)) == 5


@pytest.mark.parametrize("name", ["drive.csv", "drive.jsonl"])
def test_kill_9_leaves_every_row_of_a_timeline(
    start: Callable[..., Run], tmp_path: Path, name: str
) -> None:
    timeline = tmp_path / name
    run = start("--timeline", timeline)
    run.wait_for(40)
    assert run.end(signal.SIGKILL)[0] == -signal.SIGKILL
    lines = timeline.read_text(encoding="utf-8").splitlines()
    if name == "drive.csv":
        header, *lines = lines
        frames = [int(line.split(",")[0]) for line in lines]
        assert {line.count(",") for line in lines} == {header.count(",")}
    else:
        frames = [json.loads(line)["frame"] for line in lines]
    assert frames == list(range(len(frames)))
    assert len(frames) >= len(run.times_s())


def test_a_signal_finishes_a_timeline_in_parquet_and_events_that_go_on(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "new"
    files = ("--timeline", folder / "drive.parquet", "--events", folder / "events.jsonl")
    run = start(*files, "--event", "on: count of car < 100")
    run.wait_for(40)
    code, stdout, stderr = run.end(signal.SIGTERM)
    assert code == 143
    assert stderr.startswith("event on: 0.00 s to ")
    written = [f"written to {folder / name}" for name in ("drive.parquet", "events.jsonl")]
    assert stdout.splitlines()[-2:] == written
    assert names(folder) == ["drive.parquet", "events.jsonl"]
    table = pq.read_table(folder / "drive.parquet")
    assert table["frame"].to_pylist() == list(range(len(run.times_s())))
    (event,) = map(json.loads, (folder / "events.jsonl").read_text(encoding="utf-8").splitlines())
    assert event["end_s"] == pytest.approx(table["time_s"].to_pylist()[-1], abs=1e-5)


@pytest.mark.parametrize("option", ["--output", "--save-masks", "--stats-json"])
def test_two_runs_into_one_place(
    start: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    target = (
        tmp_path / {"--output": "out.mp4", "--save-masks": "m", "--stats-json": "s.json"}[option]
    )
    # Statistics alone write no frame that could be waited for.
    run = start(option, target, *(["--output", tmp_path / "o"] if target.suffix == ".json" else []))
    run.wait_for(40)
    arguments = ["run", "--source", str(tmp_path / "images"), "--backend", "fake", "--no-show"]
    assert main([*arguments, option, str(target)]) == 4
    assert capsys.readouterr().err == (
        f"error: {option} {target} is being written by another run (process "
        f"{run.process.pid}): give another, or wait for it\n"
    )
    assert run.end(signal.SIGTERM)[0] == 143
    if option == "--output":
        assert len(times_s(target)) == len(run.times_s())
    assert not [name for name in names(tmp_path) if name.startswith(".")]
    assert main([*arguments, option, str(target)]) == 0, "and then it is free again"


def test_an_output_folder_is_not_for_masks_of_another_run(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    run = start("--output", tmp_path / "pictures")
    run.wait_for(5)
    arguments = ["run", "--source", str(tmp_path / "images"), "--backend", "fake", "--no-show"]
    assert main([*arguments, "--save-masks", str(tmp_path / "pictures")]) == 4
