"""`roadseg compare`: costs by hand, tables to the letter, and a comparison that goes on."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from roadseg import cli
from roadseg.comparison import network as module
from roadseg.comparison.chart import chart_png
from roadseg.comparison.cost import (
    TRAINING_BATCH,
    LiveBytes,
    check_size,
    measure_cost,
)
from roadseg.comparison.paper import TABLES, paper_figures, table_models
from roadseg.comparison.rows import Row, RowFile
from roadseg.comparison.run import Comparison, ComparisonPlan, choose_models, compare
from roadseg.comparison.table import csv_text, markdown, terminal_text
from roadseg.core.errors import BackendError, ModelError, RoadsegError, SinkError, UsageError
from roadseg.models import COMPARISON_NAMES, MODEL_NAMES, build_model, save_weights
from roadseg.training.loop import TrainingResult
from roadseg.training.recipes import Recipe, load_recipe
from roadseg.training.spec import RunSpec

CPU = torch.device("cpu")
MB = 1e6


# -- the paper -----------------------------------------------------------------------------


def test_every_table_names_networks_that_exist() -> None:
    assert TABLES == (1, 3, 6)
    assert [len(table_models(table)) for table in TABLES] == [8, 5, 4]
    for table in TABLES:
        assert set(table_models(table)) <= {*MODEL_NAMES, *COMPARISON_NAMES}
    assert table_models(6) == ("segnet", "deeplab-largefov", "fcn-8s-learnt", "deconvnet")


ACCURACIES = """
bilinear-interpolation 77.9 61.1 43.3 20.83
segnet-basic 82.7 62.0 47.7 35.78
segnet-basic-encoder-addition 83.4 63.6 48.5 35.92
segnet-basic-single-channel-decoder 81.2 60.7 46.1 31.62
fcn-basic 81.7 62.4 47.3 38.11
fcn-basic-no-addition 80.5 58.6 44.1 31.96
fcn-basic-no-dim-reduction 84.1 63.4 50.1 37.37
fcn-basic-no-addition-no-dim-reduction 80.5 61.6 45.9 30.47
segnet 90.40 71.20 60.10 46.84
deeplab-largefov 88.20 62.53 53.88 32.77
fcn-8s 83.27 59.56 49.83 27.99
fcn-8s-learnt 83.14 64.21 51.96 33.18
deconvnet 89.58 70.24 59.77 52.23
"""
TABLE_1 = {
    "bilinear-interpolation": (0.625, 24.2),
    "segnet-basic": (1.425, 52.6),
    "segnet-basic-encoder-addition": (1.425, 53.0),
    "segnet-basic-single-channel-decoder": (0.625, 33.1),
    "fcn-basic": (0.65, 24.2),
    "fcn-basic-no-addition": (0.65, 23.8),
    "fcn-basic-no-dim-reduction": (1.625, 44.8),
    "fcn-basic-no-addition-no-dim-reduction": (1.625, 43.9),
}
TABLE_6 = {
    "segnet": (422.5, 488.7, 6803, 1052, 117),
    "deeplab-largefov": (110.1, 160.7, 5618, 1993, 83),
    # Its table says so: the FCN with learnt deconvolution.
    "fcn-8s-learnt": (317.1, 484.1, 9735, 1806, 539),
    "deconvnet": (474.7, 602.2, 9731, 1872, 877),
}


@pytest.mark.parametrize("line", ACCURACIES.split("\n")[1:-1])
def test_figures_of_the_paper(line: str) -> None:
    name, *accuracies = line.split()
    figures = paper_figures(name)
    assert figures is not None
    found = (figures.global_accuracy, figures.class_accuracy, figures.miou, figures.bf)
    assert found == tuple(float(value) for value in accuracies)
    costs = (figures.training_mb, figures.inference_mb, figures.model_mb)
    found_6 = (figures.forward_ms, figures.backward_ms, *costs)
    if name in TABLE_1:
        assert (figures.parameters_m, figures.forward_ms) == TABLE_1[name]
        assert (figures.tables, found_6[1:]) == ((1,), (None,) * 4)
    elif name in TABLE_6:
        assert (figures.tables, found_6, figures.parameters_m) == ((3, 6), TABLE_6[name], None)
    else:
        assert (figures.tables, found_6, figures.parameters_m) == ((3,), (None,) * 5, None)


def test_networks_that_the_paper_does_not_have() -> None:
    assert paper_figures("segnet-lite") is None
    assert paper_figures("unet") is None


def test_choosing_networks() -> None:
    assert choose_models(6, None) == table_models(6)
    assert choose_models(None, "unet, segnet-lite,unet") == ("unet", "segnet-lite")
    assert choose_models(6, "segnet,unet") == (*table_models(6), "unet")


@pytest.mark.parametrize("models", [None, "", " , "])
def test_nothing_to_compare(models: str | None) -> None:
    with pytest.raises(UsageError) as error:
        choose_models(None, models)
    assert str(error.value) == 'nothing to compare: use table=1|3|6, or models="a,b,c"'


def test_unknown_table_and_model() -> None:
    with pytest.raises(UsageError) as error:
        choose_models(2, None)
    assert str(error.value) == (
        'table 2 of the paper is not one to compare with: use table=1|3|6, or models="a,b,c"'
    )
    with pytest.raises(UsageError) as error:
        choose_models(1, "vnet")
    known = ", ".join(MODEL_NAMES + COMPARISON_NAMES)
    assert str(error.value) == f"unknown model 'vnet': models takes {known}"


# -- costs ---------------------------------------------------------------------------------


def test_live_bytes_by_hand() -> None:
    old = torch.zeros(1000)
    live = LiveBytes()
    live.expect(iter([old]))
    with live:
        a = old + 1  # 4000 bytes
        b = a.view(10, 100)  # no more
        c = torch.cat([b, b])  # 8000
        assert live.now == 12000
        del a
        b = b + 1  # the first 4000 go once the 4000 of the sum are there
        assert live.now == 16000
        old.mul_(2)
        assert live.now == 12000
        del b, c
        old.mul_(2)
        assert live.now == 0
    assert live.peak == 16000


class Chain(nn.Module):
    """Two convolutions around a sigmoid, whose result is kept for the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1, bias=False)
        self.last = nn.Conv2d(4, 11, 1, bias=False)
        self.register_buffer("unused", torch.zeros(100))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.last(torch.sigmoid(self.first(x)))
        return scores


