"""`roadseg compare`: what it prints, and its usage errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadseg import cli
from roadseg.comparison import run as library
from roadseg.comparison.run import Comparison, ComparisonPlan
from roadseg.training import loop


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    shipped = Path(loop.__file__).parent / "recipes" / "lite.toml"
    path = tmp_path / "tiny.toml"
    path.write_text(
        shipped.read_text(encoding="utf-8").replace("crop_hw = [256, 320]", "crop_hw = [32, 32]")
    )
    return path


def test_quick_comparison_then_again(
    tiny_camvid: Path,
    tmp_path: Path,
    recipe: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "out"
    command = ["compare", "--data", str(tiny_camvid), "--models", "segnet-lite", "--quick"]
    command += ["--recipe", str(recipe), "--size", "64x96", "--output", str(folder)]
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(command) == 0
    first = capsys.readouterr()
    files = ", ".join(str(folder / f"compare.{kind}") for kind in ("md", "csv", "png"))
    table, _, written = first.out.rpartition("\nwritten to ")
    assert written == f"{files}\n"
    quick = "quick: 3 steps, 2 frames scored, not a result"
    assert table.startswith(f"Comparison\n\n{quick}\n\nnetwork")
    assert max(len(line) for line in table.split("\n")) <= 80
    assert "No room for" in table
    everything = (folder / "compare.md").read_text(encoding="utf-8")
    assert "| segnet-lite (quick) |" in everything
    assert f"**{quick}**" in everything
    assert "| model MB |" in everything
    assert "1/1 segnet-lite: training" in first.err
    assert cli.main(command) == 0
    again = capsys.readouterr()
    assert (again.out, again.err) == (first.out, "1/1 segnet-lite: measured before\n")


def test_a_network_that_fails_is_told_at_the_end(
    tiny_camvid: Path, tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = recipe.read_text(encoding="utf-8").replace(
        "learning_rate = 2e-3", "learning_rate = 1e30"
    )
    recipe.write_text(wild.replace('optimizer = "adamw"', 'optimizer = "sgd"'))
    folder = tmp_path / "out"
    command = ["compare", "--data", str(tiny_camvid), "--models", "fcn-basic,segnet-basic"]
    command += ["--quick", "--recipe", str(recipe), "--size", "64x96", "--output", str(folder)]
    assert cli.main(command) == 5
    captured = capsys.readouterr()
    assert "Not measured:\n- fcn-basic: the loss is " in captured.out
    assert "1/2 fcn-basic: not measured: the loss is " in captured.err
    assert captured.err.endswith(
        "error: 2 of 2 networks could not be measured (fcn-basic, segnet-basic): see "
        f"{folder}/compare.md; started again, the command tries them again\n"
    )


@pytest.mark.parametrize(
    ("options", "recipe"),
    [
        (["--table", "1"], "paper"),
        (["--table", "3"], "paper-large"),
        (["--table", "6"], "paper-large"),
        (["--models", "segnet"], "paper"),
        (["--table", "3", "--recipe", "gpu"], "gpu"),
    ],
)
def test_tables_are_trained_as_the_paper_trained_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], recipe: str
) -> None:
    plans: list[ComparisonPlan] = []

    def note(_models: object, plan: ComparisonPlan, *_: object, **__: object) -> Comparison:
        plans.append(plan)
        return Comparison("title", "here", True, (), ())

    monkeypatch.setattr(library, "compare", note)
    assert cli.main(["compare", "--data", str(tmp_path), *options]) == 0
    assert [plan.recipe.name for plan in plans] == [recipe]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "nothing to compare: use --table 1|3|6, or --models a,b,c"),
        (["--table", "2"], 2, "table 2 of the paper is not one to compare with: use --table 1|3|6"),
        (["--models", "vnet"], 2, "unknown model 'vnet': --models takes segnet, segnet-basic,"),
        (["--table", "1", "--recipe", "x"], 2, "unknown recipe 'x': use --recipe "),
        (["--table", "1", "--time-budget", "0"], 2, "--time-budget 0: give the minutes to train"),
        (["--table", "1", "--size", "1"], 2, "size '1' is not HxW"),
        (["--table", "1", "--split", "odd"], 7, "{data} has no split 'odd': use one of its splits"),
        (
            ["--table", "1", "--weights", "no"],
            5,
            "no weights at no/bilinear-interpolation/best.safetensors",
        ),
    ],
)
def test_unusable_options(
    tiny_camvid: Path,
    tmp_path: Path,
    options: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["compare", "--data", str(tiny_camvid), "--output", str(tmp_path / "out")]
    assert cli.main([*command, *options]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: " + message.format(data=tiny_camvid))
    assert captured.err.count("\n") == 1


def test_output_that_is_a_file(
    tiny_camvid: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", "--data", str(tiny_camvid), "--table", "1", "--output", str(recipe)]
    assert cli.main(command) == 4
    assert capsys.readouterr().err.startswith(f"error: cannot write {recipe}/rows.json (")
