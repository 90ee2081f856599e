"""The page of a timeline: what is in it, and what it does in a browser."""

from __future__ import annotations

import csv
import doctest
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadseg.cli import main
from roadseg.core.shipped import PACKAGE
from roadseg.run.timeline import thin, write_timeline_page
from roadseg.run.timeline.thin import thinned
from tests.support.clips import write_clip

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ROWS = 50


def write_rows(path: Path, rows: int = ROWS) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "time_s", "model", "free_m", "events", "share_car", "share_hay"])
        for index in range(rows):
            name = "</script><b>" if 10 <= index < 20 else ""
            writer.writerow([index, index / 25, "net", 10 + index, name, 0.2, index / 100])
    return path


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A folder with a timeline and, beside it, a video of the same name."""
    write_clip(tmp_path / "dri ve#1.mp4", frames=ROWS, options={"g": "5"})
    return write_rows(tmp_path / "dri ve#1.csv")


def data_of(html: Path) -> dict[str, Any]:
    match = re.search(
        r'<script type="application/json" id="data">(.*?)</script>',
        html.read_text(encoding="utf-8"),
    )
    assert match is not None
    data: dict[str, Any] = json.loads(match[1])
    return data


def test_one_file_with_all_that_it_needs(drive: Path) -> None:
    html = drive.parent / "pages" / "drive.html"
    page = write_timeline_page(drive, html)
    assert (page.rows, page.events, page.notes) == (ROWS, 1, ())
    assert os.listdir(html.parent) == ["drive.html"]
    text = html.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?http|@import|url\(""", text)
    assert "uPlot" in text
    data = data_of(html)
    assert data["video"] == "../dri%20ve%231.mp4"
    (event,) = data["events"]
    assert (event["name"], event["start_s"], event["end_s"]) == ("</script><b>", 0.4, 0.76)
    assert event["picture"].startswith("/9j/")
    assert data["columns"]["free_m"][3] == 13
    assert [share["name"] for share in data["shares"]] == ["hay", "car"]


def test_the_package_has_one_copy_of_the_chart_library() -> None:
    assert len(list(PACKAGE.rglob("uPlot*.js"))) == 1


def test_without_a_video_it_says_so(tmp_path: Path) -> None:
    page = write_timeline_page(write_rows(tmp_path / "drive.csv"), tmp_path / "drive.html")
    assert page.video is None
    assert page.notes == ("no video lies beside the timeline: there is nothing to play",)


def test_a_video_that_ends_too_early_has_no_picture_for_some(tmp_path: Path) -> None:
    write_clip(tmp_path / "drive.mp4", frames=4)
    timeline = write_rows(tmp_path / "drive.csv")
    page = write_timeline_page(timeline, tmp_path / "drive.html")
    assert page.video is not None
    (event,) = data_of(tmp_path / "drive.html")["events"]
    assert "picture" in event, "the last one there is"