def test_costs_of_a_small_network_by_hand() -> None:
    model = Chain()
    cost = measure_cost(model, (20, 30), CPU, warm_up=0, repeats=1)
    weights, plane = 4 * (3 * 4 + 4 * 11), 4 * 20 * 30
    assert cost.parameters_m == 56e-6
    # Forward: the sigmoid's input and output at once, then its output and the scores.
    assert cost.inference_mb * MB == weights + 400 + plane * (4 + 11)
    # Backward: at least what autograd keeps, and the gradients of the weights.
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    assert TRAINING_BATCH == 4  # as in the paper's table 6
    images, labels = torch.rand(4, 3, 20, 30), torch.zeros(4, 20, 30).long()
    own = {t.untyped_storage()._cdata for t in [images, labels, *model.parameters()]}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
    saved = sum(size for key, size in kept.items() if key not in own)
    del loss
    training = cost.training_mb * MB
    assert training >= 2 * weights + saved
    # ... and no more than that with the scores and their gradients beside it.
    assert training <= 2 * weights + 400 + saved + 4 * 4 * plane * 11
    assert cost.forward_ms > 0
    assert cost.backward_ms > 0
    assert cost.memory_by == "tensors"
    assert all(p.grad is None for p in model.parameters())


def test_measuring_changes_no_weights_or_statistics() -> None:
    model = nn.Sequential(nn.Conv2d(3, 11, 3, padding=1), nn.BatchNorm2d(11))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    measure_cost(model, (16, 16), CPU, warm_up=1, repeats=1)
    assert before.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    assert not model.training


def test_model_size_is_that_of_the_file(tmp_path: Path) -> None:
    model = build_model("segnet-lite")
    torch.save(model.state_dict(), tmp_path / "w.pt")
    cost = measure_cost(model, (32, 32), CPU, warm_up=0, repeats=1)
    assert cost.model_mb * MB == pytest.approx((tmp_path / "w.pt").stat().st_size, rel=1e-3)


