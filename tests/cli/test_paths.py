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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["find-bonnet", CLIP, "--output", "."], "to .: use --output mask.png"),
        (["timeline", "t.csv", "--html", "."], "to .: use --html timeline.html"),
        (["timeline", "t.csv", "--html", ".."], "to ..: use --html ../timeline.html"),
        (
            ["run", CLIP, "--output", "o.mp4", "--event", "a: car > 1%", "--events", "."],
            "to .: use --events events.jsonl",
        ),
    ],
)
def test_advice_for_a_path_without_a_name(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert capsys.readouterr().err.endswith(f" {message}\n")
    assert list(tmp_path.iterdir()) == []


def _path_params() -> list[tuple[str, str, bool]]:
    """Command, option or argument, and whether it must be given, of all that take a path."""
    import typer.main

    from roadseg.cli import app
    from roadseg.cli.help_page import type_name

    group = typer.main.get_command(app)
    context = group.make_context("roadseg", ["doctor"])
    return [
        (name, param.opts[0], param.required)
        for name, command in group.commands.items()
        for param in command.get_params(context)
        if type_name(param, context) == "path"
    ]


@pytest.mark.parametrize(("command", "name", "required"), _path_params())
@pytest.mark.parametrize("joined", [True, False])
def test_an_empty_path_is_not_the_current_folder(
    command: str,
    name: str,
    required: bool,
    joined: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is what a variable of the shell gives that is not set."""
    monkeypatch.chdir(tmp_path)
    is_option = name.startswith("-")
    value = [f"{name}="] if is_option and joined else [name, ""] if is_option else [""]
    # What else must be given; click asks for all of it first.
    others = {"timeline": ["t.csv", "--html", "p.html"]}.get(command, [])
    if command in ("eval", "compare", "train", "crossval", "quantize", "calibrate"):
        others = ["--data", "data", "--output", "out"] if command != "eval" else ["--data", "data"]
    others = ["--output", "out"] if command == "batch" else [*others]
    if name in others:
        at = others.index(name)
        del others[at : at + 2]
    elif not is_option:
        others = others[1:]
    assert main([command, *value, *others]) == 2
    error = capsys.readouterr().err
    fix = "give a path" if required else "give a path, or leave it out"
    assert error.endswith(f" is empty: {fix}\n"), error
    assert list(tmp_path.iterdir()) == []


NOBODY = "~nobody-of-this-name"
CONFIG = "--config"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, ["run", f"{NOBODY}/a.mp4", "--output", "out.mp4"]),
        (3, ["batch", f"{NOBODY}/a.mp4", "--output", "out", "--backend", "fake"]),
        (3, ["batch", f"{NOBODY}/*.mp4", "--output", "out", "--backend", "fake"]),
        (2, ["run", CLIP, CONFIG, "output"]),
        (2, ["run", CLIP, CONFIG, "save_masks"]),
        (2, ["run", CLIP, CONFIG, "timeline"]),
        (2, ["run", CLIP, CONFIG, "token_file"]),
        (2, ["run", CLIP, CONFIG, "folder"]),
    ],
)
def test_a_home_folder_that_is_not_there(
    code: int,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if words[-2] == CONFIG:
        *words, key = words
        table = {"token_file": "[web]", "folder": "[record]"}.get(key, "")
        source = f'[[source]]\nname = "a"\nurl = "{CLIP}"\n'
        Path("run.toml").write_text(f'{source}{table}\n{key} = "{NOBODY}/x.mkv"\n')
        words = [*words, "run.toml", "--backend", "fake", "--no-show"]
    assert main(words) == code
    error = capsys.readouterr().err
    assert "unexpected" not in error
    assert NOBODY in error
    assert not Path(NOBODY).exists()
