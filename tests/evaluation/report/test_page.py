"""The page as a whole: its files, its words, and data of every kind."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg import __version__
from roadseg.backends.fake import FakeBackend
from roadseg.core.errors import SinkError
from roadseg.core.labels import SUNRGBD
from roadseg.core.types import Image
from roadseg.evaluation.evaluate import Scores, evaluate_backend
from roadseg.evaluation.flicker import Flicker
from roadseg.evaluation.report.report import Report
from tests.support.report import Frames, frame, half, read_page, write_report


def test_the_page_is_whole_and_its_pictures_exist(tmp_path: Path) -> None:
    page = write_report(tmp_path / "a" / "report", names=["one.png", "two.png", "three<.png"])
    assert len(page.files) == len(set(page.files)) == 3 * 4
    assert page.links == page.files  # a picture leads to itself, at its own size
    for file in page.files:
        picture = cv2.imread(str(tmp_path / "a/report" / file))
        assert picture is not None
        assert picture.shape == (64, 96, 3)
    assert sorted(p.name for p in (tmp_path / "a/report").iterdir()) == ["frames", "index.html"]
    text = re.sub(r"\s+", " ", page.text.replace("\u2009", " "))
    assert "fake <&> 1.0" in text
    assert "three<.png" in text
    assert "a<b.bin, SHA-256 0123abcd" in text
    assert "/data/camvid, split val" in text
    # The square's share of the sky's pixels, over three frames: 4, 10 and 16 rows of 16 columns.
    share = 100 * 30 * 16 / (3 * 64 * 48)
    assert f"{share:.0f} % of sky is labelled building" in text
    assert "This curve needs class scores" in text
    assert "on the backend openvino or torch" in text
    assert "Flicker" not in text


@pytest.mark.parametrize(("frames", "worst", "best"), [(1, 1, 0), (4, 3, 1), (7, 3, 3)])
def test_no_frame_is_among_the_worst_and_the_best(
    tmp_path: Path, frames: int, worst: int, best: int
) -> None:
    page = write_report(tmp_path, frames=frames)
    shown = [file.split("/")[1].split("-")[0] for file in page.files]
    assert (shown.count("worst"), shown.count("best")) == (4 * worst, 4 * best)
    assert ("Best frames" in page.text) == (best > 0)
    assert f"{frames}{'frame' if frames == 1 else 'frames'}\n" in page.text


def test_the_page_says_which_roadseg_wrote_it_and_when(tmp_path: Path) -> None:
    page = write_report(tmp_path)
    assert re.search(
        rf"Written by roadseg {re.escape(__version__)} eval --report, \d{{4}}-\d\d-\d\d "
        r"\d\d:\d\d UTC\. Void is not counted anywhere\.$",
        page.text.strip(),
    )


def test_the_page_of_a_video_shows_its_flicker(tmp_path: Path) -> None:
    page = write_report(tmp_path, flicker=Flicker())
    # Each frame after the first changes six rows of the square more.
    share = 100 * 2 * 6 * 16 / (2 * 64 * 96)
    assert f"{share:.2f}\u2009% of the pixels whose true class did not change" in page.text
    assert "frame 2" in page.text


def test_an_observer_with_scores_draws_the_curve(tmp_path: Path) -> None:
    report = Report(2)
    scores = np.zeros((11, 60, 80), np.float32)
    scores[0] = 2.0
    for index in range(2):
        report(frame(index, half(0, 0), half(0, 1), scores))
    figures = evaluate_backend(FakeBackend((64, 96)), Frames())
    page = read_page(report.write(tmp_path, "x", [], figures))
    sure = np.exp(2) / (np.exp(2) + 10)
    assert f"Expected calibration error over 15 bins: {100 * (0.5 - sure):.2f}" in page.text
    assert "too modest" in page.text


def test_frames_that_are_all_right_or_all_void_make_a_page(tmp_path: Path) -> None:
    report = Report(2)
    report(frame(0, half(0, 1), half(0, 1)))
    report(frame(1, half(0, 1), half(11, 11)))
    scores = evaluate_backend(FakeBackend((64, 96)), Frames())
    page = read_page(report.write(tmp_path, "x", [], scores))
    assert len(page.files) == 4
    assert "nan" not in page.text.lower()
    assert "No pixel is wrong." in page.text


def test_large_frames_are_shown_smaller(tmp_path: Path) -> None:
    report = Report(1)
    true = half(0, 1, (600, 1200))
    report(frame(0, true, true))
    scores = evaluate_backend(FakeBackend((64, 96)), Frames())
    report.write(tmp_path, "x", [], scores)
    picture: Image | None = cv2.imread(str(tmp_path / "frames/worst-1-errors.jpg"))
    assert picture is not None
    assert picture.shape == (480, 960, 3)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    report = Report(1)
    report(frame(0, half(0, 1), half(0, 1)))
    scores = evaluate_backend(FakeBackend((64, 96)), Frames())
    with pytest.raises(SinkError) as error:
        report.write(tmp_path / "file", "x", [], scores)
    assert str(error.value) == (
        f"cannot write {tmp_path}/file (Not a directory): free some space, or choose another folder"
    )


def test_classes_of_another_data_set(tmp_path: Path) -> None:
    from roadseg.core.labels import ClassSet

    classes = ClassSet("farm", ("wheat", "hay & straw"), ((255, 255, 0), (90, 60, 30)))
    report = Report(2, classes=classes)
    true = half(0, 1)
    true[50:] = 2
    report(frame(0, half(0, 0), true))
    report(frame(1, half(0, 1), half(2, 2)))
    nan = float("nan")
    scores = Scores(2, 0.5, 0.5, 0.25, 0.5, 0.5, (0.5, 0.0), (1.0, 0.0), (0.7, nan))
    page = read_page(report.write(tmp_path, "farm", [], scores))
    assert "100\u2009% of hay & straw is labelled wheat" in page.text
    assert "rgb(90 60 30)" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_many_classes_have_the_width_of_the_page(tmp_path: Path) -> None:
    report = Report(1, classes=SUNRGBD)
    true = half(0, 36, (40, 400))
    predicted = true.copy()
    predicted[0, :40] = 5  # one pixel in two hundred: half a percent, which is no number here
    predicted[:2, 200:] = 6
    report(frame(0, predicted, true))
    nan = (float("nan"),) * 37
    scores = Scores(1, 0.9, 0.9, 0.9, 0.9, 0.9, nan, nan, nan, SUNRGBD.names)
    report.write(tmp_path, "x", [], scores)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert '<div class="one"><section><h2>Classes</h2>' in text
    assert 'title="wall labelled sofa: 0.50 %"></td>' in text
    assert 'title="bag labelled table: 5.00 %">5</td>' in text
