"""`roadseg run` with several sources, cameras and the page, from the outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer.main

from roadseg.cli import app, main
from roadseg.live.toml import parse_config
from tests.support import ROOT
from tests.support.clips import write_clip
from tests.support.live import PATIENCE_S

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_display")

FRAMES = 7


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders of images, `front` and `rear`, in the current one."""
    monkeypatch.chdir(tmp_path)
    for name in ("front", "rear"):
        (tmp_path / name).mkdir()
        for index in range(FRAMES):
            image = np.full((48, 64, 3), index * 30, np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), image)
    return tmp_path


TWO = ("--source", "front", "--source", "rear")


def run(*options) -> int:
    return main(["run", "--backend", "fake", *map(str, options)])


def test_a_token_in_the_environment_makes_no_page_of_a_run_over_a_file(tmp_path, monkeypatch):
    """It often stands there for all runs."""
    monkeypatch.setenv("ROADSEG_WEB_TOKEN", "a-token-of-many-letters")
    clip = write_clip(tmp_path / "a.mp4")
    assert run("--source", clip, "--output", tmp_path / "out.mp4", "--reuse", 2) == 0


def frames_of(path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def recordings(folder, name) -> list[int]:
    """Pictures in each of a source's recordings, in their order."""
    stamp = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(-\d+)?"
    found = [p for p in sorted(folder.iterdir()) if re.fullmatch(f"{name}-{stamp}.mp4", p.name)]
    return [frames_of(path) for path in found]


def test_several_sources_have_files_of_their_own(folders, capsys):
    assert run(*TWO, "--output", "out", "--save-masks", "masks") == 0
    assert [recordings(folders / "out", name) for name in ("front", "rear")] == [[7], [7]]
    assert len(os.listdir(folders / "masks" / "front")) == FRAMES
    out = capsys.readouterr().out
    assert re.search("^front: 7 of 7 frames shown, .*; dropped: none; 1 connection$", out, re.M)


def test_max_frames_is_of_each_source(folders, capsys):
    assert run(*TWO, "--output", "out", "--max-frames", 3, "--loop") == 0
    assert recordings(folders / "out", "rear") == [3]


def test_a_page_is_served_while_it_runs_and_files_play_at_their_own_rate(folders, capsys):
    assert run(*TWO, "--web", 0, "--max-staleness", 60) == 0
    captured = capsys.readouterr()
    assert re.search(r"the page is at http://127\.0\.0\.1:\d+/\n", captured.err)
    # A busy machine may be late for some: they play like cameras.
    assert re.search("^front: [1-7] of 7 frames shown", captured.out, re.M)


def test_a_page_beyond_this_machine_has_a_token_that_is_printed_once(folders, capsys):
    assert run(*TWO, "--web", "0.0.0.0:0") == 0
    assert len(re.findall(r"\?token=[\w-]{20,}", capsys.readouterr().err)) == 1


def test_a_token_that_was_given_is_printed_nowhere(folders, capsys):
    token = ("--web-token", "correct horse battery")
    assert run(*TWO, "--web", "0.0.0.0:0", *token, "--stats-json", "stats.json") == 0
    captured = capsys.readouterr()
    assert re.search(r"the page is at http://[^?\s]+/\n", captured.err)
    assert "horse" not in captured.err + captured.out + Path("stats.json").read_text(
        encoding="utf-8"
    )


def test_images_play_at_the_rate_that_is_typed(folders, capsys):
    assert run(*TWO, "--fps", "30000/1001", "--output", "out") == 0
    import av

    with av.open(str(next((folders / "out").glob("front-*.mp4")))) as container:
        times_s = [frame.time for frame in container.decode(video=0)]
    assert np.diff(times_s) == pytest.approx(1001 / 30000, abs=1e-4)


def test_a_camera_has_a_rate_of_its_own(folders, capsys):
    assert run(*TWO, "--source", "rtsp://127.0.0.1:9/x", "--fps", "5") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --fps is for images and bare streams; rtsp://127.0.0.1:9/x has")


def test_what_was_typed_becomes_a_configuration(folders, capsys):
    options = ("--web", "0.0.0.0:9000", "--max-staleness", 0.5, "--stride", 2, "--view", "mask")
    camera = ("--source", "rtsp://me:secret@10.0.0.7/live")
    assert (
        run(*TWO, *camera, "--source", "3", "--source", "csi://1?fps=5", *options, "--print-config")
        == 0
    )
    printed = capsys.readouterr().out
    assert "secret" not in printed
    config = parse_config(printed, "printed")
    assert [each.name for each in config.source] == [
        *("front", "rear", "10.0.0.7-live", "camera-3", "csi-1")
    ]
    assert {each.max_staleness for each in config.source} == {0.5}
    assert {each.stride for each in config.source} == {2}
    assert (config.view, config.backend) == ("mask", "fake")
    assert config.web is not None
    assert (config.web.address, config.web.port) == ("0.0.0.0", 9000)
    assert config.source[0].policy == "latest", "people look on"


def test_what_is_typed_wins_over_the_file(folders, capsys):
    (folders / "cams.toml").write_text(
        'view = "mask"\n[web]\nport = 9000\n[[source]]\nname = "one"\nurl = "front"\nstride = 3\n'
    )
    assert run("--config", "cams.toml", "--stride", 2, "--source", "rear", "--print-config") == 0
    config = parse_config(capsys.readouterr().out, "printed")
    assert [(each.name, each.stride) for each in config.source] == [("one", 2), ("rear", 2)]
    assert config.view == "mask"


def test_a_configuration_runs(folders, capsys):
    (folders / "cams.toml").write_text(
        '[[source]]\nname = "one"\nurl = "front"\noutput = "one.mp4"\n'
        '[[source]]\nname = "two"\nurl = "rear"\noutput = "two.mp4"\n'
    )
    assert run("--config", "cams.toml") == 0
    assert [frames_of(folders / f"{name}.mp4") for name in ("one", "two")] == [7, 7]


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        ((*TWO, "--output", "out.mp4"), "2 sources cannot share --output out.mp4: give a fold", 2),
        ((*TWO, "--web", "here"), "--web here is no port, and no host and port", 2),
        ((*TWO, "--web", "99999"), "--web 99999 is no port", 2),
        ((*TWO, "--web", "0", "--web-token", "short"), "the token has fewer than 8", 2),
        ((*TWO, "--policy", "newest"), "unknown policy 'newest': use --policy latest|every", 2),
        ((*TWO, "--max-staleness", "0"), "--max-staleness 0.0 is out of range: give more than", 2),
        ((*TWO, "--camera-size", "big"), "--camera-size big is out of range: give width and", 2),
        ((*TWO, "--stride", "0"), "--stride 0 is out of range: give 1 or more", 2),
        ((*TWO, "--view", "x", "--web", "0"), "unknown view 'x'", 2),
        ((*TWO, "--fps", "0"), "--fps 0 is not a number above 0 and at most 1000", 2),
        ((*TWO, "--reuse", "2"), "--reuse needs the frames that follow: it is for a run over o", 2),
        (
            (*TWO, "--timeline", "a.csv"),
            "2 sources cannot share --timeline a.csv: give a folder",
            2,
        ),
        ((*TWO, "--keep-gb", "5"), "--keep-gb says how to record, not where: add --output FOL", 2),
        ((*TWO, "--blur", "x"), "unknown", 2),
        ((*TWO, "--source", "missing.mp4"), "no such file: missing.mp4", 3),
        (("--web", "0"), "no source is given", 2),
        (("--config", "no.toml"), "no configuration at no.toml: check the path", 2),
        (("--config", "wrong.toml"), "wrong.toml: [[source]] 1 (a): unknown key polcy: write", 2),
    ],
)
def test_mistakes_end_in_one_line_before_any_work(folders, capsys, options, message, code):
    (folders / "wrong.toml").write_text('[[source]]\nname = "a"\nurl = "front"\npolcy = "latest"\n')
    assert run(*options) == code
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith(f"error: {message}")
    assert captured.out == ""