class Greedy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: ...")


def test_too_little_memory() -> None:
    with pytest.raises(BackendError) as error:
        measure_cost(Greedy(), (360, 480), CPU)
    assert str(error.value) == (
        "cpu has too little memory to time a network at 360x480: use a smaller size_hw, or leave "
        "the network out of models"
    )


@pytest.mark.parametrize("name", MODEL_NAMES + COMPARISON_NAMES)
def test_every_network_can_be_measured_at_the_papers_size(name: str) -> None:
    check_size(name, (360, 480))


@pytest.mark.parametrize("side", [200, 160])
def test_size_that_is_too_small(side: int) -> None:
    with pytest.raises(UsageError) as error:
        check_size("deconvnet", (side, side))
    text = str(error.value)
    assert text.startswith(f"deconvnet cannot be measured at {side}x{side} (")
    assert text.endswith("): use a larger one, for example size_hw=(360, 480)")
    assert "\n" not in text


# -- tables --------------------------------------------------------------------------------

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


def test_markdown_to_the_letter() -> None:
    text = markdown("Two networks", [BASIC, UNET], "camvid val, 360x480, a GPU")
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
    text = terminal_text("Two networks", [BASIC, UNET], "camvid val, 360x480, a GPU", 60)
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
    left_out = [("unet", "the loss is nan at step 3, which is said in very many words " * 3)]
    text = terminal_text("x", rows, "camvid val, a GPU", width, left_out=left_out)
    assert max(len(line) for line in text.split("\n")) <= width
    assert all(f"\n{row.model} " in text for row in rows)
    shown = re.split("  +", text.split("\n")[2])[1:]
    _, _, gone = text.replace("\n", " ").partition("No room for ")
    hidden = gone.partition(":")[0].split(", ") if gone else []
    headings = [heading.strip() for heading in markdown("x", rows, "").split("\n")[2].split("|")]
    assert sorted(shown + hidden) == sorted(headings[2:-1]), "every column is shown or named"
    assert "mIoU" in shown
    assert (hidden == []) == (width == 140)


def test_the_narrowest_terminal_still_shows_miou() -> None:
    lines = terminal_text("x", [BASIC], "here", 10).split("\n")
    assert lines[2:4] == ["network         mIoU", "segnet-basic    48.2"]


def test_networks_that_could_not_be_measured_are_named() -> None:
    text = markdown("x", [UNET], "here", left_out=[("fcn-8s", "too little memory")])
    assert "\nNot measured:\n- fcn-8s: too little memory\n\nWeights:\n- unet: " in text
    alone = markdown("x", [], "here", left_out=[("fcn-8s", "too little memory")])
    assert alone.startswith("# x\n\n| network |  G |  C | mIoU | BF |")
    assert "\n| ------- | -: | -: | ---: | -: |" in alone
    assert alone.endswith("\n\nNot measured:\n- fcn-8s: too little memory\n")


def test_a_quick_table_says_so() -> None:
    quick = "quick: 4 steps, 8 frames scored, not a result"
    text = markdown("x", [dataclasses.replace(UNET, quick=quick)], "here")
    assert text.startswith(f"# x\n\n**{quick}**\n\n| network      |")
    assert "\n| unet (quick) |" in text
    shown = terminal_text("x", [dataclasses.replace(UNET, quick=quick)], "here", 100)
    assert shown.startswith(f"x\n\n{quick}\n\nnetwork  ")
    assert "\nunet (quick)  " in shown


def test_other_classes_than_camvids_have_no_figures_in_the_paper() -> None:
    text = markdown("x", [BASIC], "sunrgbd val", paper=False)
    assert "aper" not in text.replace("recipe paper", "")
    [line] = csv.DictReader(io.StringIO(csv_text([BASIC], paper=False)))
    assert (line["miou"], line["paper_miou"]) == ("48.25", "")


def test_csv_gives_back_what_was_measured() -> None:
    first, second = csv.DictReader(io.StringIO(csv_text([BASIC, UNET])))
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
    png = chart_png("Networks", rows, "camvid val, 360x480, a GPU", paper=paper)
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


# -- rows ----------------------------------------------------------------------------------


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


