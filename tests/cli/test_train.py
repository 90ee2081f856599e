"""`roadseg train`: from frames to weights, and its usage errors."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from roadseg import cli
from roadseg.cli.progress import training_progress
from roadseg.training import loop
from roadseg.training.progress import EpochEnd, TrainingProgress


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    shipped = Path(loop.__file__).parent / "recipes" / "lite.toml"
    text = shipped.read_text(encoding="utf-8").replace("crop_hw = [256, 320]", "crop_hw = [64, 64]")
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
    assert captured.out.startswith(f"{run / 'best.safetensors'}: validation mIoU 0.")
    assert "at epoch 1 of 1" in captured.out
    lines = captured.err.splitlines()
    assert len(lines) == 1
    assert re.fullmatch(
        r"epoch 1 of 1: loss \d+\.\d{4}, learning rate \S+, mIoU 0\.\d{3} \(best 0\.\d{3}\), "
        r"0:00:00 left",
        lines[0],
    )
    assert sorted(p.name for p in run.iterdir()) == [
        "best.ckpt",
        "best.safetensors",
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


@pytest.mark.usefixtures("unpainted")
def test_resuming_keeps_the_run_s_own_number_of_epochs(
    tiny_camvid: Path, tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["train", "--data", str(tiny_camvid), "--recipe", str(recipe), "--output", str(run)]
    assert cli.main([*command, "--epochs", "1"]) == 0
    assert cli.main([*command, "--resume"]) == 0  # the recipe has 600
    assert json.loads((run / "config.json").read_text(encoding="utf-8"))["recipe"]["epochs"] == 1
    assert cli.main([*command, "--resume", "--epochs", "2"]) == 0
    assert cli.main([*command, "--resume"]) == 0
    assert json.loads((run / "config.json").read_text(encoding="utf-8"))["recipe"]["epochs"] == 2
    assert len((run / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    capsys.readouterr()


def test_an_epoch_s_line_is_written_at_once(
    tiny_camvid: Path, tmp_path: Path, recipe: Path
) -> None:
    """As under nohup: stderr is a file, and an interruption leaves curves that are current."""
    run, said = tmp_path / "run", tmp_path / "said.txt"
    options = ["--recipe", str(recipe), "--output", str(run), "--epochs", "500", "--threads", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with said.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "roadseg", "train", "--data", str(tiny_camvid), *options],
            stderr=stderr,
            env=environment,
        )
        try:
            deadline = time.monotonic() + 120
            while "epoch 2 of 500: loss " not in said.read_text(encoding="utf-8"):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
            process.wait()
    text = said.read_text(encoding="utf-8")
    assert text.startswith("epoch 1 of 500: loss ")
    assert "mIoU" not in text  # the recipe validates every fifth epoch
    assert text.splitlines()[-1] == (
        f"  roadseg train --data {tiny_camvid} --recipe {recipe} --output {run} --threads 1 "
        "--resume"
    )
    assert (run / "curves.png").is_file()


END = EpochEnd(
    fraction=1 / 3,
    elapsed_s=60.0,
    left_s=120.0,
    epoch=1,
    epochs=3,
    step=2,
    loss=2.5,
    learning_rate=1e-3,
    miou=math.nan,
    best_miou=math.nan,
)
STEP = TrainingProgress(
    fraction=0.1,
    elapsed_s=1.0,
    epoch=0,
    epochs=3,
    step=1,
    loss=2.0,
    learning_rate=1e-3,
    miou=math.nan,
    best_miou=math.nan,
)


@pytest.mark.parametrize(
    ("end", "line"),
    [
        (END, "epoch 1 of 3: loss 2.5000, learning rate 0.001, 0:02:00 left"),
        (
            dataclasses.replace(END, miou=0.4, best_miou=0.5),
            "epoch 1 of 3: loss 2.5000, learning rate 0.001, mIoU 0.400 (best 0.500), 0:02:00 left",
        ),
        (
            dataclasses.replace(END, epochs=None, fraction=0.25, left_s=180.0),
            "epoch 1 (25% of the time): loss 2.5000, learning rate 0.001, 0:03:00 left",
        ),
        (
            dataclasses.replace(END, loss=math.nan, note="went back"),
            "epoch 1 of 3: loss nan, learning rate 0.001, 0:02:00 left\nwent back",
        ),
        (
            dataclasses.replace(END, epoch=3, fraction=1.0, left_s=0.0),
            "epoch 3 of 3: loss 2.5000, learning rate 0.001, 0:00:00 left",
        ),
    ],
)
def test_a_line_for_an_epoch(end: EpochEnd, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with training_progress() as display:
        display(STEP)
        display(end)
    assert capsys.readouterr().err == f"{line}\n"
    with training_progress(shown=False) as hidden:
        hidden(end)
    assert capsys.readouterr().err == ""


def test_the_bar_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    start = dataclasses.replace(STEP, loss=math.nan)
    with training_progress() as display:
        display(start)
    text = plain(capsys.readouterr().err)
    assert "epoch 1 of 3 " in text
    assert "loss - not validated yet" in text
    assert "nan" not in text
    with training_progress() as display:
        display(dataclasses.replace(start, epoch=2, loss=1.5, miou=0.25, best_miou=0.5))
        display(dataclasses.replace(END, note="went back"))
    text = plain(capsys.readouterr().err)
    assert "epoch 3 of 3 " in text
    assert "loss 1.500 mIoU 0.250 (best 0.500)" in text
    assert "went back\n" in text
    with training_progress() as display:
        display(dataclasses.replace(start, epochs=None))
    assert "epoch 1 ━" in plain(capsys.readouterr().err)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_an_interrupted_run_says_how_to_go_on(
    tiny_camvid: Path,
    tmp_path: Path,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    data = tiny_camvid / "my data"
    data.symlink_to(tiny_camvid)
    command = ["train", "--data", str(data), "--recipe", str(recipe), "--output", str(run)]

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", interrupted)
    assert cli.main(command) == 130
    assert "--resume" not in capsys.readouterr().err
    run.mkdir()
    (run / "last.ckpt").write_text("")
    assert cli.main(command) == 130
    again = f"train --data '{data}' --recipe {recipe} --output {run}"
    assert capsys.readouterr().err == f"interrupted: go on with\n  roadseg {again} --resume\n"
    # What a run remembers, and what was not given, is left out.
    more = [
        "--epochs",
        "7",
        "--init",
        str(recipe),
        "--seed",
        "3",
        "--compile",
        "--no-deterministic",
    ]
    assert cli.main(["--debug", *command, *more, "--resume"]) == 130
    assert capsys.readouterr().err == (
        f"interrupted: go on with\n  roadseg --debug {again} --seed 3 --compile "
        "--no-deterministic --resume\n"
    )
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert cli.main(command) == 130
    assert f"\n  torchrun --nproc-per-node 4 -m roadseg {again} --resume\n" in (
        capsys.readouterr().err
    )


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
    assert names == ["best.ckpt", "best.safetensors", "config.json", "last.ckpt", "log.jsonl"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ["--recipe", "nope"],
            2,
            "error: unknown recipe 'nope': use --recipe cpu|edge|gpu|gpu-lite|",
        ),
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
            ["--init", "a.safetensors", "--encoder-weights", "b.pth"],
            2,
            "error: --init and --encoder-weights exclude each other: give one of them",
        ),
        (["--seed", "-1"], 2, "error: Invalid value for '--seed': "),
        (
            ["--init", "nowhere.safetensors"],
            5,
            "error: no weights at nowhere.safetensors: train some with",
        ),
        (
            ["--teacher", "nowhere.safetensors"],
            5,
            "error: no weights at nowhere.safetensors: train some with",
        ),
        (
            ["--init", "segnet-light"],
            2,
            "error: there are no weights called 'segnet-light': use --init segnet-lite|",
        ),
        (
            ["--teacher", "segnet-light"],
            2,
            "error: there are no weights called 'segnet-light': use --teacher segnet-lite|",
        ),
        (
            ["--encoder-weights", "vgg.pth"],
            2,
            "error: --encoder-weights is for networks whose encoder is VGG16 or EfficientNet, and "
            "segnet-lite has neither: use --model segnet|segnet-edge",
        ),
        (["--resume"], 5, "run: start without --resume"),
        (["--extra", "nowhere"], 7, "error: no data set at nowhere: give a folder with"),
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
