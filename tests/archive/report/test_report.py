"""The page of an archive: what is in it, and what it does in a browser."""

from __future__ import annotations

import doctest
import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from roadseg.archive.drives import names
from roadseg.archive.ledger import Ledger, archive_rows, ledger_path
from roadseg.archive.report import page as writing_page
from roadseg.archive.report import totals, write_report
from roadseg.archive.report import write as writing
from roadseg.archive.report.digest import BINS, Digest, Digests, _of_classes
from roadseg.archive.report.page import ClipCard, Figures, page
from roadseg.archive.report.totals import Totals
from roadseg.archive.result import ClipResult
from roadseg.cli import main
from roadseg.core import labels
from roadseg.core.shipped import PACKAGE
from roadseg.media import thumbnails
from roadseg.media.gps.track import Fix
from tests.support.clips import write_clip
from tests.support.gps import write_gpx

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WHITE = "bicyclist"  # what the fake network makes of white; black is sky
FRAMES = 50


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive: a clip that turns white for its second half, a black one, a broken one."""
    folder = tmp_path_factory.mktemp("archive")
    clips = folder / "clips"
    clips.mkdir()
    grey = [0] * 25 + [255] * 25
    images = [np.full((48, 64, 3), each, np.uint8) for each in grey]
    write_clip(clips / "half <b>.mp4", images=images, options={"g": "5"})
    black = [np.zeros((48, 64, 3), np.uint8)] * FRAMES
    write_clip(clips / "night #1.mp4", images=black)
    (clips / "torn.mp4").write_bytes(b"no video")
    words = ["batch", str(clips), "--output", str(folder / "out"), "--backend", "fake"]
    words += ["--write", "overlay,masks,timeline", "--workers", "1", "--no-report"]
    words += ["--event", f"bright: {WHITE} > 50% for 0.2s", "--group", f"light={WHITE}"]
    assert main(words) == 3
    assert not (folder / "out" / "report.html").exists()
    return folder / "out"


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "out"))


def data_of(html: Path) -> dict[str, Any]:
    match = re.search(
        r'<script type="application/json" id="data">(.*?)</script>',
        html.read_text(encoding="utf-8"),
    )
    assert match is not None
    data: dict[str, Any] = json.loads(match[1])
    return data


def bar(data: dict[str, Any], clip: dict[str, Any], name: str) -> list[float]:
    number = [each["name"] for each in data["classes"]].index(name)
    return [data["digits"].index(each) / 63 for each in clip["bars"][str(number)]]


def test_the_page_has_what_the_ledger_and_the_files_say(archive: Path) -> None:
    made = write_report(archive)
    assert (made.path, made.clips, made.failed) == (archive / "report.html", 2, 1)
    data = data_of(made.path)
    half, night = data["clips"]
    assert (half["name"], half["frames"], half["duration"]) == ("half <b>", FRAMES, 2.0)
    assert half["video"] == "half%20%3Cb%3E/overlay.mp4"
    assert night["video"] == "night%20%231/overlay.mp4"
    assert half["picture"].startswith("data:image/jpeg;base64,/9j/")
    assert data["events"] == ["bright"]
    assert half["events"] == [[0, 1.0, pytest.approx(1.96)]]
    assert "events" not in night
    assert bar(data, half, WHITE) == [0.0] * (BINS // 2) + [1.0] * (BINS // 2)
    assert bar(data, half, "sky") == [1.0] * (BINS // 2) + [0.0] * (BINS // 2)
    assert [each["name"] for each in data["classes"]] == ["sky", WHITE], "a group is none"

    text = made.path.read_text(encoding="utf-8")
    assert "half <b>" not in text
    assert re.search(r"<b>2</b><span>clips done", text)
    assert re.search(r"<b>4 s</b><span>of driving", text)
    assert re.search(r"sky <b>75.0&thinsp;%</b>", text)
    assert re.search(rf"{WHITE} <b>25.0&thinsp;%</b>", text)
    assert "torn.mp4 is not a video that FFmpeg can read" in text
    assert "GPS" not in text
    assert "Bars show the classes" in text


def test_what_a_group_leaves_of_a_class_is_shown_only_where_it_is_known() -> None:
    """Columns of names that the user gave to others say nothing of the classes of these names."""
    shares = {name: np.array([0.25]) for name in ("road", "tree", "pole")}
    groups = {"tree": {"pole"}, "road": {"road", "standing"}}
    assert set(_of_classes(shares, groups)) == {"pole"}
    del groups["tree"]
    known = _of_classes({**shares, "road": np.array([0.75])}, groups)
    assert set(known) == {"road", "tree", "pole"}
    assert all(float(share[0]) == 0.25 for share in known.values())


@pytest.mark.parametrize("sky", [f"sky=sky,{WHITE}", "sky=sky,people"])
def test_a_group_called_like_a_class_takes_no_class_away(tmp_path: Path, sky: str) -> None:
    images = [np.full((48, 64, 3), each, np.uint8) for each in [0] * 25 + [255] * 25]
    write_clip(tmp_path / "half.mp4", images=images)
    words = ["batch", str(tmp_path / "half.mp4"), "--output", str(tmp_path / "out"), "--no-report"]
    words += ["--backend", "fake", "--write", "timeline", "--workers", "1"]
    assert main([*words, "--group", sky, "--group", "tree=pole,people"]) == 0
    data = data_of(write_report(tmp_path / "out").path)
    (half,) = data["clips"]
    assert bar(data, half, WHITE) == [0.0] * (BINS // 2) + [1.0] * (BINS // 2)
    assert bar(data, half, "sky") == [1.0] * (BINS // 2) + [0.0] * (BINS // 2)
    assert [each["name"] for each in data["classes"]] == ["sky", WHITE]


def test_the_page_needs_no_network(archive: Path) -> None:
    text = write_report(archive).path.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:http|//)|@import|url\(""", text)


