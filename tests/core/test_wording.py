"""Messages name parameters to Python programs and options to the command line."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

import roadseg
from roadseg.cli import main
from roadseg.core.errors import RoadsegError
from roadseg.core.size import parse_size
from roadseg.core.wording import naming_options, option
from roadseg.datasets.frames import collect_frames
from roadseg.engine.runtime import load_runtime
from roadseg.engine.spec import EngineSpec
from roadseg.export.lowering import get_lowering
from roadseg.loading.segmenter import Segmenter
from roadseg.media.sinks.sink import open_sink
from roadseg.media.sources.base import SourceInfo
from roadseg.media.sources.opening import open_source
from roadseg.training.recipes import load_recipe
from roadseg.weights.gate import check_drop

_FRAMES = SourceInfo("x", "images", (64, 96), Fraction(25), 9, False, None)
_ENGINE = EngineSpec("segnet-lite", "fp16", (64, 96), (1, 1, 1), "tensorrt-rtx", "native")


@pytest.mark.parametrize(
    ("arguments", "typed", "written"),
    [
        (("--size", (352, 480)), "--size 352x480", "size_hw=(352, 480)"),
        (("--backend", "torch"), "--backend torch", 'backend="torch"'),
        (("--backend", "torch", "fake"), "--backend torch|fake", 'backend="torch"|"fake"'),
        (("--threads", 1), "--threads 1", "threads=1"),
        (("--max-frames",), "--max-frames", "max_frames"),
        (("--source", Path("a.mp4")), "--source a.mp4", 'spec="a.mp4"'),
        (("--resume", True), "--resume", "resume=True"),
        (("--max-drop", 0.5), "--max-drop 0.5", "max_drop_points=0.5"),
    ],
)
def test_both_ways_to_give_an_argument(arguments, typed, written):
    assert option(*arguments) == written
    with naming_options():
        assert option(*arguments) == typed
        with naming_options():
            pass
        assert option(*arguments) == typed
    assert option(*arguments) == written


@pytest.mark.parametrize(
    "use",
    [
        lambda: Segmenter("nope"),
        lambda: Segmenter("nope.safetensors", "torch"),
        lambda: Segmenter("nope.safetensors", "openvino"),
        lambda: Segmenter(backend="nope"),
        lambda: Segmenter(backend="fake", size_hw=(33, 33)),
        lambda: Segmenter(backend="fake", threads=0),
        lambda: open_source("nope"),
        lambda: open_source("nope://x"),
        lambda: open_source("0123"),
        lambda: open_source("0", fps=10),
        lambda: open_source("0", stream=2),
        lambda: open_source("x", max_frames=0),
        lambda: open_source("x", fps=-1),
        lambda: open_source("x", rtsp_transport="x"),
        lambda: open_sink(Path("a.avi"), _FRAMES),
        lambda: open_sink(Path("a.jpg"), _FRAMES),
        lambda: open_sink(Path("."), replace(_FRAMES, input_dirs=(Path("."),))),
        lambda: get_lowering("nope"),
        lambda: get_lowering("native", portable=True),
        lambda: check_drop(-1),
        lambda: load_recipe("nope"),
        lambda: load_runtime("nope"),
        lambda: collect_frames(Path("nope")),
        lambda: parse_size("nope"),
        lambda: replace(_ENGINE, size_hw=(0, 0)),
        lambda: replace(_ENGINE, batch=(2, 1, 1)),
        lambda: replace(_ENGINE, sm=(75, 80)),
        lambda: replace(_ENGINE, target="tensorrt", sm=(80,)),
        lambda: replace(_ENGINE, lowering="plugin"),
        lambda: replace(_ENGINE, workspace_mb=0),
    ],
)
def test_errors_of_the_api_name_no_option(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RoadsegError) as caught:
        use()
    # A command to type has options, and stands in quotes.
    assert " --" not in str(caught.value).split("'roadseg ")[0]
    assert not str(caught.value).startswith("--")


def test_the_command_line_names_its_options(capsys):
    assert main(["run", "x", "--model", "nope"]) == 2
    assert "use --model segnet-lite|" in capsys.readouterr().err
    with pytest.raises(RoadsegError, match='use model="segnet-lite"'):
        Segmenter("nope")


_PACKAGE = Path(roadseg.__file__).parent
# The doctor is read on the command line only; the others write commands to type, or no message.
_TYPED = {
    "doctor",
    "loading/tensorrt.py",
    "engine/manifest.py",
    "kernels/nvrtc.py",
    "evaluation/report/style.py",
    "media/sources/jpeg_stream.py",
}


def _literals(tree: ast.AST) -> list[tuple[int, str]]:
    """Strings with their lines, without docstrings and what is given to `option`."""
    skipped: set[int] = set()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "option":
            skipped.update(id(part) for part in ast.walk(node))
        elif isinstance(node, ast.JoinedStr):
            skipped.update(id(value) for value in node.values)
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            values = (v.value if isinstance(v, ast.Constant) else "X" for v in node.values)
            found.append((node.lineno, "".join(map(str, values))))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append((node.lineno, node.value))
    return found


def _names_an_option(text: str) -> bool:
    # Commands to type have options; they stand in quotes, or begin with the program's name.
    text = re.sub(
        r"'(roadseg|ray) [^']*'|roadseg X eval --report|(pip install|torchrun|made with) .*",
        "",
        text,
    )
    # An option by itself is something that code hands on.
    if re.fullmatch(r"--[a-z-]+(=\S+| X(-X)?)?", text):
        return False
    return re.search(r"(^|[ (])--[a-z]", text) is not None


def test_no_message_of_a_library_names_an_option_itself():
    named = []
    for path in sorted(_PACKAGE.rglob("*.py")):
        room = path.relative_to(_PACKAGE)
        if {room.parts[0], room.as_posix()} & {"cli", *_TYPED}:
            continue
        for line, text in _literals(ast.parse(path.read_text(encoding="utf-8"))):
            if _names_an_option(text):
                named.append(f"{room.as_posix()}:{line}: {text}")
    assert not named