# -- a comparison --------------------------------------------------------------------------


@pytest.fixture
def recipe() -> Recipe:
    return dataclasses.replace(load_recipe("lite"), crop_hw=(32, 32), batch_size=3, epochs=1)


@pytest.fixture
def plan(tiny_camvid: Path, recipe: Recipe) -> ComparisonPlan:
    return ComparisonPlan(data=tiny_camvid, recipe=recipe, size_hw=(64, 96))


def run(
    plan: ComparisonPlan, folder: Path, models: tuple[str, ...]
) -> tuple[Comparison, list[str]]:
    lines = Lines()
    logger = logging.getLogger("roadseg.comparison")
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    try:
        return compare(models, plan, folder), lines.messages
    finally:
        logger.removeHandler(lines)
        logger.setLevel(logging.NOTSET)


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


SMALL = ("bilinear-interpolation", "fcn-basic")


def test_trained_scored_timed_and_not_again(plan: ComparisonPlan, tmp_path: Path) -> None:
    folder = tmp_path / "compare"
    first, lines = run(plan, folder, SMALL[:1])
    assert lines == [
        "1/1 bilinear-interpolation: training",
        "1/1 bilinear-interpolation: scoring",
        "1/1 bilinear-interpolation: timing",
    ]
    row = first.rows[0]
    assert (row.images, row.origin, row.quick) == (2, "recipe lite, epoch 1 of 1", "")
    assert row.training_minutes is not None
    assert row.parameters_m == pytest.approx(0.625, rel=0.03)
    assert row.miou is not None

    # Another network joins in: the first one's row stays as it is.
    second, lines = run(plan, folder, SMALL)
    assert lines[0] == "1/2 bilinear-interpolation: measured before"
    assert lines[1] == "2/2 fcn-basic: training"
    assert second.rows[0] == row
    assert (folder / "compare.md").read_text() == second.table
    assert [path.name for path in second.files] == ["compare.md", "compare.csv", "compare.png"]
    assert sorted(p.name for p in folder.iterdir()) == [
        "compare.csv",
        "compare.md",
        "compare.png",
        "rows.json",
        "runs",
    ]
    with (folder / "compare.csv").open() as file:
        assert [line["model"] for line in csv.DictReader(file)] == list(SMALL)

    # Measured otherwise, but trained alike: the run is there already.
    other, lines = run(dataclasses.replace(plan, size_hw=(32, 48)), folder, SMALL[:1])
    assert lines[0] == "1/1 bilinear-interpolation: training"
    assert other.rows[0].origin == row.origin
    assert other.rows[0].training_minutes == row.training_minutes


def test_a_run_of_another_seed_does_not_go_on(plan: ComparisonPlan, tmp_path: Path) -> None:
    run(plan, tmp_path / "out", SMALL[:1])
    with pytest.raises(UsageError) as error:
        run(dataclasses.replace(plan, seed=1), tmp_path / "out", SMALL[:1])
    assert str(error.value) == (
        f"{tmp_path}/out/runs/bilinear-interpolation was started with another seed: give the "
        "same one to resume, or choose another folder"
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"time_budget_s": 300.0}, "was started without time_budget_s: do the same to resume"),
        ({"epochs": 9}, "was started for 1 epochs, and the recipe has 9: use the same recipe to "
         "resume"),
    ],
)  # fmt: skip
def test_a_run_over_another_distance_does_not_go_on(
    plan: ComparisonPlan, tmp_path: Path, changes: dict[str, float], complaint: str
) -> None:
    run(plan, tmp_path / "out", SMALL[:1])
    if "epochs" in changes:
        recipe = dataclasses.replace(plan.recipe, epochs=9)
        other = dataclasses.replace(plan, recipe=recipe)
    else:
        other = dataclasses.replace(plan, time_budget_s=300.0)
    with pytest.raises(UsageError) as error:
        run(other, tmp_path / "out", SMALL[:1])
    assert str(error.value) == (
        f"{tmp_path}/out/runs/bilinear-interpolation {complaint}, or choose another folder"
    )
    rows = json.loads((tmp_path / "out/rows.json").read_text())["rows"]
    assert [entry["configuration"]["time_budget_s"] for entry in rows] == [None]