@pytest.mark.usefixtures("as_typed")
def test_what_a_run_hid_is_not_shown_from_its_source(tmp_path: Path) -> None:
    timeline = write_rows(tmp_path / "drive.csv")
    header, *rows = timeline.read_text(encoding="utf-8").splitlines()
    timeline.write_text("\n".join([f"{header},hidden", *(f"{row},people;car" for row in rows), ""]))
    html = tmp_path / "drive.html"
    source = write_clip(tmp_path / "drive.mp4", frames=ROWS)
    page = write_timeline_page(timeline, html)
    assert page.video is None
    assert "picture" not in data_of(html)["events"][0]
    assert page.notes == (
        "the run hid people, car, which its source shows: for the video that the run wrote give "
        "--video FILE",
    )
    assert write_timeline_page(timeline, html, source).video == source, "the user's own choice"
    written = write_clip(tmp_path / "drive-roadseg.mp4", frames=ROWS)
    assert write_timeline_page(timeline, html).video == written


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["drive.csv", "--html", "page.txt"], 2, "use --html page.html"),
        (["none.csv", "--html", "page.html"], 3, "cannot read none.csv"),
        (["drive.csv", "--html", "page.html", "--video", "no.mp4"], 3, "there is no video no.mp4"),
        (["drive.csv", "--html", "page.html", "--video", "drive.csv"], 3, "cannot read drive.csv"),
        (["drive.csv", "--html", "folder.html"], 4, "it is a folder"),
        (["drive.csv"], 2, "--html"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path,
    options: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "drive.csv")
    (tmp_path / "folder.html").mkdir()
    assert main(["timeline", *options]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_the_command(drive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html = drive.with_suffix(".html")
    drive.write_text(drive.read_text(encoding="utf-8")[:-5])
    assert main(["timeline", str(drive), "--html", str(html)]) == 0
    captured = capsys.readouterr()
    assert captured.err == "warning: 1 row of dri ve#1.csv cannot be read and is left out\n"
    assert f"{html}: {ROWS - 1} rows, 1 event, plays" in captured.out


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(thin, extraglobs={"np": np})
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("count", [1, 7999, 8000, 8001, 30_011])
def test_fewer_points_keep_every_peak(count: int) -> None:
    rng = np.random.default_rng(count)
    times, values = np.arange(count) / 25, rng.normal(0, 1, count)
    values[rng.random(count) < 0.1] = np.nan
    thin_times, (thin_values,) = thinned(times, [values])
    assert thin_times.size <= max(8000, 0)
    assert (np.diff(thin_times) >= 0).all()
    if np.isfinite(values).any():
        assert np.nanmax(thin_values) == np.nanmax(values)
        assert np.nanmin(thin_values) == np.nanmin(values)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_clicks_play_the_video_from_there(
    chromium: Any, drive: Path, size: tuple[int, int]
) -> None:
    html = drive.with_suffix(".html")
    write_timeline_page(drive, html)
    page = chromium.new_page(viewport={"width": size[0], "height": size[1]})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda r: faults.append(r.url) if not r.url.startswith(("file:", "data:")) else None,
    )
    page.goto(html.as_uri())
    page.wait_for_function("video.readyState > 0")
    assert page.title() == "dri ve#1.csv – timeline"
    assert page.locator("#list b").all_inner_texts() == ["</script><b>"]
    # Nothing is wider than the window.
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    page.evaluate("video.play = () => Promise.resolve()")
    page.locator("#list button").click()
    assert page.evaluate("video.currentTime") == pytest.approx(0.4, abs=0.05)
    over = page.locator(".chart .u-over").first
    box = over.bounding_box()
    over.click(position={"x": box["width"] / 2, "y": 20})
    assert page.evaluate("video.currentTime") == pytest.approx((ROWS - 1) / 25 / 2, abs=0.05)
    page.locator(".lane button").click()
    assert page.evaluate("video.currentTime") == pytest.approx(0.4, abs=0.05)
    assert faults == []
    page.close()


def test_a_video_whose_name_is_not_utf_8_plays_or_is_named(chromium: Any, tmp_path: Path) -> None:
    video = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    clip = write_clip(tmp_path / "clip.mp4", frames=ROWS)
    try:
        clip.rename(video)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    html = tmp_path / "page.html"
    write_timeline_page(write_rows(tmp_path / "drive.csv"), html, video)
    page = chromium.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(html.as_uri())
    page.wait_for_function("video.readyState > 0")
    video.unlink()
    page.reload()
    page.wait_for_selector("#trouble:not([hidden])")
    assert page.inner_text("#trouble").startswith("caf%E9.mp4 cannot be played")
    assert faults == []
    page.close()


@pytest.mark.parametrize("video", [True, False])
def test_charts_shrink_with_the_window(chromium: Any, drive: Path, video: bool) -> None:
    """A phone is turned: no chart stays as wide as it was."""
    html = drive.with_suffix(".html")
    if not video:
        drive.with_suffix(".mp4").unlink()
    write_timeline_page(drive, html)
    page = chromium.new_page(viewport={"width": 844, "height": 390})
    page.goto(html.as_uri())
    page.wait_for_selector(".chart .u-over")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.scrollWidth === 390")
    widths = page.eval_on_selector_all(".chart canvas", "all => all.map((c) => c.offsetWidth)")
    assert len(widths) >= 2
    assert all(300 < width <= 390 for width in widths)
    page.close()