def test_a_camera_that_was_never_there_is_an_error_when_it_is_all_that_was_typed(folders, capsys):
    assert run("rtsp://me:secret@127.0.0.1:9/x") == 3
    captured = capsys.readouterr()
    assert captured.err.splitlines()[0] == (
        "no window (there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set): a page takes "
        "its place; --web 0.0.0.0:8080 shows it to other machines, --output FILE.mp4 records"
    )
    assert captured.err.splitlines()[-1].startswith("error: cannot open rtsp://***@127.0.0.1:9/x")
    assert "secret" not in captured.err + captured.out


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set"),
        (("--no-show",), "--no-show"),
    ],
)
def test_a_camera_with_neither_window_nor_page(folders, capsys, monkeypatch, options, why):
    for package in ("starlette", "uvicorn"):
        monkeypatch.setitem(sys.modules, package, None)
    assert run("rtsp://127.0.0.1:9/x", *options) == 6
    assert capsys.readouterr().err == (
        f"error: no window ({why}), and the page that takes its place needs starlette and uvicorn, "
        "which are not installed: pip install 'roadseg[web]', or record with --output FILE.mp4\n"
    )


def test_nothing_is_said_of_a_page_that_was_asked_for(folders, capsys):
    assert run(*TWO, "--web", "0") == 0
    assert "no window" not in capsys.readouterr().err