def test_interruption_loses_no_finished_network(
    plan: ComparisonPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(spec: RunSpec, **options: Any) -> TrainingResult:
        if spec.model == "fcn-basic":
            raise KeyboardInterrupt
        return train(spec, **options)

    train = module.train
    monkeypatch.setattr(module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path / "out", SMALL)
    stored = json.loads((tmp_path / "out/rows.json").read_text())
    assert [entry["row"]["model"] for entry in stored["rows"]] == ["bilinear-interpolation"]
    assert "bilinear-interpolation" in (tmp_path / "out/compare.md").read_text()
    monkeypatch.setattr(module, "train", train)
    finished, lines = run(plan, tmp_path / "out", SMALL)
    assert lines[0] == "1/2 bilinear-interpolation: measured before"
    assert len(finished.rows) == 2


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ModelError("the loss is nan at epoch 3"), "the loss is nan at epoch 3"),
        (BackendError("cuda has too little memory"), "cuda has too little memory"),
    ],
)
def test_a_network_that_fails_leaves_the_others_their_rows(
    plan: ComparisonPlan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: RoadsegError,
    shown: str,
) -> None:
    def failing(spec: RunSpec, **options: Any) -> TrainingResult:
        if spec.model == "bilinear-interpolation":
            raise error
        return train(spec, **options)

    train = module.train
    monkeypatch.setattr(module, "train", failing)
    result, lines = run(plan, tmp_path / "out", SMALL)
    assert lines[1] == f"1/2 bilinear-interpolation: not measured: {shown}"
    assert [row.model for row in result.rows] == ["fcn-basic"]
    [failure] = result.failures
    assert (failure.model, failure.message) == ("bilinear-interpolation", shown)
    assert failure.error is type(error)
    table = (tmp_path / "out/compare.md").read_text()
    assert f"\nNot measured:\n- bilinear-interpolation: {shown}\n" in table
    assert table == result.table
    # Tried again when the command is started again.
    monkeypatch.setattr(module, "train", train)
    result, lines = run(plan, tmp_path / "out", SMALL)
    assert lines[0] == "1/2 bilinear-interpolation: training"
    assert lines[-1] == "2/2 fcn-basic: measured before"
    assert result.failures == ()
    assert "Not measured" not in result.table


def test_a_loss_that_is_not_finite_fails_one_network_only(
    plan: ComparisonPlan, tmp_path: Path
) -> None:
    wild = dataclasses.replace(plan.recipe, optimizer="sgd", learning_rate=1e30, warmup_epochs=0)
    result, _ = run(dataclasses.replace(plan, recipe=wild), tmp_path / "out", SMALL)
    assert result.rows == ()
    assert [failure.model for failure in result.failures] == list(SMALL)
    assert all(failure.message.startswith("the loss is ") for failure in result.failures)
    assert not (tmp_path / "out/compare.png").exists()
    assert "Not measured:\n- bilinear-interpolation: the loss is " in result.table


def test_crops_that_are_too_small_are_refused_before_anything_is_measured(
    plan: ComparisonPlan, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"^deconvnet cannot be trained on .*crops of 32x32 \("):
        run(dataclasses.replace(plan, size_hw=(256, 320)), tmp_path / "out", (*SMALL, "deconvnet"))
    assert not (tmp_path / "out").exists()


