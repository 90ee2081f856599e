"""`roadseg run` without a display and without outputs: it finds a result of its own."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.cli_run import FRAMES, frames_of, run

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_display")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        """Says nothing."""


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

    def test_a_picture_at_a_url(self, images, tmp_path, monkeypatch):
        handler = partial(_Quiet, directory=str(images))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            monkeypatch.chdir(tmp_path)
            try:
                assert run(f"http://127.0.0.1:{server.server_address[1]}/0.png") == 0
            finally:
                server.shutdown()
                thread.join()
        assert sorted(os.listdir(tmp_path)) == ["0-roadseg.png", "images"]

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
