"""`roadseg train`: from frames to weights, and its usage errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from roadseg import cli
from roadseg.training import loop


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    shipped = Path(loop.__file__).parent / "recipes" / "lite.toml"
    text = shipped.read_text().replace("crop_hw = [256, 320]", "crop_hw = [64, 64]")
    path = tmp_path / "tiny.toml"
    path.write_text(text.replace("batch_size = 8", "batch_size = 3"))
    return path


def test_train_then_resume(
    tiny_camvid: Path, tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["train", "--data", str(tiny_camvid), "--recipe", str(recipe), "--output", str(run)]
    command += ["--extra", str(tiny_camvid)]
    assert cli.main([*command, "--epochs", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{run / 'best.pt'}: validation mIoU 0.")
    assert "at epoch 1 of 1" in captured.out
    assert "ETA" in captured.err
    assert sorted(p.name for p in run.iterdir()) == [
        "best.pt",
        "config.json",
        "curves.png",
        "last.ckpt",
        "log.jsonl",
        "tensorboard",
    ]
    assert cli.main([*command, "--epochs", "2"]) == 2
    assert capsys.readouterr().err.endswith("go on with --resume or choose another --output\n")
    assert cli.main([*command, "--epochs", "2", "--resume"]) == 0
    assert "of 2, " in capsys.readouterr().out


def test_an_interrupted_run_says_how_to_go_on(
    tiny_camvid: Path,
    tmp_path: Path,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    command = ["train", "--data", str(tiny_camvid), "--recipe", str(recipe), "--output", str(run)]

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", interrupted)
    assert cli.main(command) == 130
    assert "--resume" not in capsys.readouterr().err
    run.mkdir()
    (run / "last.ckpt").write_text("")
    assert cli.main(command) == 130
    assert f"interrupted: go on with {run} by --resume\n" in capsys.readouterr().err


def test_what_is_left_out_without_its_package(
    tiny_camvid: Path,
    tmp_path: Path,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("tensorboard", "matplotlib", "torch.utils.tensorboard", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    run = tmp_path / "run"
    command = ["train", "--data", str(tiny_camvid), "--recipe", str(recipe), "--output", str(run)]
    assert cli.main([*command, "--epochs", "1"]) == 0
    assert capsys.readouterr().err.startswith(
        "without TensorBoard events and curves.png: pip install 'roadseg[train]'\n"
    )
    names = sorted(p.name for p in run.iterdir())
    assert names == ["best.pt", "config.json", "last.ckpt", "log.jsonl"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--recipe", "nope"], 2, "error: unknown recipe 'nope': use --recipe cpu|gpu|lite|paper"),
        (["--model", "vnet"], 2, "error: unknown model 'vnet': use --model segnet|"),
        (["--time-budget", "0"], 2, "error: --time-budget 0: give the minutes to train, above 0"),
        (
            ["--time-budget", "nan"],
            2,
            "error: --time-budget nan: give the minutes to train, above 0",
        ),
        (
            ["--time-budget", "1", "--epochs", "2"],
            2,
            "error: --epochs and --time-budget exclude each other: give one of them",
        ),
        (
            ["--init", "a.pt", "--encoder-weights", "b.pth"],
            2,
            "error: --init and --encoder-weights exclude each other: give one of them",
        ),
        (["--seed", "-1"], 2, "error: Invalid value for '--seed': "),
        (["--init", "nowhere.pt"], 5, "error: no weights at nowhere.pt: train some with"),
        (["--teacher", "nowhere.pt"], 5, "error: no weights at nowhere.pt: train some with"),
        (
            ["--encoder-weights", "vgg.pth"],
            2,
            "error: --encoder-weights is for networks with VGG16's encoder, which segnet-lite has "
            "not: use --model segnet",
        ),
        (["--resume"], 5, "run: start without --resume"),
        (["--extra", "nowhere"], 7, "error: no data set at nowhere: expected a folder with"),
    ],
)
def test_unusable_options(
    tiny_camvid: Path,
    tmp_path: Path,
    options: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "--data", str(tiny_camvid), "--output", str(tmp_path / "run"), *options]
    assert cli.main(command) == code
    assert message in capsys.readouterr().err