def test_the_package_brings_its_templates() -> None:
    names = {path.name for path in (PACKAGE / "archive" / "report" / "templates").iterdir()}
    assert names == {"report.html", "report.css", "report.js"}


def test_shares_come_from_masks_where_there_is_no_timeline(archive: Path) -> None:
    for timeline in archive.glob("*/timeline.parquet"):
        timeline.unlink()
    with Ledger(ledger_path(archive)) as ledger:
        for row in list(ledger.rows()):
            outputs = tuple(each for each in row.outputs if each.kind != "timeline")
            ledger.put(replace(row, outputs=outputs))
    data = data_of(write_report(archive).path)
    half = data["clips"][0]
    assert bar(data, half, WHITE) == [0.0] * (BINS // 2) + [1.0] * (BINS // 2)
    assert half["events"] == [[0, 1.0, pytest.approx(1.96)]], "from the file of events"


def test_files_that_are_gone_are_noted_and_the_rest_is_shown(archive: Path) -> None:
    for path in archive.glob("half*/*"):
        path.unlink()
    half, night = data_of(write_report(archive).path)["clips"]
    assert [note.partition(" (")[0] for note in half["notes"]] == [
        "its timeline cannot be read",
        "its masks cannot be read",
        "its events cannot be read",
        "it has no picture here",
    ]
    assert half["frames"] == FRAMES
    assert "notes" not in night


def test_what_could_not_be_found_out_is_looked_for_again(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk with the clips was not there, and the package for timelines was not installed."""
    disk = tmp_path / "disk"
    with Ledger(ledger_path(archive)) as ledger:
        rows = [row for row in ledger.rows() if row.state == "done"]
        for row in rows:
            outputs = tuple(each for each in row.outputs if each.kind in ("timeline", "events"))
            ledger.put(replace(row, clip=str(disk / Path(row.clip).name), outputs=outputs))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        before = data_of(write_report(archive).path)["clips"][0]
    assert {"picture", "bars"}.isdisjoint(before)
    assert len(before["notes"]) == 1

    disk.mkdir()
    for row in rows:
        shutil.copy(row.clip, disk)
    data = data_of(write_report(archive).path)
    after = data["clips"][0]
    assert after["picture"]
    assert bar(data, after, WHITE)[-1] == 1.0
    assert "notes" not in after


def test_tracks_inside_of_clips_are_looked_for_once_their_package_is_there(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixes = [Fix(48 + i / 10_000, 11, float(i)) for i in range(61)]
    monkeypatch.setattr("roadseg.media.gps.recorded.is_installed", lambda _name: False)
    assert "way" not in data_of(write_report(archive).path)["clips"][1]
    monkeypatch.setattr("roadseg.media.gps.recorded.is_installed", lambda _name: True)
    monkeypatch.setattr("roadseg.media.gps.clip.read_recorded", lambda _clip: fixes)
    assert data_of(write_report(archive).path)["clips"][1]["way"] == "0.7 km"
    monkeypatch.setattr("roadseg.media.gps.recorded.is_installed", lambda _name: False)
    monkeypatch.setattr("roadseg.media.gps.clip.read_recorded", None)
    assert data_of(write_report(archive).path)["clips"][1]["way"] == "0.7 km", "it stays known"


def test_names_that_are_not_unicode(archive: Path, tmp_path: Path) -> None:
    odd = Path(shutil.copytree(archive, tmp_path / "caf\udce9"))
    html = write_report(odd).path
    assert html.parent == odd
    assert "caf\\udce9" in html.read_text(encoding="utf-8")


def test_a_second_report_looks_only_into_clips_that_have_changed(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_report(archive).path.read_bytes()
    asked: list[str] = []
    make = Digests._make

    def remember(self: Digests, result: ClipResult, picture: Path) -> Any:
        asked.append(result.name)
        return make(self, result, picture)

    monkeypatch.setattr(Digests, "_make", remember)
    assert write_report(archive).path.read_bytes() == first
    assert asked == []

    with Ledger(ledger_path(archive)) as ledger:
        row = ledger.get("night #1")
        assert row is not None
        ledger.put(replace(row, identity="another"))
    write_report(archive)
    assert asked == ["night #1"]
    # Two of each: what was kept of the clip before is gone.
    assert len(list((archive / ".report").iterdir())) == 4

    (kept,) = (
        path
        for path in (archive / ".report").glob("*.json")
        if "bright" in path.read_text(encoding="utf-8")
    )
    kept.write_text("{}x")
    write_report(archive)
    assert asked == ["night #1", "half <b>"]


def test_pictures_of_many_clips_lie_beside_the_page(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MOST_INSIDE", 1)
    for clip in data_of(write_report(archive).path)["clips"]:
        assert (archive / clip["picture"]).read_bytes().startswith(b"\xff\xd8")


def test_what_is_to_be_hidden_is_not_shown_from_the_source(archive: Path) -> None:
    """Without an overlay a thumbnail shows the clip itself, but for one that was blurred."""
    with Ledger(ledger_path(archive)) as ledger:
        for row in list(ledger.rows()):
            options = json.loads(row.options)
            options["reading"]["blur"] = ["car"] if row.name == "night #1" else []
            outputs = tuple(each for each in row.outputs if each.kind != "overlay")
            ledger.put(replace(row, outputs=outputs, options=json.dumps(options)))
    half, night = data_of(write_report(archive).path)["clips"]
    assert half["picture"]
    assert half["video"].endswith("clips/half%20%3Cb%3E.mp4")
    assert "picture" not in night
    assert not night.get("video")


def test_a_class_of_other_names_has_one_colour_in_the_key_and_in_the_bars() -> None:
    totals, cards = Totals(), []
    for name, shares in (("a", {"track": 0.3, "field": 0.2}), ("b", {"field": 0.9, "sky": 0.1})):
        row = ClipResult(name, name, "done", duration_s=1.0)
        digest = Digest(shares, {each: [9] * BINS for each in shares})
        totals.add(row, digest)
        cards.append(ClipCard(row, digest, "", "", 1))
    html = page(Figures("farm", totals, cards, []))
    key = re.findall(r'<li><i style="background:(rgb\([^)]*\))"></i>([a-z]+) ', html)
    data = json.loads(re.findall(r'id="data">(.*?)</script>', html)[0])
    assert {each["name"]: each["colour"] for each in data["classes"]} == {
        name: colour for colour, name in key
    }
    assert len({colour for colour, _ in key}) == 3


def test_distances_are_those_of_tracks_beside_the_clips(archive: Path, made: Path) -> None:
    write_report(archive)
    # It came later. A minute north, at 11 m a second.
    track = made.parent / "clips" / "night #1.gpx"
    try:
        write_gpx(track, [48 + i / 10_000 for i in range(61)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Digests, "_make", None)
            html = write_report(archive).path
        half, night = data_of(html)["clips"]
        assert night["way"] == "0.7 km"
        assert "way" not in half
        assert "<b>0.7 km</b><span>by GPS, 1 of the clips" in html.read_text(encoding="utf-8")

        write_gpx(track, [48 + i / 10_000 for i in range(181)])
        assert data_of(write_report(archive).path)["clips"][1]["way"] == "2.0 km"

        track.write_text("no XML")
        night = data_of(write_report(archive).path)["clips"][1]
        assert "way" not in night
        assert night["notes"] == [
            f"its way is not known ({track} is not GPX (syntax error: line 1, column 0))"
        ]
    finally:
        track.unlink()
    night = data_of(write_report(archive).path)["clips"][1]
    assert {"way", "notes"}.isdisjoint(night)


def test_what_was_known_of_a_clip_that_is_gone_stays_known(archive: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "gone.mp4")
    write_gpx(clip.with_suffix(".gpx"), [48 + i / 10_000 for i in range(61)])
    with Ledger(ledger_path(archive)) as ledger:
        row = ledger.get("night #1")
        assert row is not None
        other = str(tmp_path / "other.mp4")
        shutil.copy(clip, other)
        shutil.copy(clip.with_suffix(".gpx"), tmp_path / "other.gpx")
        ledger.put(replace(row, clip=str(clip), parts=(str(clip), other)))
    assert data_of(write_report(archive).path)["clips"][1]["way"] == "1.3 km"
    clip.unlink()
    assert data_of(write_report(archive).path)["clips"][1]["way"] == "1.3 km"


def test_a_drive_says_of_how_many_files_it_is(archive: Path) -> None:
    with Ledger(ledger_path(archive)) as ledger:
        for part in ("b", "c"):
            ledger.put(ClipResult(f"{part}.mp4", part, "skipped", within="night #1"))
    made = write_report(archive)
    half, night = data_of(made.path)["clips"]
    assert night["files"] == 3
    assert "files" not in half
    assert made.clips == 2


def test_the_command_and_batch_write_it(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(archive)]) == 0
    assert capsys.readouterr().out == f"{archive / 'report.html'}: 2 clips, 1 failed\n"
    assert main(["report", str(archive / "none")]) == 4
    assert "there is no ledger at" in capsys.readouterr().err


def test_batch_writes_it_in_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "a.mp4")
    words = ["batch", str(clip), "--backend", "fake", "--workers", "1", "--output"]
    assert main([*words, str(tmp_path / "out")]) == 0
    assert f"shown by {tmp_path / 'out' / 'report.html'}" in capsys.readouterr().out
    html = tmp_path / "out" / "report.html"
    assert len(data_of(html)["clips"]) == 1
    # Nothing is known of classes: only the overlay was written.
    assert "Bars show" not in html.read_text(encoding="utf-8")


def test_the_picture_is_of_the_first_event(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    whole = thumbnails.thumbnails

    def remember(path: Path, times_s: list[float], width: int = 240) -> Any:
        times.extend(times_s)
        return whole(path, times_s, width)

    monkeypatch.setattr("roadseg.archive.report.digest.thumbnails", remember)
    write_report(archive)
    assert times == pytest.approx([1.48, 1.0])


@pytest.mark.parametrize("module", [names, totals, writing_page, labels])
def test_examples(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def opened(archive: Path, browser: Any) -> Iterator[Any]:
    """The page of 150 clips, in a browser."""
    (one, _other, _broken) = archive_rows(archive)
    with Ledger(ledger_path(archive)) as ledger:
        for number in range(148):
            ledger.put(replace(one, name=f"more/{number}", identity=str(number)))
    # All have the events of the first; those of `walker` are rarer.
    for number, path in enumerate(sorted(archive.glob("half*/events.jsonl"))):
        assert number == 0
        line = json.loads(path.read_text(encoding="utf-8"))
        lines = [{**line, "name": "walker"}, line, line]
        path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    html = write_report(archive).path
    page = browser.new_context(viewport={"width": 390, "height": 800}).new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(html.as_uri())
    yield page
    page.close()
    assert errors == []


def cards(page: Any) -> list[str]:
    return [str(each) for each in page.locator("#list > li > h3").all_inner_texts()]


def test_search_by_name_and_event(opened: Any) -> None:
    assert opened.inner_text("#count") == "150 of 150 clips"
    opened.fill("#name", "NIGHT")
    opened.wait_for_function("document.querySelectorAll('#list > li').length === 1")
    assert cards(opened) == ["night #1"]
    opened.fill("#name", "")
    opened.select_option("#event", label="walker (149)")
    opened.wait_for_function("document.querySelector('#count').textContent.startsWith('149')")
    assert opened.inner_text("#count") == "149 of 150 clips, 149 events"
    texts = opened.locator("#list .events").first.inner_text()
    assert texts == "walker 0:01"
    opened.select_option("#event", label="bright (298)")
    opened.wait_for_function("document.querySelector('#count').textContent.includes('298')")
    first = opened.locator("#list .events a").first
    assert first.get_attribute("href").endswith("/overlay.mp4#t=0.0")


def test_clips_come_as_one_scrolls(opened: Any) -> None:
    assert len(cards(opened)) < 150
    for _ in range(5):
        opened.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        opened.wait_for_timeout(100)
    opened.wait_for_function("document.querySelectorAll('#list > li').length === 150")
    assert opened.locator("#more").is_hidden()
    assert len(set(cards(opened))) == 150


def test_it_fits_a_phone_and_a_click_on_the_bar_plays_from_there(opened: Any) -> None:
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    bar_of_first = opened.locator("#list .bar").first
    box = bar_of_first.bounding_box()
    bar_of_first.hover(position={"x": box["width"] / 2, "y": 5})
    assert bar_of_first.get_attribute("href").endswith("#t=1.0")


def test_names_and_labels_for_who_does_not_see_it(opened: Any) -> None:
    snapshot = opened.locator("body").aria_snapshot()
    assert 'searchbox "Name"' in snapshot
    assert 'link "Play half <b>"' in snapshot
    assert re.search(r'img "half <b>: (sky 50%, bicyclist 50%|bicyclist 50%, sky 50%)"', snapshot)
    assert "status: 150 of 150 clips" in snapshot
