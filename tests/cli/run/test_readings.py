"""`roadseg run`: what is read from the labels, and labels that are hidden, steadied and watched."""

from __future__ import annotations

import csv
import json
import os
import re

import cv2
import numpy as np
import pytest

from tests.support.cli_run import FRAMES, SIZE_HW, run

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_display")


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
    road = json.loads(stats_path.read_text(encoding="utf-8"))["road"]
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


@pytest.mark.parametrize("live", [[], ["--policy", "every"]])
@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("walkers=pedestrain", "unknown class or group 'pedestrain': use pedestrian"),
        ("x=", "cannot read the group 'x=': write NAME=CLASS,CLASS, such as road=track"),
        ("=car", "cannot read the group '=car': write NAME=CLASS,CLASS, such as road=track"),
    ],
)
def test_groups_are_read_where_nothing_asks_for_them(clip, tmp_path, capsys, group, message, live):
    capsys.readouterr()
    assert run(clip, "--output", tmp_path / "out.mp4", "--group", group, *live) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not (tmp_path / "out.mp4").exists()


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
    (event,) = map(json.loads, (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines())
    assert (event["name"], event["start_s"], event["end_s"]) == ("bright", 0.2, 0.2)
    stats = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
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
