"""`roadseg run`: options and sources that make no sense, refused before any work."""

from __future__ import annotations

import os

import pytest

from roadseg.cli import main
from tests.support.cli_run import FRAMES, run

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_display")


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
        (["--max-frames", "0"], "cannot process 0 frames: use --max-frames 1 or more", 2),
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


def test_a_window_shows_no_password(monkeypatch):
    from roadseg.video import display

    titles = []
    monkeypatch.setattr(display, "open_window", lambda title, required: titles.append(title))
    run("rtsp://u:hunter2@h#x@127.0.0.1:9/live?pwd=hunter2", "--save-masks", os.devnull)
    assert titles == ["roadseg: 127.0.0.1-9-live"]
