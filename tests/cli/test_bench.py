"""`roadseg bench`: what it reports, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import tempfile

import cv2
import numpy as np
import pytest

from roadseg.cli import main


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
    report = json.loads(path.read_text())
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
