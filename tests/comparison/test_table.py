"""Tables to the letter, charts, and the rows on disk."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.comparison.chart import chart_png
from roadseg.comparison.paper import table_models
from roadseg.comparison.rows import Row, RowFile
from roadseg.comparison.table import Comparison, Failure
from roadseg.core.errors import BackendError, ModelError, UsageError

BASIC = Row(
    model="segnet-basic",
    global_accuracy=83.04,
    class_accuracy=61.96,
    miou=48.25,
    bf=36.1,
    parameters_m=1.416075,
    forward_ms=7.04,
    backward_ms=15.06,
    training_mb=412.4,
    inference_mb=201.6,
    model_mb=5.683,
    memory_by="cuda",
    images=101,
    origin="recipe paper, epoch 120 of 300",
    training_minutes=12.34,
    quick="",
)
UNET = dataclasses.replace(
    BASIC, model="unet", bf=None, origin="mine/unet/best.safetensors", training_minutes=None
)
TWO = Comparison("Two networks", "camvid val, 360x480, a GPU", True, (BASIC, UNET))


def compared(*rows: Row) -> Comparison:
    return Comparison("x", "here", True, rows)


def test_markdown_to_the_letter() -> None:
    text = TWO.table
    lines = [
        "# Two networks",
        "",
        "| network                        |    G |    C | mIoU |   BF | params M | forward ms "
        "| backward ms | training MB | inference MB | model MB |",
        "| ------------------------------ | ---: | ---: | ---: | ---: | -------: | ---------: "
        "| ----------: | ----------: | -----------: | -------: |",
        "| segnet-basic                   | 83.0 | 62.0 | 48.2 | 36.1 |    1.416 |        7.0 "
        "|        15.1 |         412 |          202 |      5.7 |",
        "|   paper, table 1: SegNet-Basic | 82.7 | 62.0 | 47.7 | 35.8 |    1.425 |       52.6 "
        "|           - |           - |            - |        - |",
        "| unet                           | 83.0 | 62.0 | 48.2 |    - |    1.416 |        7.0 "
        "|        15.1 |         412 |          202 |      5.7 |",
        "",
        "Ours: camvid val, 360x480, a GPU; FP32, medians. G, C, mIoU and BF in percent. Times and "
        "memory are for one image, training memory for 4, with weights and gradients and without "
        "the optimiser's state. Memory is the allocator's peak. Model: the weights' file in FP32.",
        "Paper: CamVid's 233 test frames, 360x480, NVIDIA Titan.",
        "",
        "Weights:",
        "- segnet-basic: recipe paper, epoch 120 of 300, 12.3 minutes; 101 frames scored",
        "- unet: mine/unet/best.safetensors; 101 frames scored",
        "",
    ]
    assert text.split("\n") == lines


def test_terminal_text_to_the_letter() -> None:
    text = TWO.for_terminal(60)
    lines = [
        "Two networks",
        "",
        "network            G     C  mIoU    BF  params M  forward ms",
        "segnet-basic    83.0  62.0  48.2  36.1     1.416         7.0",
        "  in the paper  82.7  62.0  47.7  35.8     1.425        52.6",
        "unet            83.0  62.0  48.2     -     1.416         7.0",
        "",
        "No room for backward ms, training MB, inference MB, model",
        "MB: the files have all columns.",
        "",
        "Ours: camvid val, 360x480, a GPU; FP32, medians. G, C, mIoU",
        "and BF in percent. Times and memory are for one image,",
        "training memory for 4, with weights and gradients and",
        "without the optimiser's state. Memory is the allocator's",
        "peak. Model: the weights' file in FP32.",
        "Paper: CamVid's 233 test frames, 360x480, NVIDIA Titan.",
        "",
    ]
    assert text.split("\n") == lines


@pytest.mark.parametrize("table", [1, 3, 6])
@pytest.mark.parametrize("width", [72, 80, 100, 140])
def test_a_table_fits_the_terminal(table: int, width: int) -> None:
    rows = [dataclasses.replace(BASIC, model=model) for model in table_models(table)]
    words = "the loss is nan at step 3, which is said in very many words " * 3
    result = Comparison(
        "x", "camvid val, a GPU", True, tuple(rows), (Failure("unet", ModelError, words),)
    )
    text = result.for_terminal(width)
    assert max(len(line) for line in text.split("\n")) <= width
    assert all(f"\n{row.model} " in text for row in rows)
    shown = re.split("  +", text.split("\n")[2])[1:]
    _, _, gone = text.replace("\n", " ").partition("No room for ")
    hidden = gone.partition(":")[0].split(", ") if gone else []
    headings = [heading.strip() for heading in result.table.split("\n")[2].split("|")]
    assert sorted(shown + hidden) == sorted(headings[2:-1]), "every column is shown or named"
    assert "mIoU" in shown
    assert (hidden == []) == (width == 140)


def test_the_narrowest_terminal_still_shows_miou() -> None:
    lines = compared(BASIC).for_terminal(10).split("\n")
    assert lines[2:4] == ["network         mIoU", "segnet-basic    48.2"]


def test_networks_that_could_not_be_measured_are_named() -> None:
    failures = (Failure("fcn-8s", BackendError, "too little memory"),)
    text = Comparison("x", "here", True, (UNET,), failures).table
    assert "\nNot measured:\n- fcn-8s: too little memory\n\nWeights:\n- unet: " in text
    alone = Comparison("x", "here", True, (), failures).table
    assert alone.startswith("# x\n\n| network |  G |  C | mIoU | BF |")
    assert "\n| ------- | -: | -: | ---: | -: |" in alone
    assert alone.endswith("\n\nNot measured:\n- fcn-8s: too little memory\n")


def test_a_quick_table_says_so() -> None:
    quick = "quick: 4 steps, 8 frames scored, not a result"
    result = compared(dataclasses.replace(UNET, quick=quick))
    text = result.table
    assert text.startswith(f"# x\n\n**{quick}**\n\n| network      |")
    assert "\n| unet (quick) |" in text
    shown = result.for_terminal(100)
    assert shown.startswith(f"x\n\n{quick}\n\nnetwork  ")
    assert "\nunet (quick)  " in shown


def test_other_classes_than_camvids_have_no_figures_in_the_paper() -> None:
    result = Comparison("x", "sunrgbd val", False, (BASIC,))
    text = result.table
    assert "aper" not in text.replace("recipe paper", "")
    [line] = csv.DictReader(io.StringIO(result.csv))
    assert (line["miou"], line["paper_miou"]) == ("48.25", "")


def test_csv_gives_back_what_was_measured() -> None:
    first, second = csv.DictReader(io.StringIO(TWO.csv))
    assert first["model"] == "segnet-basic"
    assert float(first["miou"]) == 48.25
    assert (first["paper_miou"], first["paper_tables"], first["paper_bf"]) == ("47.7", "1", "35.78")
    assert (first["paper_backward_ms"], first["quick"]) == ("", "")
    assert (second["bf"], second["paper_miou"], second["training_minutes"]) == ("", "", "")
    assert second["origin"] == "mine/unet/best.safetensors"


QUICK = dataclasses.replace(UNET, quick="quick: 4 steps, 8 frames scored, not a result")


@pytest.mark.parametrize(
    "rows", [[BASIC, UNET], [dataclasses.replace(UNET, miou=None)], [BASIC, QUICK] * 4]
)
@pytest.mark.parametrize("paper", [True, False])
def test_chart(rows: list[Row], paper: bool) -> None:
    png = chart_png(Comparison("Networks", "camvid val, 360x480, a GPU", paper, tuple(rows)))
    assert png is not None
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape[:2] == (int(130 * (2.1 + 0.52 * len(rows))), 1560)
    # The paper's grey diamonds are there only where the paper is shown and has the network;
    # grey lines are thinner than five pixels.
    grey = (picture == (0xA6, 0x97, 0x8B)).all(axis=2).astype(np.uint8)
    diamonds = cv2.erode(grey, np.ones((5, 5), np.uint8)).any()
    assert diamonds == (paper and any(row.model == "segnet-basic" for row in rows))
    red = (picture == (0x1E, 0x26, 0xB3)).all(axis=2).any()
    assert red == any(row.quick for row in rows)


def test_rows_survive_and_know_how_they_came_about(tmp_path: Path) -> None:
    rows = RowFile(tmp_path, tmp_path)
    rows.keep(BASIC, {"size_hw": (360, 480), "seed": 0})
    rows.keep(UNET, {"size_hw": (360, 480), "seed": 0})
    again = RowFile(tmp_path, tmp_path)
    assert again.find("segnet-basic", {"size_hw": (360, 480), "seed": 0}) == BASIC
    assert again.find("segnet-basic", {"size_hw": (360, 480), "seed": 1}) is None
    assert again.find("segnet", {"size_hw": (360, 480), "seed": 0}) is None
    better = dataclasses.replace(BASIC, miou=50.0)
    again.keep(better, {"seed": 1})
    last = RowFile(tmp_path, tmp_path)
    assert last.find("segnet-basic", {"seed": 1}) == better
    assert last.find("unet", {"size_hw": (360, 480), "seed": 0}) == UNET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"rows": []}',
        '{"data": "x", "rows": [{}]}',
        '{"data": "x", "rows": [{"row": {"model": 1}}]}',
    ],
)
def test_damaged_rows(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(UsageError) as error:
        RowFile(tmp_path, tmp_path)
    assert str(error.value) == (
        f"{tmp_path}/rows.json is damaged: delete it, or choose another folder"
    )


def test_rows_and_runs_are_about_one_data_set(tmp_path: Path) -> None:
    # The runs beside the rows would go on, whatever they had been trained on.
    RowFile(tmp_path / "out", tmp_path / "a").claim()
    RowFile(tmp_path / "out", tmp_path / "x/../a").claim()
    with pytest.raises(UsageError) as error:
        RowFile(tmp_path / "out", tmp_path / "b")
    assert str(error.value) == (
        f"{tmp_path}/out compares networks on {tmp_path}/a: give that as data, or choose "
        "another folder"
    )
