"""A comparison as a whole: what is measured, said and written, and how it goes on."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from roadseg import cli
from roadseg.comparison import network as module
from roadseg.comparison.run import ComparisonPlan, compare
from roadseg.comparison.table import Comparison
from roadseg.core.errors import BackendError, ModelError, RoadsegError, SinkError, UsageError
from roadseg.models import build_model, save_weights
from roadseg.training.loop import TrainingResult
from roadseg.training.recipes import load_recipe
from roadseg.training.spec import RunSpec
from tests.support.datasets import write_tiny_camvid

RECIPE = dataclasses.replace(load_recipe("lite"), crop_hw=(32, 32), batch_size=3, epochs=1)


@pytest.fixture
def plan(tiny_camvid: Path, unpainted: None) -> ComparisonPlan:
    return ComparisonPlan(data=tiny_camvid, recipe=RECIPE, size_hw=(64, 96))


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


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> ComparisonPlan:
    """What one network was measured by, for tests that only go on; see `begun`."""
    data = write_tiny_camvid(tmp_path_factory.mktemp("measured"))
    plan = ComparisonPlan(data=data, recipe=RECIPE, size_hw=(64, 96))
    run(plan, data / "out", SMALL[:1])
    return plan


@pytest.fixture
def begun(measured: ComparisonPlan, tmp_path: Path) -> Path:
    """The folder of `measured`, to be changed."""
    return Path(shutil.copytree(measured.data / "out", tmp_path / "out"))


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
    assert (folder / "compare.md").read_text(encoding="utf-8") == second.table
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


def test_a_run_of_another_seed_does_not_go_on(measured: ComparisonPlan, begun: Path) -> None:
    with pytest.raises(UsageError) as error:
        run(dataclasses.replace(measured, seed=1), begun, SMALL[:1])
    assert str(error.value) == (
        f"{begun}/runs/bilinear-interpolation was started with another seed: give the "
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
    measured: ComparisonPlan, begun: Path, changes: dict[str, float], complaint: str
) -> None:
    if "epochs" in changes:
        recipe = dataclasses.replace(measured.recipe, epochs=9)
        other = dataclasses.replace(measured, recipe=recipe)
    else:
        other = dataclasses.replace(measured, time_budget_s=300.0)
    with pytest.raises(UsageError) as error:
        run(other, begun, SMALL[:1])
    assert str(error.value) == (
        f"{begun}/runs/bilinear-interpolation {complaint}, or choose another folder"
    )
    rows = json.loads((begun / "rows.json").read_text(encoding="utf-8"))["rows"]
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
    stored = json.loads((tmp_path / "out/rows.json").read_text(encoding="utf-8"))
    assert [entry["row"]["model"] for entry in stored["rows"]] == ["bilinear-interpolation"]
    assert "bilinear-interpolation" in (tmp_path / "out/compare.md").read_text(encoding="utf-8")
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
    table = (tmp_path / "out/compare.md").read_text(encoding="utf-8")
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
    log = (
        (tmp_path / "out/quick/bilinear-interpolation/log.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
    )
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
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    plain = dataclasses.replace(RECIPE, class_weighting="none", extra_share=0.0)
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
