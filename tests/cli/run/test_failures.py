"""`roadseg run` with sources, outputs and networks that fail: one line says so, nothing half."""

from __future__ import annotations

import json
import os
import signal

import cv2
import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.core.errors import BackendError
from tests.support.cli_run import FRAMES, SIZE_HW, frames_of, run

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_display")


def test_a_clip_that_was_cut_off_is_processed_as_far_as_it_goes(clip, tmp_path, capsys):
    capsys.readouterr()
    whole = clip.read_bytes()  # its index is at the beginning
    clip.write_bytes(whole[: len(whole) - 40])
    assert run(clip, "--save-masks", tmp_path / "masks", "--size", "32x32") == 0
    captured = capsys.readouterr()
    count = len(os.listdir(tmp_path / "masks"))
    assert 0 < count < FRAMES
    assert captured.out.startswith(f"{count} frames at ")
    assert f", {FRAMES - count} lost\n" in captured.out
    assert captured.err.startswith(f"warning: {clip}")
    assert captured.err.count("\n") == 1


def test_a_clip_whose_index_was_cut_off_is_refused(tmp_path, capsys):
    import av

    path = tmp_path / "cut.mp4"
    with av.open(str(path), "w") as container:  # PyAV's default puts the index at the end
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        for value in range(FRAMES):
            picture = np.full((*SIZE_HW, 3), value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"moov") - 4])
    assert run(path, "--save-masks", tmp_path / "masks") == 3
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {path} was cut off: its index ")
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "masks").exists()


