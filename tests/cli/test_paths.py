"""Paths that the system refuses to look at are one line with a fix, and never an unexpected error.

Names that are too long stand for folders that may not be looked into: root, who runs the tests in
containers, may look into all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from roadseg.cli import main
from roadseg.core.shipped import shipped_file

LONG = "x" * 300
CLIP = str(shipped_file("samples/drive.mp4"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (2, ["train", "--data", "{data}", "--recipe", f"{LONG}.toml", "--output", "out"]),
        (2, ["run", "--config", f"{LONG}.toml"]),
        (2, ["run", CLIP, "--ignore-mask", f"{LONG}.png", "--output", "out.mp4"]),
        (3, ["run", f"{LONG}.mp4", "--output", "out.mp4"]),
        (3, ["bench", f"{LONG}.mp4"]),
        (3, ["find-bonnet", f"{LONG}.mp4", "--output", "mask.png"]),
        (3, ["timeline", f"{LONG}.csv", "--html", "page.html"]),
        (3, ["batch", f"{LONG}.mp4", "--output", "out", "--backend", "fake"]),
        (4, ["run", CLIP, "--output", f"{LONG}.mp4", "--backend", "fake"]),
        (5, ["run", CLIP, "--model", f"{LONG}.onnx", "--output", "out.mp4"]),
        (5, ["run", CLIP, "--model", f"{LONG}.safetensors", "--output", "out.mp4"]),
        (5, ["export", "--model", f"{LONG}.safetensors", "--output", "out.onnx"]),
        (7, ["eval", "--data", LONG]),
        (7, ["eval", "--data", CLIP, "--labels", f"{LONG}.npz"]),
        (7, ["quantize", "--data", LONG, "--output", "out.onnx"]),
        (7, ["calibrate", "--data", LONG, "--output", "out.json"]),
        (7, ["train", "--data", LONG, "--output", "out"]),
        (7, ["crossval", "--data", LONG, "--output", "out"]),
    ],
    ids=lambda value: " ".join(value).replace(LONG, "LONG") if isinstance(value, list) else None,
)
def test_a_name_that_is_too_long(
    code: int,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([word.replace("{data}", str(tmp_path)) for word in words]) == code
    error = capsys.readouterr().err
    assert "unexpected" not in error
    assert "Traceback" not in error
    assert ": " in error.removeprefix("error: ")
