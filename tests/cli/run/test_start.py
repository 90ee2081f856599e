"""`roadseg run` until its first frame: what is loaded by then, and what is said where it fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from roadseg.cli import main, run_report
from roadseg.core.errors import ModelError
from roadseg.video.stats import Progress
from tests.support import ROOT
from tests.support.clips import write_clip

if TYPE_CHECKING:
    from roadseg.video.loop import VideoLoop

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_display")

# Prints what is loaded when the first frame has been delivered.
PROGRAM = """
import sys
from roadseg.cli import main
from roadseg.video.meters import Meters
frame_out = Meters.frame_out
def first(meters, captured_s):
    frame_out(meters, captured_s)
    if meters.frames_out == 1:
        print("LOADED", *sys.modules)
Meters.frame_out = first
sys.exit(main(sys.argv[1:]))
"""

# What is for other commands, other options, other backends or later.
NOT_NEEDED = {
    *("torch", "onnx", "tensorrt", "ray", "starlette", "uvicorn", "jinja2", "safetensors"),
    *("rich.progress", "openvino.tools.ovc", "openvino_telemetry"),
    *("roadseg.cli.train", "roadseg.cli.bench", "roadseg.engine.store", "roadseg.live.run"),
}


def words(source: Path, output: Path) -> list[str]:
    network = ("--model", "segnet-lite", "--backend", "openvino", "--size", "32x64")
    return ["run", str(source), "--output", str(output), *network]


def test_the_first_frame_waits_for_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=3)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words(clip, tmp_path / "out.mp4")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    loaded = set(line.split())
    assert {"roadseg.cli.run", "openvino", "av", "cv2"} <= loaded
    assert loaded & NOT_NEEDED == set()


@pytest.fixture
def damaged_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise ModelError("the network is damaged", fix="copy it again")

    # Both, so that the module is there before: loaded now, it would keep this one for ever.
    monkeypatch.setattr("roadseg.backends.openvino.backend.read_network", read)
    monkeypatch.setattr("roadseg.backends.openvino.reading.read_network", read)


def run(source: Path, output: Path) -> int:
    return main(words(source, output))


@pytest.mark.usefixtures("damaged_network")
def test_a_source_that_fails_while_the_network_is_read_says_so_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "noise.mp4"
    clip.write_bytes(bytes(range(256)) * 16)
    assert run(clip, tmp_path / "out.mp4") == 3
    assert "network" not in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.usefixtures("damaged_network")
def test_a_target_that_fails_while_the_network_is_read_says_so_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=3)
    assert run(clip, clip) == 4
    assert "network" not in capsys.readouterr().err


@pytest.mark.usefixtures("damaged_network")
def test_then_the_network_says_what_is_wrong_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=3)
    assert run(clip, tmp_path / "out.mp4") == 5
    assert capsys.readouterr().err == "error: the network is damaged: copy it again\n"
    assert list(tmp_path.iterdir()) == [clip]


def test_ctrl_c_while_the_network_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file, no thread and no message is left."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    clip = write_clip(tmp_path / "clip.mp4", frames=3)
    monkeypatch.setattr("roadseg.video.opening.open_source", interrupted)
    assert run(clip, tmp_path / "out.mp4") == 130
    assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == [clip]


class Loop:
    """As much of a loop as the display knows."""

    def __init__(self) -> None:
        self.on_progress: Callable[[Progress], None] | None = None


def progress(frames_out: int) -> Progress:
    return Progress(frames_out, 3, fps=25.0, latency_ms=10.0, dropped=0)


@pytest.mark.parametrize("shows", [True, False])
def test_the_display_appears_with_the_first_frame(
    monkeypatch: pytest.MonkeyPatch, shows: bool
) -> None:
    seen: list[object] = []

    @contextmanager
    def bar(_loop: object) -> Iterator[Callable[[Progress], None] | None]:
        seen.append("appears")
        yield (lambda each: seen.append(each.frames_out)) if shows else None
        seen.append("goes")

    monkeypatch.setattr(run_report, "_bar", bar)
    loop = Loop()
    with run_report.run_progress(cast("VideoLoop", loop)):
        for frames_out in (0, 0, 1, 2):
            if loop.on_progress is not None:
                loop.on_progress(progress(frames_out))
    assert seen == (["appears", 1, 2, "goes"] if shows else ["appears", "goes"])
