"""`roadseg run`: what it writes, and what it says of it."""

from __future__ import annotations

import json
import os
import re

import cv2
import numpy as np
import pytest

import roadseg
from roadseg.core.labels import CLASS_NAMES, DEFAULT_PALETTE, PALETTES, class_id
from tests.support.cli_run import FRAMES, SIZE_HW, frames_of, run

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_display")


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

    stats = json.loads(stats_path.read_text(encoding="utf-8"))
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
        "reuse",
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
    stats = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert stats["frames_out"] == FRAMES
    assert stats["stages_ms"]["encode"] is None


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
