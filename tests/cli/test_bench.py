"""`roadseg bench`: what it reports, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace

import cv2
import numpy as np
import pytest

from roadseg.cli import main
from roadseg.loading import segmenter
from roadseg.loading.ladder.rungs import Rung
from roadseg.run import ladder as module


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "street.png"
    cv2.imwrite(str(path), np.full((48, 64, 3), 90, np.uint8))
    return path


def bench(image, *options) -> int:
    arguments = ["--source", str(image), "--backend", "fake", "--size", "32x64"]
    return main(["bench", *arguments, *map(str, options)])


@pytest.mark.parametrize("encoded", [True, False])
def test_the_report(image, tmp_path, capsys, monkeypatch, encoded):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    path = tmp_path / "bench.json"
    flag = "--output" if encoded else "--no-output"
    assert bench(image, "--frames", 12, "--json", path, flag) == 0
    report = json.loads(path.read_text(encoding="utf-8"))
    assert (report["frames_in"], report["frames_out"]) == (12, 12)
    assert report["encoded"] is encoded
    assert (report["stages_ms"]["encode"] is not None) is encoded
    assert report["stages_ms"]["render"] > 0
    assert report["model_ms"] > 0
    assert report["size_hw"] == [32, 64]
    assert (report["source"], report["precision"]) == (str(image), "uint8")
    machine = report["machine"]
    assert set(machine) == {"cpu", "cores", "system", "python", "versions", "date"}
    assert machine["cores"] >= 1
    assert "numpy" in machine["versions"]
    assert os.listdir(scratch) == [], "the encoded file is thrown away"

    captured = capsys.readouterr()
    assert captured.err == ""
    assert "fake uint8 on fake, input 32x64, 12 frames" in captured.out
    assert ("with H.264 output" in captured.out) is encoded
    assert ("encode (median)" in captured.out) is encoded
    assert "network alone (median)" in captured.out
    assert f"on {machine['cpu']}, {machine['cores']} core" in captured.out
    assert captured.out.endswith(f"written to {path}\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "0"], "cannot measure 0 frames: use --frames 1 or more"),
        (["--threads", "-1"], "cannot use -1 threads: use --threads 1 or more"),
        (["--size", "5"], "size '5' is not HxW"),
    ],
)
def test_bad_options(image, capsys, options, message):
    assert bench(image, *options) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {message}")
    assert captured.out == ""


def test_a_missing_source(tmp_path, capsys):
    assert bench(tmp_path / "none.mp4") == 3
    assert capsys.readouterr().err.startswith("error: no such file: ")


def test_a_report_that_cannot_be_written(image, tmp_path, capsys):
    assert bench(image, "--json", tmp_path) == 4
    assert capsys.readouterr().err.startswith(f"error: cannot write {tmp_path}: it is a folder")


@pytest.fixture
def two_rungs(monkeypatch):
    """The fake backend has no ladder: this one has two rungs, and `auto` takes the second."""
    rungs = (Rung("fake", 64 * 96, 0.7), Rung("fake", 32 * 32, 0.6))
    monkeypatch.setattr(module, "ladder", lambda choice, source_hw: rungs)

    def choose_for(choice, source_hw, rate, **_):
        return replace(choice, pixels=32 * 32, auto=False)

    monkeypatch.setattr(segmenter, "choose_for", choose_for)


def test_the_ladder_has_accuracy_beside_speed(image, tmp_path, capsys, two_rungs):
    path = tmp_path / "ladder.json"
    arguments = ["--source", str(image), "--backend", "fake", "--frames", "4", "--no-output"]
    assert main(["bench", *arguments, "--all", "--json", str(path)]) == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    assert (document["source_hw"], document["rate"]) == ([48, 64], 25.0)
    rungs = document["rungs"]
    assert [(rung["miou"], rung["auto"]) for rung in rungs] == [(0.7, False), (0.6, True)]
    assert [rung["size_hw"] for rung in rungs] == [[64, 96], [32, 32]]
    assert all(rung["frames_out"] == 4 and rung["model_ms"] > 0 for rung in rungs)
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    first = next(line for line in lines if "64x96" in line)
    second, auto = (line for line in lines if "32x32" in line)
    assert "0.700" in first
    assert "FPS" in first
    assert "0.600" in second
    assert "auto" not in first + second
    assert "auto " in auto
    assert (document["auto"]["size_hw"], document["auto"]["reuse"]) == ([32, 32], 1)


def test_the_ladder_has_sizes_of_its_own(image, capsys):
    assert bench(image, "--all") == 2
    assert capsys.readouterr().err == ("error: --all measures sizes of its own: leave --size out\n")


def test_the_ladder_has_networks_of_its_own(image, capsys):
    arguments = ["bench", "--source", str(image), "--backend", "fake", "--all"]
    assert main([*arguments, "--model", "no-such-model"]) == 2
    assert capsys.readouterr().err == (
        "error: --all measures networks of its own: leave --model out\n"
    )


def test_the_ladder_says_each_warning_once(image, capsys, two_rungs, monkeypatch):
    measure = module.bench

    def warned(*args, **kwargs):
        report = measure(*args, **kwargs)
        return replace(report, run=replace(report.run, warnings=["one frame is damaged"]))

    monkeypatch.setattr(module, "bench", warned)
    arguments = ["--source", str(image), "--backend", "fake", "--frames", "4", "--no-output"]
    assert main(["bench", *arguments, "--all", "--model", "auto"]) == 0
    assert capsys.readouterr().err == "warning: one frame is damaged\n"


def test_a_backend_without_a_ladder(image, capsys):
    assert main(["bench", "--source", str(image), "--backend", "fake", "--all"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no ladder for the fake backend: use --backend openvino, or leave --all "
        "out\n"
    )
