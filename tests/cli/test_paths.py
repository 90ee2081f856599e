"""Paths that the system refuses to look at are one line with a fix, and never an unexpected error.

Names that are too long stand for folders that may not be looked into: root, who runs the tests in
containers, may look into all.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from roadseg.cli import main
from roadseg.core.shipped import shipped_file
from tests.support.clips import write_clip

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


@pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere take Unicode alone")
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_names_that_are_not_unicode(
    suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As old recorders and shares of Windows leave them."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow")
    monkeypatch.chdir(tmp_path)
    odd = "caf\udce9"
    write_clip(Path(f"{odd}.mp4"))
    words = ["run", f"{odd}.mp4", "--output", f"{odd}-roadseg.mp4", "--backend", "fake"]
    words += ["--timeline", f"{odd}{suffix}", "--events", f"{odd}-events.jsonl"]
    words += ["--event", "any: sky < 100%", "--event-clips", f"{odd}-clips"]
    words += ["--stats-json", f"{odd}.json", "--no-show"]
    assert main(words) == 0, capsys.readouterr().err
    (event,) = Path(f"{odd}-events.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(event)["clip"] == f"{odd}-clips/0001-any.mp4"
    assert json.loads(Path(f"{odd}.json").read_text(encoding="utf-8"))["frames_out"] > 0

    assert main(["timeline", f"{odd}{suffix}", "--html", f"{odd}.html"]) == 0
    page = Path(f"{odd}.html").read_text(encoding="utf-8")
    assert '"video": "caf%E9' in page
    assert f'"title": "caf\\udce9{suffix}"' in page
