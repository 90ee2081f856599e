"""`roadseg run --doubt`: of a network that is sure of black pixels and torn where blue is full."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend, FakeScoringBackend
from roadseg.cli import main
from roadseg.core.backend import ScoringBackend
from roadseg.loading.choice import Choice
from roadseg.media.sources.opening import open_source

SURE = (0, 90, 90)
TORN = (255, 90, 90)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six pictures: road below sky, and from the fourth on the network is torn everywhere."""
    folder = tmp_path / "drive"
    folder.mkdir()
    for index in range(6):
        image_bgr = np.full((64, 96, 3), SURE if index < 3 else TORN, np.uint8)
        image_bgr[:32, :, 1] = 10
        cv2.imwrite(str(folder / f"{index}.png"), image_bgr)
    return folder


def run(source: Path, *options: object) -> int:
    plain = ["run", str(source), "--backend", "fake", "--size", "64x96", "--no-show"]
    return main([*plain, *map(str, options)])


def run_both(first: Path, second: Path, *options: object) -> int:
    sources = ["--source", str(first), "--source", str(second)]
    plain = ["run", *sources, "--backend", "fake", "--size", "64x96", "--no-show"]
    return main([*plain, *map(str, options)])


def doubts(path: Path) -> list[tuple[float, int]]:
    with path.open(newline="") as file:
        return [(float(row["doubt"]), int(row["doubtful"])) for row in csv.DictReader(file)]


@pytest.mark.parametrize("smooth", [[], ["--smooth"]])
def test_the_number_and_the_flag_of_each_frame(
    source: Path, tmp_path: Path, smooth: list[str]
) -> None:
    stats, rows = tmp_path / "run.json", tmp_path / "rows.csv"
    options = ["--doubt", "--timeline", rows, "--stats-json", stats, *smooth]
    assert run(source, *options) == 0
    read = doubts(rows)
    assert [flag for _, flag in read] == [0, 0, 0, 1, 1, 1]
    assert all(number < 0.01 for number, _ in read[:3])
    assert all(number == pytest.approx(1, abs=0.01) for number, _ in read[3:])
    road = json.loads(stats.read_text(encoding="utf-8"))["road"]
    assert road["doubtful"] == 0.5
    assert road["doubt"] == pytest.approx(0.5, abs=0.01)


def test_a_limit_of_ones_own(source: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    assert run(source, "--doubt-limit", "0.99999", "--timeline", rows) == 0
    assert [flag for _, flag in doubts(rows)] == [0] * 6


def test_without_it_the_columns_are_empty_and_no_scores_are_made(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeScoringBackend, "infer_scores", None)
    rows, stats = tmp_path / "rows.csv", tmp_path / "run.json"
    assert run(source, "--timeline", rows, "--stats-json", stats) == 0
    with rows.open(newline="") as file:
        assert {(row["doubt"], row["doubtful"]) for row in csv.DictReader(file)} == {("", "")}
    assert "doubt" not in json.loads(stats.read_text(encoding="utf-8"))["road"]
    assert not isinstance(FakeBackend((32, 32)), ScoringBackend)


def test_the_view_shows_where(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(source, "--output", out, "--view", "doubt", "--no-hud") == 0
    pictures = [cv2.imread(str(out / f"{index}.png")).astype(int) for index in range(6)]
    assert (pictures[0].max(axis=2) == pictures[0].min(axis=2)).all()
    assert (pictures[5][..., 2] > pictures[5][..., 0] + 80).all()


def test_labels_are_the_same_with_and_without(source: Path, tmp_path: Path) -> None:
    for name, options in {"with": ["--doubt"], "without": []}.items():
        assert run(source, "--save-masks", tmp_path / name, *options) == 0
    for path in (tmp_path / "with").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "without" / path.name).read_bytes()


@pytest.mark.parametrize("limit", ["0", "1", "-1", "nan"])
def test_limits_that_cannot_be(
    source: Path, limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(source, "--doubt-limit", limit) == 2
    assert re.fullmatch(
        r"error: --doubt-limit \S+ is not between 0 and 1: use for example --doubt-limit 0.12\n",
        capsys.readouterr().err,
    )


def test_a_calm_temperature_makes_a_sure_network_doubt(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_doubt(temperature: float) -> float:
        monkeypatch.setattr(Choice, "temperature", temperature)
        rows = tmp_path / f"{temperature}.csv"
        assert run(source, "--doubt", "--timeline", rows) == 0
        return doubts(rows)[0][0]

    assert first_doubt(1.0) < 0.01
    assert first_doubt(8.0) > 0.3


def test_several_sources_are_doubted_each_on_its_own(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "calm"
    other.mkdir()
    for index in range(4):
        other.joinpath(f"{index}.png").write_bytes((source / "0.png").read_bytes())
    alone, together, out = tmp_path / "alone.csv", tmp_path / "rows", tmp_path / "out"
    assert run(source, "--doubt", "--timeline", alone) == 0
    assert run_both(source, other, "--doubt", "--timeline", together, "--output", out) == 0
    assert doubts(together / "drive.csv") == doubts(alone)
    assert doubts(together / "calm.csv") == doubts(alone)[:1] * 4


def test_the_view_of_several_sources_shows_where(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(source, other)
    out = tmp_path / "out"
    assert run_both(source, other, "--view", "doubt", "--output", out, "--no-hud") == 0
    for name in ("drive", "other"):
        with open_source(str(next(out.glob(f"{name}*.mp4")))) as film:
            pictures = [frame.image_bgr.astype(int) for frame in iter(film.read, None)]
        assert np.ptp(pictures[0], axis=2).max() < 25
        assert (pictures[5][8:-8, 8:-8, 2] > pictures[5][8:-8, 8:-8, 0] + 60).all()