def test_a_full_disk_ends_the_comparison(
    plan: ComparisonPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise SinkError("no space left")

    monkeypatch.setattr(module, "train", full)
    with pytest.raises(SinkError, match=r"^no space left$"):
        run(plan, tmp_path / "out", SMALL)


def test_quick_shows_the_machinery_and_says_so(plan: ComparisonPlan, tmp_path: Path) -> None:
    quick = dataclasses.replace(plan, quick=True, time_budget_s=3600.0)
    result, _ = run(quick, tmp_path / "out", SMALL[:1])
    assert result.rows[0].quick == "quick: 3 steps, 2 frames scored, not a result"
    assert "**quick: 3 steps, 2 frames scored, not a result**" in result.table
    log = (tmp_path / "out/quick/bilinear-interpolation/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [3]
    assert not (tmp_path / "out/quick/bilinear-interpolation/last.ckpt").exists()
    # A quick row does not stand in for a result.
    assert not (tmp_path / "out/runs").exists()
    _, lines = run(plan, tmp_path / "out", SMALL[:1])
    assert lines[0] == "1/1 bilinear-interpolation: training"


def test_loaded_weights_are_scored_as_they_are(plan: ComparisonPlan, tmp_path: Path) -> None:
    weights = tmp_path / "mine"
    for name in SMALL:
        (weights / name).mkdir(parents=True)
        torch.manual_seed(0)
        save_weights(weights / name / "best.safetensors", build_model(name), name)
    loading = dataclasses.replace(plan, weights=weights)
    result, lines = run(loading, tmp_path / "out", SMALL)
    assert lines[0] == "1/2 bilinear-interpolation: scoring"
    assert [row.origin for row in result.rows] == [
        f"mine/{name}/best.safetensors" for name in SMALL
    ]
    assert result.rows[0].training_minutes is None
    # Other weights under the same name are another configuration.
    torch.manual_seed(1)
    save_weights(weights / "fcn-basic/best.safetensors", build_model("fcn-basic"), "fcn-basic")
    _, lines = run(loading, tmp_path / "out", SMALL)
    assert lines == [
        "1/2 bilinear-interpolation: measured before",
        "2/2 fcn-basic: scoring",
        "2/2 fcn-basic: timing",
    ]


def test_weights_that_are_missing_or_of_another_network(
    plan: ComparisonPlan, tmp_path: Path
) -> None:
    weights = tmp_path / "mine"
    (weights / "fcn-basic").mkdir(parents=True)
    name = "bilinear-interpolation"
    save_weights(weights / "fcn-basic/best.safetensors", build_model(name), name)
    loading = dataclasses.replace(plan, weights=weights)
    with pytest.raises(ModelError) as error:
        run(loading, tmp_path / "out", ("fcn-basic",))
    assert str(error.value) == (
        f"{weights}/fcn-basic/best.safetensors holds {name}: put weights of fcn-basic there"
    )
    shutil.rmtree(weights / "fcn-basic")
    with pytest.raises(ModelError) as error:
        run(loading, tmp_path / "out", ("fcn-basic",))
    assert str(error.value) == (
        f"no weights at {weights}/fcn-basic/best.safetensors: train them with 'roadseg train "
        f"--model fcn-basic --output {weights}/fcn-basic', or leave weights out"
    )


def test_folder_that_cannot_be_written(plan: ComparisonPlan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"^cannot write .*file/rows\.json \("):
        run(plan, tmp_path / "file", SMALL)


def test_networks_on_classes_of_your_own(
    tmp_path: Path, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "farm"
    for split, count in (("train", 3), ("val", 2)):
        (root / split / "images").mkdir(parents=True)
        (root / split / "labels").mkdir()
        for i in range(count):
            labels = np.full((64, 96), 2, np.uint8)
            labels[:, : 20 + 8 * i] = 1
            labels[40:] = 0
            labels[:4] = 255
            cv2.imwrite(
                str(root / split / f"images/{i}.png"), np.repeat(labels[..., None], 3, 2) * 90
            )
            cv2.imwrite(str(root / split / f"labels/{i}.png"), labels)
    (root / "classes.txt").write_text("soil\nwheat\nhay&straw\n")
    plain = dataclasses.replace(recipe, class_weighting="none", extra_share=0.0)
    plan = ComparisonPlan(data=root, recipe=plain, size_hw=(64, 96))
    result, _ = run(plan, tmp_path / "out", SMALL[1:])
    assert result.rows[0].images == 2
    assert "table 1" not in result.table

    weights = tmp_path / "out/runs/fcn-basic/best.safetensors"
    command = ["eval", "--data", str(root), "--model", str(weights), "--backend", "torch"]
    command += ["--size", "64x96", "--threads", "1", "--report", str(tmp_path / "report")]
    assert cli.main(command) == 0, capsys.readouterr().err
    page = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    assert "hay&amp;straw" in page
    assert "Expected calibration error" in page
    assert "bicyclist" not in page
    assert np.isfinite(result.rows[0].miou or 0)