def test_events_of_each_source_become_clips(folders, capsys):
    """The fake network sees the road in the lower half of every picture."""
    rules = ("--event", "road: road > 1%", "--event-clips", "clips", "--events", "events")
    assert run(*TWO, *rules, "--timeline", "rows") == 0
    for name in ("front", "rear"):
        assert sorted(p.name for p in (folders / "clips" / name).glob("0*")) == [
            *("0001-road.jpg", "0001-road.mp4")
        ]
        assert frames_of(folders / "clips" / name / "0001-road.mp4") == FRAMES
        assert (
            len((folders / "events" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
            == 1
        )
        assert (
            len((folders / "rows" / f"{name}.csv").read_text(encoding="utf-8").splitlines())
            == FRAMES + 1
        )


def test_lines_as_json(folders, capsys):
    assert run(*TWO, "--output", "out", "--log-json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    live = [line for line in lines if line["message"] == "front: live"]
    assert live[0]["level"] == "info"
    assert live[0]["StateChange"]["state"] == "live"


def test_the_page_and_a_mistake_are_lines_of_json_too(folders, capsys):
    assert run(*TWO, "--web", "0", "--log-json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert any(line["message"].startswith("the page is at http://") for line in lines)
    assert run(*TWO, "--log-json", "--policy", "newest") == 2
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert line["level"] == "error"
    assert line["message"] == "unknown policy 'newest': use --policy latest|every"
    # The next command of the same process is back to plain lines.
    assert run(*TWO, "--policy", "newest") == 2
    assert capsys.readouterr().err.startswith("error: unknown policy")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_sigterm_finishes_files_and_is_no_failure(folders):
    arguments = ("run", "--backend", "fake", *TWO, "--loop", "--output", "out", "--web", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "roadseg", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    url = ""
    try:
        for line in process.stderr:
            found = re.search(r"http://\S+", line)
            url = found[0] if found else url
            if line == "rear: live\n":
                break
        ends_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_s:
            if all(each["last_frame_age_s"] is not None for each in _health(url)["sources"]):
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0
    assert recordings(Path("out"), "front")[0] > 0


def _health(url):
    try:
        with urllib.request.urlopen(f"{url}healthz") as answer:
            return json.load(answer)
    except urllib.error.HTTPError as exc:
        return json.load(
            exc
        )  # 503: no camera has shown a picture for a while, as beside other load


def test_every_option_of_run_is_taken_or_refused():
    """None is ignored in silence: --blur least of all."""
    from roadseg.cli.live import typed
    from roadseg.live import assembling

    command = typer.main.get_command(app).get_command(None, "run")
    names = {each.name for each in command.params} - {"sources", "source", "help"}
    taken = {
        *(*assembling.KEYS, *assembling.SOURCE_KEYS, *assembling.FILES, *assembling.RECORDING),
        *(*assembling.OTHERS, *typed.FILE_ONLY, *typed.AROUND),
    }
    assert names - taken == set()
    assert taken - names == set()