def test_a_picture_that_was_cut_off_is_counted_and_named(images, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE_HW, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    (images / "cut.jpg").write_bytes(data[: len(data) // 2])
    assert run(images, "--output", tmp_path / "out") == 0
    captured = capsys.readouterr()
    assert captured.err == (
        f"warning: cannot read {images / 'cut.jpg'}: it was cut off: copy it again\n"
    )
    assert ", 1 lost" in captured.out
    assert "cut.png" not in os.listdir(tmp_path / "out")


def test_ctrl_c_leaves_a_playable_file_and_exits_130(images, tmp_path, capsys, monkeypatch):
    calls = []
    infer = FakeBackend.infer

    def interrupted(self, batch_bgr):
        calls.append(None)
        if len(calls) == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return infer(self, batch_bgr)

    monkeypatch.setattr(FakeBackend, "infer", interrupted)
    out, stats_path = tmp_path / "out.mp4", tmp_path / "run.json"
    assert run(images, "--loop", "--output", out, "--stats-json", stats_path) == 130
    stats = json.loads(stats_path.read_text(encoding="utf-8"))
    assert stats["frames_in"] == stats["frames_out"] == len(frames_of(out)) >= 20
    captured = capsys.readouterr()
    assert captured.out.endswith(f"written to {out}\n")
    assert "Traceback" not in captured.err


def test_a_failing_backend_keeps_the_frames_before_it(images, tmp_path, capsys, monkeypatch):
    calls = []
    infer = FakeBackend.infer

    def fail(self, batch_bgr):
        calls.append(None)
        if len(calls) == 4:
            raise BackendError("the runtime failed", fix="try --backend torch")
        return infer(self, batch_bgr)

    monkeypatch.setattr(FakeBackend, "infer", fail)
    out = tmp_path / "out.mp4"
    assert run(images, "--output", out) == 6
    captured = capsys.readouterr()
    assert captured.err == "error: the runtime failed: try --backend torch\n"
    assert captured.out.startswith("3 frames at ")
    assert len(frames_of(out)) == 3


def test_a_missing_source(tmp_path, capsys):
    assert run(tmp_path / "none.mp4", "--output", tmp_path / "out.mp4") == 3
    assert capsys.readouterr().err.startswith(f"error: no such file: {tmp_path / 'none.mp4'}")
    assert os.listdir(tmp_path) == []


def test_a_source_that_is_no_video(tmp_path, capsys):
    fake = tmp_path / "text.mp4"
    fake.write_text("not a video\n" * 100)
    assert run(fake, "--output", tmp_path / "out.mp4") == 3
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert os.listdir(tmp_path) == ["text.mp4"]


def test_output_equal_to_the_source(clip, capsys):
    before = clip.read_bytes()
    capsys.readouterr()
    assert run(clip, "--output", clip) == 4
    expected = f"error: --output {clip} is the source itself: give the result another name\n"
    assert capsys.readouterr().err == expected
    assert clip.read_bytes() == before


@pytest.mark.parametrize("other", ["--source", "--output"])
def test_statistics_over_another_file(clip, tmp_path, capsys, other):
    capsys.readouterr()
    out = tmp_path / "out.mp4"
    target = clip if other == "--source" else out
    assert run(clip, "--output", out, "--stats-json", target) == 2
    assert capsys.readouterr().err == (
        f"error: --stats-json {target} is also what {other} names: give another file\n"
    )
    assert not out.exists()


POLYGONS = "[[[0, 1], [0.2, 0.9], [0.8, 0.9]]]"


@pytest.mark.parametrize(
    ("other", "options"),
    [
        ("--ignore-mask", ["--ignore-mask", "p.json", "--stats-json", "p.json"]),
        ("--ignore-mask", ["--ignore-mask", "p.json", "--stats-json", "link.json"]),
        ("--ignore-mask", ["--ignore-mask", "p.json", "--output", "p.json"]),
        ("--model", ["--model", "p.json", "--stats-json", "p.json"]),
        ("--save-masks", ["--save-masks", "m.mkv", "--stats-json", "m.mkv"]),
        ("--event-clips", ["--event-clips", "new", "--stats-json", "new"]),
        ("--config", ["--config", "run.toml", "--stats-json", "run.toml"]),
        ("--source", ["--stats-json", "clip.mp4", "--policy", "every"]),
        (
            "--ignore-mask",
            ["--ignore-mask", "p.json", "--stats-json", "p.json", "--policy", "every"],
        ),
        ("--ignore-mask", ["--ignore-mask", "p.json", "--output", "p.json", "--policy", "every"]),
        ("--stats-json", ["--stats-json", "a.jsonl", "--timeline", "a.jsonl", "--policy", "every"]),
    ],
)
def test_what_another_option_names_is_not_replaced(
    clip, tmp_path, capsys, monkeypatch, other, options
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.json").write_text(POLYGONS)
    (tmp_path / "link.json").symlink_to("p.json")
    (tmp_path / "run.toml").write_text(f'[[source]]\nname = "a"\nurl = "{clip}"\n')
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    capsys.readouterr()
    assert run(clip, "--no-show", *options) == 2
    written = [each for each in options if each not in ("--policy", "every")][-1]
    error = capsys.readouterr().err
    assert error.endswith(f" {written} is also what {other} names: give another file\n")
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_two_files_of_a_configuration(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.json").write_text(POLYGONS)
    text = f'[[source]]\nname = "a"\nurl = "{clip}"\nignore_mask = "p.json"\nevents = "p.json"\n'
    (tmp_path / "run.toml").write_text(text)
    capsys.readouterr()
    assert run(clip, "--config", "run.toml") == 2
    assert capsys.readouterr().err == (
        "error: events of a p.json is also what ignore_mask of a names: give another file\n"
    )
    assert (tmp_path / "p.json").read_text(encoding="utf-8") == POLYGONS


def test_statistics_that_cannot_be_written(images, tmp_path, capsys):
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "run.json"
    assert run(images, "--save-masks", tmp_path / "masks", "--stats-json", target) == 4
    assert capsys.readouterr().err.startswith(f"error: cannot write {target} (")
    assert not (tmp_path / "masks").exists(), "refused before any work"


def test_a_network_that_cannot_be_made_leaves_no_file(images, tmp_path, capsys, monkeypatch):
    def fail(*args, **kwargs):
        raise BackendError("the openvino backend needs OpenVINO", fix="pip install openvino")

    monkeypatch.setattr("roadseg.loading.choice.Choice.open", fail)
    assert run(images, "--output", tmp_path / "out.mp4") == 6
    assert capsys.readouterr().err.count("\n") == 1
    assert os.listdir(tmp_path) == ["images"]
