"""`roadseg build-engine`: what it says, writes and exits with."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from roadseg.backends.tensorrt.builder import build_engine as library
from roadseg.cli import build_engine as command
from roadseg.cli import main
from roadseg.cli.progress_bar import progress_bar
from roadseg.core.errors import BackendError, EngineError
from roadseg.core.progress import Progress
from roadseg.engine.manifest import CalibrationFacts, Gpu, ParityFacts, read_manifest
from roadseg.engine.store import EngineFile, engines_dir
from roadseg.models import build_model, save_weights

rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None
    and importlib.util.find_spec("tensorrt_rtx") is None,
    reason="TensorRT-RTX is not installed: pip install tensorrt-rtx",
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_weights(path, build_model("segnet-lite"), "segnet-lite")
    return path


@pytest.fixture(autouse=True)
def surroundings(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROADSEG_DEBUG", raising=False)

    def no_gpu() -> Any:
        raise BackendError("there is no NVIDIA driver", fix="install it")

    monkeypatch.setattr("roadseg.cuda.load.load_cuda", no_gpu)


def build(weights: Path, *options: str) -> int:
    given = ["--model", str(weights), "--target", "tensorrt-rtx", "--size", "64x96"]
    return main(["build-engine", *given, *options])


@rtx
def test_an_engine(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.engine"
    assert build(weights, "--output", str(path), "--batch", "1-4", "--sm", "86,89") == 0
    captured = capsys.readouterr()
    facts = read_manifest(path)
    version = facts.tensorrt_version
    first, second, third = captured.out.splitlines()
    assert first == (
        f"building mine, fp16, 64x96, batch 1-4, native lowering with TensorRT-RTX {version}"
    )
    assert second == (
        f"{path}: {facts.plan_bytes / 1e6:.1f} MB for compute capability 8.6, 8.9, built in "
        f"{facts.build_s:.1f} s"
    )
    assert third == "labels not verified: no GPU: there is no NVIDIA driver"
    # No terminal: a line for each stage.
    assert captured.err.splitlines()[:2] == ["exporting", "building"]
    assert (facts.precision, facts.batch, facts.sm) == ("fp16", (1, 4, 4), (86, 89))
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name != "cache") == [
        "x.engine",
        "x.engine.json",
    ]


@rtx
def test_the_usual_place(
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("roadseg.engine.store.engines_dir", lambda: tmp_path / "engines")
    assert build(weights, "--fp32", "--sm", "89") == 0
    (path,) = (tmp_path / "engines").glob("*.engine")
    assert path.name.startswith("mine-")
    assert f"{path}: " in capsys.readouterr().out
    assert engines_dir().name == "engines"


@rtx
def test_ctrl_c(
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = library.compile_plan

    def compile_plan(*args: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **options)

    monkeypatch.setattr(library, "compile_plan", compile_plan)
    # pytest's own handler is Python's.
    assert build(weights, "--output", str(tmp_path / "out" / "x.engine")) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted: no engine was written"
    assert list((tmp_path / "out").iterdir()) == []


@rtx
@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        (["--fp16", "--int8"], 2, "--fp16 and --int8: give one of them"),
        (
            ["--calibration", "x.json"],
            2,
            "--calibration is not for --fp16: use it with --int8",
        ),
        (["--fp32", "--force"], 2, "--force is not for --fp32: use it with --int8"),
        (
            ["--batch", "many"],
            2,
            "batch 'many' is not a number of frames: use for example --batch 1 or --batch 1-8",
        ),
        (
            ["--size", "20x20"],
            2,
            "network input 20x20: its sides must be 32 to 4096: use for example --size 352x480",
        ),
        (
            ["--size", "big"],
            2,
            "size 'big' is not HxW (height x width of the network's input): use for example "
            "--size 352x480",
        ),
        (
            ["--sm", "x"],
            2,
            "compute capability 'x': use for example --sm 89, or --sm 86,89 for both",
        ),
        (
            ["--sm", "75,86"],
            2,
            "an engine for compute capability 75 (Turing) is for that alone: build two, one with "
            "--sm 75 and one with --sm 86",
        ),
        (
            ["--portable"],
            2,
            "TensorRT-RTX has no Python plugins: use the native lowering (without --portable), or "
            "--target tensorrt",
        ),
        (
            ["--lowering", "odd"],
            2,
            "unknown lowering 'odd': use plugin or native",
        ),
        (
            ["--workspace", "99999999999999"],
            2,
            "workspace of 99999999999999 MiB: it must be 1 to 1048576: use for example "
            "--workspace 1024",
        ),
        (["--max-drop", "1"], 2, "--max-drop is not for --fp16: use it with --int8"),
        (
            ["--int8", "--max-drop", "nan"],
            2,
            "a drop of nan points: use for example --max-drop 0.5",
        ),
        (
            ["--int8", "--max-drop", "-1"],
            2,
            "a drop of -1 points: use for example --max-drop 0.5",
        ),
        (
            ["--data", "none"],
            7,
            "nothing at none to compare labels on: give --data a folder of images or a video file",
        ),
        (
            ["--int8", "--calibration", "none.json"],
            5,
            "no calibration at none.json: run 'roadseg calibrate --model WEIGHTS --data DIR|VIDEO'",
        ),
    ],
)
def test_what_it_refuses(
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    line: str,
) -> None:
    assert build(weights, "--output", str(tmp_path / "out"), *options) == code
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == f"error: {line.replace('WEIGHTS', str(weights))}"
    )
    assert list(tmp_path.glob("out/*")) == []


def test_targets_that_are_not_there(
    weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["build-engine", "--model", str(weights), "--target", "cpu"]) == 2
    assert capsys.readouterr().err == (
        "error: unknown target 'cpu': use --target auto|tensorrt|tensorrt-rtx\n"
    )

    def load_runtime(target: str) -> Any:
        raise BackendError("TensorRT is not installed", fix="pip install tensorrt")

    monkeypatch.setattr("roadseg.engine.runtime.load_runtime", load_runtime)
    assert main(["build-engine", "--model", str(weights), "--target", "tensorrt"]) == 6
    assert capsys.readouterr().err == "error: TensorRT is not installed: pip install tensorrt\n"


@rtx
def test_a_folder_that_cannot_be_written(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.engine"
    assert build(weights, "--output", str(path)) == 4
    assert capsys.readouterr().err == (
        f"error: cannot write {path} ({tmp_path / 'file'} is no folder): give another "
        "folder with --output, or free the space it needs\n"
    )


@rtx
def test_a_failing_build(
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compile_plan(*args: Any, **options: Any) -> Any:
        logging.getLogger("roadseg.backends").debug("TensorRT: warning: something odd")
        raise EngineError("TensorRT cannot build mine (no kernel)", fix="try another --size")

    monkeypatch.setattr(library, "compile_plan", compile_plan)
    assert build(weights, "--output", str(tmp_path / "out")) == 9
    errors = capsys.readouterr().err
    assert errors.splitlines()[-1] == (
        "error: TensorRT cannot build mine (no kernel): try another --size"
    )
    assert "something odd" not in errors
    # What TensorRT remarks is shown to those who ask.
    arguments = ["--model", str(weights), "--target", "tensorrt-rtx", "--size", "64x96"]
    assert main(["--debug", "build-engine", *arguments, "--output", str(tmp_path / "out")]) == 9
    assert "TensorRT: warning: something odd" in capsys.readouterr().err.splitlines()
    main(["--version"])  # forgets --debug


@rtx
def test_what_it_says_of_an_engine(
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "x.engine"
    assert build(weights, "--output", str(path)) == 0
    facts = read_manifest(path)
    capsys.readouterr()
    command._summarise(
        EngineFile(
            path,
            replace(
                facts,
                gpu=Gpu("NVIDIA GeForce RTX 4090", (8, 9)),
                plan_bytes=5_123_456,
                build_s=41.23,
                calibration=CalibrationFacts("aa", ("a", "b"), 0.31, "val.txt", False),
                parity=ParityFacts(0.99871, 8, "drive.mp4", "PyTorch FP32"),
            ),
        )
    )
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: 5.1 MB for NVIDIA GeForce RTX 4090, built in 41.2 s",
        "INT8 costs 0.31 points of mIoU on val.txt; 2 layers stay FP16",
        "99.87% of the labels are those of PyTorch FP32 on 8 frames of drive.mp4",
    ]
    unknown = CalibrationFacts("aa", (), None, None, True)
    command._summarise(EngineFile(path, replace(facts, calibration=unknown)))
    assert "what INT8 costs is unknown; no layers stay FP16" in capsys.readouterr().out


def state(stage: str, fraction: float, elapsed_s: float, left_s: float | None) -> Progress:
    return Progress(stage, fraction, "Timing tactics", elapsed_s, left_s)


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as show:
        show(state("building", 0.0, 0.0, None))
        show(state("building", 0.1, 9.0, None))
        show(state("building", 0.25, 30.0, 90.0))
        show(state("building", 0.26, 31.0, 88.0))
        show(state("building", 0.5, 95.0, 95.0))
        show(state("comparing", 0.0, 0.0, None))
    assert capsys.readouterr().err.splitlines() == [
        "building",
        "building: 25% after 30 s, about 2 min left",
        "building: 50% after 2 min, about 2 min left",
        "comparing",
    ]


def test_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar() as show:
        show(state("building", 0.25, 30.0, 80.5))
    shown = capsys.readouterr().err
    for words in ("building", "25%", "about 80 s left", "Timing tactics"):
        assert words in shown
    # What looks like a tag is a part of the name.
    with progress_bar() as show:
        show(replace(state("building", 0.5, 30.0, None), detail="{ForeignNode[/a.../b]} " * 9))
    shown = capsys.readouterr().err
    assert "{ForeignNode[/a.../b]} {ForeignNode[/a" in shown
    assert "left" not in shown
    assert shown.count("ForeignNode") < 9
