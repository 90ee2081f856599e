"""`roadseg run` from the outside: files, stdout, stderr, exit codes."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

import roadseg
from roadseg.backends.fake import FakeBackend
from roadseg.cli import main
from roadseg.core.errors import BackendError
from roadseg.core.labels import CLASS_NAMES, DEFAULT_PALETTE, PALETTES, class_id

FRAMES = 7
SIZE_HW = (48, 64)


@pytest.fixture(autouse=True)
def _no_thread_left():
    before = set(threading.enumerate())
    yield
    assert [t.name for t in threading.enumerate() if t not in before] == []


@pytest.fixture(autouse=True)
def _no_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(FRAMES):
        image = np.full((*SIZE_HW, 3), index * 30, np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


@pytest.fixture
def clip(images, tmp_path):
    """The images as a video, which `roadseg run` itself makes."""
    path = tmp_path / "clip.mp4"
    assert run(images, "--output", path, "--alpha", 0, "--no-hud", "--no-legend") == 0
    return path


def run(source, *options) -> int:
    return main(["run", "--source", str(source), "--backend", "fake", *map(str, options)])


def frames_of(path) -> list[np.ndarray]:
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def test_a_clip_becomes_a_clip(clip, tmp_path, capsys):
    capsys.readouterr()
    out = tmp_path / "new" / "out.mp4"
    stats_path = tmp_path / "stats" / "run.json"
    assert run(clip, "--output", out, "--stats-json", stats_path, "--size", "32x64") == 0
    assert [frame.shape for frame in frames_of(out)] == [(*SIZE_HW, 3)] * FRAMES

    captured = capsys.readouterr()
    assert captured.err == ""
    first, second, third = captured.out.splitlines()
    assert re.fullmatch(
        r"7 frames at [0-9.]+ FPS \(fake on fake, input 32x64\), "
        r"latency \d+ ms median, \d+ ms p95, 0 dropped",
        first,
    )
    assert re.fullmatch(r"on .+, \d+ cores?", second)
    assert third == f"written to {out}"

    stats = json.loads(stats_path.read_text())
    assert set(stats) == {
        "frames_in",
        "frames_out",
        "dropped",
        "fps",
        "latency_ms",
        "stages_ms",
        "backend",
        "model",
        "size_hw",
        "peak_rss_mb",
        "frames_lost",
        "warnings",
        "first_frame_s",
        "names",
    }
    assert (stats["frames_in"], stats["frames_out"], stats["dropped"]) == (FRAMES, FRAMES, 0)
    assert set(stats["latency_ms"]) == {"p50", "p95", "max"}
    assert set(stats["stages_ms"]) == {
        "capture",
        "preprocess",
        "infer",
        "postprocess",
        "render",
        "encode",
    }
    assert all(value > 0 for value in stats["stages_ms"].values())
    assert (stats["backend"], stats["model"], stats["size_hw"]) == ("fake", "fake", [32, 64])
    assert stats["fps"] > 0


def test_images_and_masks_have_the_names_of_their_pictures(images, tmp_path):
    out, masks = tmp_path / "out", tmp_path / "masks"
    code = run(images, "--output", out, "--save-masks", masks, "--view", "mask", "--no-legend")
    assert code == 0
    names = [f"{index}.png" for index in range(FRAMES)]
    assert sorted(os.listdir(out)) == sorted(os.listdir(masks)) == names
    for index, name in enumerate(names):
        mask = cv2.imread(str(masks / name), cv2.IMREAD_UNCHANGED)
        assert mask.shape == SIZE_HW
        assert (mask == index * 30 * 11 // 256).all()


def test_side_by_side_is_twice_as_wide(images, tmp_path):
    assert run(images, "--output", tmp_path / "out", "--view", "side-by-side") == 0
    assert cv2.imread(str(tmp_path / "out" / "0.png")).shape == (48, 128, 3)


def test_options_of_the_picture_reach_it(images, tmp_path):
    plain = ("--alpha", 0, "--no-hud", "--no-legend")
    assert run(images, "--output", tmp_path / "plain", *plain) == 0
    assert run(images, "--output", tmp_path / "bold", "--alpha", 1, *plain[2:]) == 0
    assert run(images, "--output", tmp_path / "cb", "--palette", "colorblind", "--alpha", 1) == 0

    def pixel(folder):
        return cv2.imread(str(tmp_path / folder / "0.png"))[-1, -1].tolist()

    assert pixel("plain") == [0, 0, 0]
    sky = class_id("sky")
    assert pixel("bold") == PALETTES[DEFAULT_PALETTE][sky].tolist()
    assert pixel("cb") == PALETTES["colorblind"][sky].tolist()


def test_a_single_picture_shows_no_figures(tmp_path):
    """It has no speed: the display would stand in it with dashes."""
    folder = tmp_path / "large"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), np.full((240, 320, 3), 90, np.uint8))

    def picture(source, *options):
        out = tmp_path / "out"
        assert run(source, "--output", out, *options) == 0
        return cv2.imread(str(out / "a.png"))

    without = picture(folder, "--no-hud")
    assert (picture(folder / "a.png") == without).all()
    assert (picture(folder) != without).any()


def test_max_frames_and_loop(images, tmp_path, capsys):
    assert run(images, "--save-masks", tmp_path / "a", "--max-frames", 3) == 0
    assert len(os.listdir(tmp_path / "a")) == 3
    assert run(images, "--save-masks", tmp_path / "b", "--loop", "--max-frames", 17) == 0
    assert len(os.listdir(tmp_path / "b")) == 17
    assert capsys.readouterr().out.count("17 frames at ") == 1


def test_masks_in_one_file_are_those_of_a_folder(images, tmp_path, capsys):
    folder, file = tmp_path / "masks", tmp_path / "masks.mkv"
    assert run(images, "--save-masks", folder) == 0
    assert run(images, "--save-masks", file) == 0
    assert f"written to {file}" in capsys.readouterr().out
    with roadseg.MaskVideo(file) as masks:
        assert len(masks) == FRAMES
        assert masks.classes == CLASS_NAMES
        np.testing.assert_allclose(masks.times_s, np.arange(FRAMES) / 25)
        for ids, png in zip(masks, sorted(folder.iterdir()), strict=True):
            np.testing.assert_array_equal(ids, cv2.imread(str(png), cv2.IMREAD_UNCHANGED))


def test_statistics_alone_are_something_to_do(images, tmp_path):
    assert run(images, "--stats-json", tmp_path / "run.json") == 0
    stats = json.loads((tmp_path / "run.json").read_text())
    assert stats["frames_out"] == FRAMES
    assert stats["stages_ms"]["encode"] is None


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
    stats = json.loads(stats_path.read_text())
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


UNKNOWN_BACKEND = "unknown backend 'x': use --backend auto|tensorrt|openvino|torch|fake"


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--size", "352"], "size '352' is not HxW", 2),
        (["--size", "axb"], "size 'axb' is not HxW", 2),
        (["--size", "-32x32"], "size '-32x32' is not HxW", 2),
        (["--size", "0x0"], "size 0x0 does not fit the network", 2),
        (["--size", "100x64"], "size 100x64 does not fit the network", 2),
        (["--alpha", "1.5"], "alpha 1.5 is outside 0..1: use for example --alpha 0.5", 2),
        (["--alpha", "nan"], "alpha nan is outside 0..1: use for example --alpha 0.5", 2),
        (["--view", "x"], "unknown view 'x': use --view overlay|mask|side-by-side", 2),
        (["--palette", "x"], "unknown palette 'x': use --palette street|colorblind|camvid", 2),
        (["--threads", "0"], "cannot use 0 threads: use --threads 1 or more", 2),
        (["--max-frames", "0"], "cannot process 0 frames: --max-frames must be 1 or more", 2),
        (["--show"], "cannot show a window: there is no display", 2),
        (["--backend", "x"], UNKNOWN_BACKEND, 2),
        (["--alpha", "thick"], "Invalid value for '--alpha'", 2),
    ],
)
def test_bad_options(images, tmp_path, capsys, options, message, code):
    assert run(images, *options, "--output", tmp_path / "out.mp4") == code
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {message}")
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
    assert sorted(os.listdir(tmp_path)) == ["images"], "nothing may be left behind"


class TestSource:
    @pytest.mark.parametrize("command", ["run", "bench"])
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "no source is given: for example 'roadseg {} drive.mp4'"),
            ([""], "no source is given: for example 'roadseg {} drive.mp4'"),
            (["--source", ""], "no source is given: for example 'roadseg {} drive.mp4'"),
            (
                ["1.png", "2.png", "3.png"],
                "3 sources are given, 1.png to 3.png, and one at a time is read: put a pattern "
                'of images in quotes, as in "drive/*.png"',
            ),
        ],
    )
    def test_one_is_needed(self, capsys, command, arguments, message):
        assert main([command, *arguments]) == 2
        assert capsys.readouterr().err == (
            f"error: {message.format(command)} (see 'roadseg {command} --help')\n"
        )

    def test_bench_takes_one(self, capsys):
        assert main(["bench", "a", "--source", "rtsp://u:p@h/x"]) == 2
        assert capsys.readouterr().err == (
            "error: two sources are given, a and --source rtsp://***@h/x: leave one out "
            "(see 'roadseg bench --help')\n"
        )

    def test_it_needs_no_option(self, images, tmp_path):
        arguments = ["--backend", "fake", "--save-masks", str(tmp_path / "masks"), str(images)]
        assert main(["run", *arguments]) == 0
        assert len(os.listdir(tmp_path / "masks")) == FRAMES


class TestNothingAskedFor:
    """Without a display and without outputs."""

    def lines(self, name, why="there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set"):
        return (
            f"no window ({why}): writing {name}; "
            "choose with --output, --save-masks or --stats-json\n",
            f"\nwritten to {name}\n",
        )

    def test_a_clip_becomes_a_clip_here(self, clip, tmp_path, capsys, monkeypatch):
        here = tmp_path / "here"
        here.mkdir()
        monkeypatch.chdir(here)
        for name in ("clip-roadseg.mp4", "clip-roadseg-2.mp4"):
            capsys.readouterr()
            assert run(clip) == 0
            captured = capsys.readouterr()
            first, last = self.lines(name)
            assert captured.err == first
            assert captured.out.endswith(last)
            assert len(frames_of(here / name)) == FRAMES
        assert len(os.listdir(here)) == 2

    def test_no_show_is_no_display(self, images, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("roadseg.video.opening.display_available", lambda: None)
        assert run(images, "--no-show") == 0
        assert capsys.readouterr().err == self.lines("images-roadseg", "--no-show")[0]
        assert len(os.listdir(tmp_path / "images-roadseg")) == FRAMES

    def test_pictures(self, images, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for source in (images, f"{images}/", images / "*.png"):
            assert run(source) == 0
        assert run(images / "0.png") == 0
        assert sorted(os.listdir(tmp_path)) == [
            "0-roadseg.png",
            "images",
            "images-roadseg",
            "images-roadseg-2",
            "images-roadseg-3",
        ]

    @pytest.mark.parametrize("option", ["--save-masks", "--stats-json"])
    def test_other_results_are_enough(self, images, tmp_path, monkeypatch, option):
        monkeypatch.chdir(tmp_path)
        assert run(images, option, "result") == 0
        assert sorted(os.listdir(tmp_path)) == ["images", "result"]

    def test_no_endless_recording_starts_by_itself(self, images, capsys, monkeypatch):
        monkeypatch.chdir(images.parent)
        assert run("images", "--loop") == 2
        assert capsys.readouterr().err == (
            "error: nothing to do: with --loop the source has no end: give --output FILE.mp4, "
            "--save-masks FOLDER or --stats-json FILE (no window: there is no display: neither "
            "DISPLAY nor WAYLAND_DISPLAY is set)\n"
        )
        assert os.listdir(images.parent) == ["images"]

    def test_a_stream_over_http_is_live_too(self, images, capsys, monkeypatch):
        from roadseg.media.sources.opening import open_source

        def opened(spec, **options):
            source = open_source(str(images))
            source.info = replace(source.info, kind="live", name="http://***@h/live.mp4")
            return source

        monkeypatch.chdir(images.parent)
        monkeypatch.setattr("roadseg.video.opening.open_source", opened)
        assert run("http://u:p@h/live.mp4") == 2
        assert "http://***@h/live.mp4 is live and is recorded only" in capsys.readouterr().err
        assert os.listdir(images.parent) == ["images"]

    def test_a_folder_that_cannot_be_written(self, clip, capsys, monkeypatch):
        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.chdir(clip.parent)
        monkeypatch.setattr("roadseg.media.sinks.targets.new_part", refuse)
        assert run(clip) == 4
        err = capsys.readouterr().err
        assert err.startswith("error: no permission to write clip-roadseg.mp4: ")
        assert err.endswith("(--output chooses another place)\n")
        assert sorted(os.listdir(clip.parent)) == ["clip.mp4", "images"]

    def test_a_window_is_enough(self, images, tmp_path, monkeypatch):
        class Window:
            def __init__(self):
                self.shown = 0

            def show(self, image_bgr):
                self.shown += 1
                return True

            def close(self):
                pass

        window = Window()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("roadseg.video.opening.open_window", lambda title, required: window)
        assert run(images) == 0
        assert window.shown
        assert os.listdir(tmp_path) == ["images"]


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


def test_progress_on_a_terminal(images, tmp_path, monkeypatch):
    import io

    from rich import console

    screen = io.StringIO()
    terminal = console.Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(console, "Console", lambda stderr: terminal)
    assert run(images, "--save-masks", tmp_path / "masks") == 0
    assert f"{FRAMES}/{FRAMES} frames" in screen.getvalue()
    assert run(images, "--save-masks", tmp_path / "masks", "--loop", "--max-frames", 9) == 0
    assert "9 frames" in screen.getvalue()


class TestNames:
    def photos(self, tmp_path, *names):
        for name in names:
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((*SIZE_HW, 3), 90, np.uint8))
        return tmp_path / "photos"

    def test_pictures_and_masks_are_called_like_their_pictures(self, tmp_path):
        photos = self.photos(tmp_path, "Cam1.jpg", "a.jpg", "a.png", "A.bmp")
        out, masks, stats = tmp_path / "out", tmp_path / "masks", tmp_path / "run.json"
        options = ("--output", out, "--save-masks", masks, "--stats-json", stats)
        assert run(photos, *options) == 0
        names = {
            "A.bmp": "A.png",
            "a.jpg": "a-2.png",
            "a.png": "a-3.png",
            "Cam1.jpg": "Cam1.png",
        }
        assert sorted(os.listdir(out)) == sorted(os.listdir(masks)) == sorted(names.values())
        told = json.loads(stats.read_text())["names"]
        assert {n["source"]: n["picture"] for n in told} == {
            str(photos / source): picture for source, picture in names.items()
        }

    def test_one_name_in_two_folders(self, tmp_path):
        photos = self.photos(tmp_path, "x/1.png", "y/1.png")
        assert run(photos / "*" / "*.png", "--output", tmp_path / "out") == 0
        assert sorted(os.listdir(tmp_path / "out")) == ["1-2.png", "1.png"]

    def test_a_loop_numbers_its_results(self, tmp_path):
        photos = self.photos(tmp_path, "a.png", "b.png")
        stats = tmp_path / "run.json"
        options = ("--loop", "--max-frames", 3, "--stats-json", stats)
        assert run(photos, "--output", tmp_path / "out", *options) == 0
        assert sorted(os.listdir(tmp_path / "out")) == [f"{i:06d}.png" for i in range(3)]
        assert json.loads(stats.read_text())["names"] == []

    def test_one_picture_into_one_file(self, tmp_path, capsys):
        photo = self.photos(tmp_path, "photo.jpg") / "photo.jpg"
        out, stats = tmp_path / "new" / "out.PNG", tmp_path / "run.json"
        assert run(photo, "--output", out, "--stats-json", stats) == 0
        assert cv2.imread(str(out)).shape == (*SIZE_HW, 3)
        assert os.listdir(out.parent) == ["out.PNG"]
        assert capsys.readouterr().out.endswith(f"written to {out}\n")
        told = json.loads(stats.read_text())["names"]
        assert told == [{"source": str(photo), "picture": "out.PNG"}]

    def test_one_picture_over_itself(self, tmp_path, capsys):
        photo = self.photos(tmp_path, "photo.png") / "photo.png"
        before = photo.read_bytes()
        for source in (photo, photo.parent, photo.parent / "*.png"):
            assert run(source, "--output", photo) == 4
            assert "is the source itself" in capsys.readouterr().err
        assert photo.read_bytes() == before

    def test_one_frame_of_a_clip(self, clip, tmp_path):
        assert run(clip, "--output", tmp_path / "first.png", "--max-frames", 1) == 0
        assert cv2.imread(str(tmp_path / "first.png")).shape == (*SIZE_HW, 3)

    def test_several_frames_into_one_picture(self, images, tmp_path, capsys):
        assert run(images, "--output", tmp_path / "out.png") == 2
        assert capsys.readouterr().err == (
            "error: cannot write several frames into a single image: give a folder, "
            f"--output {tmp_path / 'out'}\n"
        )

    @pytest.mark.parametrize("name", ["a.mp4x", "a.mpeg4", "a.txt", "out.jpg"])
    def test_outputs_of_another_kind(self, images, tmp_path, capsys, name):
        assert run(images / "0.png", "--output", tmp_path / name) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"error: cannot write {name[name.index('.') :]} files: use --output ")
        assert not (tmp_path / name).exists()

    @pytest.mark.parametrize("name", ["run", "run.2", "2024.11.26"])
    def test_names_of_folders(self, images, tmp_path, name):
        assert run(images, "--output", tmp_path / name) == 0
        assert len(os.listdir(tmp_path / name)) == FRAMES

    def test_a_folder_that_exists_may_be_called_anything(self, images, tmp_path):
        (tmp_path / "a.mp4x").mkdir()
        assert run(images, "--output", tmp_path / "a.mp4x") == 0
        assert len(os.listdir(tmp_path / "a.mp4x")) == FRAMES


class TestRate:
    @pytest.mark.parametrize(
        ("fps", "rate"), [("10", 10), ("29.97", 29.97), ("30000/1001", 29.97), ("0.5", 0.5)]
    )
    def test_images_play_at_the_rate_that_is_given(self, images, tmp_path, fps, rate):
        import av

        assert run(images, "--output", tmp_path / "out.mp4", "--fps", fps) == 0
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert float(container.streams.video[0].average_rate) == pytest.approx(rate, rel=1e-3)

    @pytest.mark.parametrize("fps", ["0", "-1", "1001", "nan", "inf", "fast", "1/0"])
    def test_rates_that_are_none(self, images, tmp_path, capsys, fps):
        assert run(images, "--output", tmp_path / "out.mp4", "--fps", fps) == 2
        assert capsys.readouterr().err == (
            f"error: --fps {fps} is not a number above 0 and at most 1000: "
            "use for example --fps 25\n"
        )

    def test_sources_with_a_rate_of_their_own(self, clip, tmp_path, capsys):
        capsys.readouterr()
        for source, name in ((clip, clip), ("7", "webcam 7"), ("rtsp://u:p@h/x", "rtsp://***@h/x")):
            assert run(source, "--output", tmp_path / "out.mp4", "--fps", "10") == 2
            assert capsys.readouterr().err == (
                f"error: --fps is for images and bare streams; {name} has its own rate: "
                "leave it out\n"
            )

    def test_an_unknown_transport(self, images, tmp_path, capsys):
        options = ("--output", tmp_path / "out", "--rtsp-transport", "smtp")
        assert run(images, *options) == 2
        assert capsys.readouterr().err == (
            "error: unknown --rtsp-transport 'smtp': use auto|tcp|udp\n"
        )


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


def test_a_window_shows_no_password(monkeypatch):
    from roadseg.video import display

    titles = []
    monkeypatch.setattr(display, "open_window", lambda title, required: titles.append(title))
    run("rtsp://u:hunter2@h#x@127.0.0.1:9/live?pwd=hunter2", "--save-masks", os.devnull)
    assert titles == ["roadseg: 127.0.0.1-9-live"]


def test_read_outs_in_statistics_and_timeline(clip, tmp_path, capsys):
    stats_path, timeline = tmp_path / "run.json", tmp_path / "rows" / "drive.csv"
    capsys.readouterr()
    assert run(clip, "--timeline", timeline, "--stats-json", stats_path, "--size", "32x64") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"written to {timeline}"
    with timeline.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(FRAMES))
    assert [row["model"] for row in rows] == ["fake"] * FRAMES
    assert all(float(row["age_ms"]) > 0 for row in rows)
    road = json.loads(stats_path.read_text())["road"]
    assert road["frames"] == FRAMES
    for name, mean in road["shares"].items():
        shares = [float(row[f"share_{name}"]) for row in rows]
        assert sum(shares) / FRAMES == pytest.approx(mean, abs=1e-5)
    assert sum(road["shares"].values()) == pytest.approx(1, abs=1e-4)


def test_a_timeline_alone_is_something_to_do(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(images, "--timeline", "drive.jsonl") == 0
    assert sorted(os.listdir(tmp_path)) == ["drive.jsonl", "images"]


def test_read_outs_stand_in_the_display(images, tmp_path):
    for folder, extra in (("plain", []), ("read", ["--readouts"])):
        large = cv2.resize(cv2.imread(str(images / "3.png")), (480, 360))
        cv2.imwrite(str(tmp_path / "large.png"), large)
        cv2.imwrite(str(tmp_path / "large2.png"), large)
        pattern = tmp_path / "large*.png"
        assert run(pattern, "--output", tmp_path / folder, "--alpha", 0, "--no-legend", *extra) == 0
    plain, read = (cv2.imread(str(tmp_path / f / "large.png")) for f in ("plain", "read"))
    rows = [np.flatnonzero((image != image[-1, -1]).any(axis=(1, 2))) for image in (plain, read)]
    assert rows[1].max() > rows[0].max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--timeline", "a.txt"], "cannot write a timeline to a.txt: use --timeline FILE.csv"),
        (["--corridor", "0,1 1,1"], "corridor has 2 corners: give three or more"),
        (["--horizon", 48], "the horizon lies outside the picture, at 1 of its height"),
        (["--group", "road=rode"], "unknown class or group 'rode': use road"),
        (["--timeline", "a.csv", "--stats-json", "a.csv"], "--timeline a.csv is also what --stats"),
    ],
)
def test_mistakes_about_read_outs_end_before_any_work(
    clip, tmp_path, capsys, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir(tmp_path))
    capsys.readouterr()
    assert run(clip, "--output", "out.mp4", "--readouts", *options) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert sorted(os.listdir(tmp_path)) == before


def test_an_ignore_mask_leaves_the_frame_and_its_masks_void(images, tmp_path, capsys):
    ignored = np.zeros(SIZE_HW, np.uint8)
    ignored[40:] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), ignored)
    out, masks = tmp_path / "out", tmp_path / "masks"
    plain = ("--no-hud", "--no-legend", "--alpha", 1, "--ignore-mask", tmp_path / "mask.png")
    assert run(images, "--output", out, "--save-masks", masks, *plain) == 0
    picture, frame = (cv2.imread(str(folder / "3.png")) for folder in (out, images))
    assert (picture[40:] == frame[40:]).all()
    assert (picture[:40] != frame[:40]).any(axis=2).all()
    ids = cv2.imread(str(masks / "3.png"), cv2.IMREAD_UNCHANGED)
    assert (ids[40:] == 11).all()
    assert (ids[:40] == 90 * 11 // 256).all()
    assert capsys.readouterr().err == ""


def test_an_ignore_mask_that_cannot_be_used(images, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "all.png"), np.full(SIZE_HW, 255, np.uint8))
    out = tmp_path / "out"
    assert run(images, "--output", out, "--ignore-mask", tmp_path / "all.png") == 2
    assert capsys.readouterr().err.startswith("error: the ignore mask leaves nothing")
    assert run(images, "--output", out, "--ignore-mask", tmp_path / "none.png") == 2
    assert "give a PNG with --ignore-mask" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("smooth", [[], ["--smooth"]])
def test_smoothing_loses_no_frame_and_steadies_what_is_written(tmp_path, smooth):
    folder = tmp_path / "drive"
    folder.mkdir()
    for index in range(4):
        image = np.full((64, 96, 3), 90, np.uint8)
        image[40, 50] = 230 if index == 2 else 90
        cv2.imwrite(str(folder / f"{index}.png"), image)
    masks, out = tmp_path / "masks", tmp_path / "out"
    options = ("--save-masks", masks, "--output", out, "--alpha", 0, "--no-legend", "--no-hud")
    assert run(folder, "--size", "64x96", *options, *smooth) == 0
    assert sorted(os.listdir(masks)) == sorted(os.listdir(out)) == [f"{i}.png" for i in range(4)]
    specks = [cv2.imread(str(masks / f"{i}.png"), cv2.IMREAD_UNCHANGED)[40, 50] for i in range(4)]
    assert specks == ([3, 3, 3, 3] if smooth else [3, 3, 9, 3])
    for index in range(4):  # each with its own frame
        picture, frame = (cv2.imread(str(place / f"{index}.png")) for place in (out, folder))
        assert (picture == frame).all()


def test_smoothing_ends_well_where_frames_run_out_at_once(images, tmp_path):
    picture = images / "3.png"
    assert run(picture, "--smooth", "--output", tmp_path / "out.png") == 0
    assert cv2.imread(str(tmp_path / "out.png")).shape == (*SIZE_HW, 3)


def test_events_end_as_lines_on_stderr_in_their_file_and_in_the_timeline(
    clip, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    files = ("--events", "events.jsonl", "--timeline", "rows.csv", "--stats-json", "run.json")
    # Pictures grow lighter, and the fake network takes the grey of picture 5 for a sign.
    rules = ("--event", "bright: sign > 50%", "--event", "never: car > 50%")
    assert run(clip, "--size", "32x64", *files, *rules) == 0
    captured = capsys.readouterr()
    assert re.fullmatch(r"event bright: 0.20 s to 0.20 s, peak 100%\n", captured.err)
    assert "written to events.jsonl" in captured.out
    (event,) = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    assert (event["name"], event["start_s"], event["end_s"]) == ("bright", 0.2, 0.2)
    stats = json.loads((tmp_path / "run.json").read_text())
    assert stats["road"]["events"] == {"bright": 1, "never": 0}
    with open("rows.csv") as file:
        assert [row["events"] for row in csv.DictReader(file)] == [*[""] * 5, "bright", ""]


def test_a_mistake_in_a_rule_is_named_before_the_run(clip, tmp_path, capsys):
    capsys.readouterr()
    out = tmp_path / "out.mp4"
    assert run(clip, "--output", out, "--event", "w: pedestrain > 5%") == 2
    assert capsys.readouterr().err == (
        "error: event 'w: pedestrain > 5%', column 4: unknown class or group 'pedestrain': "
        "use pedestrian\n"
    )
    assert not out.exists()
