"""The command line as a whole: exit codes, one-line errors, no traceback without --debug."""

from __future__ import annotations

import errno
import gc
import io
import os
import re
import signal
import subprocess
import sys

import pytest
import typer.main

from roadseg import __version__, cli
from roadseg.core.errors import ModelError, SourceError
from roadseg.live.config import SourceConfig
from roadseg.road.doubt import Trust
from roadseg.road.flat_road import FlatRoad

COMMANDS = (
    "run",
    "bench",
    "eval",
    "compare",
    "train",
    "quantize",
    "calibrate",
    "build-engine",
    "export",
    "render-sample",
    "doctor",
)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in ("run", "bench", "eval", "train", "quantize", "export", "render-sample"):
        assert f" {name} " in out
    assert "130 interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP" in " ".join(out.split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "error: No such command 'fly'"),
        (["eval"], "error: Missing option '--data' (see 'roadseg eval --help')\n"),
        (
            ["run", "--source", "x", "--size"],
            "error: Option '--size' requires an argument (see 'roadseg run --help')\n",
        ),
        (["train", "--data", "x", "--seed", "y"], "error: Invalid value for '--seed': "),
        (["doctor", "x"], "error: Got unexpected extra argument"),
        (["--nope"], "error: No such option: --nope (see 'roadseg --help')\n"),
        (["run", "--nope"], "error: No such option: --nope"),
        (
            ["run", "--outptu", "x"],
            "error: No such option: --outptu; did you mean --output? (see 'roadseg run --help')\n",
        ),
        (["bench", "--frame", "1"], "error: No such option: --frame; did you mean --frames? "),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1
    named = arguments[0] if arguments[0] in COMMANDS else ""
    assert captured.err.endswith(f"(see '{' '.join(['roadseg', named]).strip()} --help')\n")
    assert captured.out == ""


def test_without_arguments_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == cli.main(["--debug"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("Usage: roadseg [OPTIONS] COMMAND [ARGS]...") == 2


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns_and_says_what_options_take(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main([command, "--help"] if command else ["--help"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out, "something was cut off"
    assert not re.search("<[a-z]", out), "a type instead of a name"
    assert "[[" not in out


@pytest.mark.parametrize("command", ["run", "batch"])
def test_defaults_of_the_library_are_those_that_help_shows(command: str) -> None:
    road, camera = FlatRoad(), SourceConfig("camera", "0")
    defaults = {
        "camera_height": road.camera_height_m,
        "fov": road.fov_deg,
        "doubt_limit": Trust().most_entropy,
        "max_staleness": camera.max_staleness,
        "stall_timeout": camera.stall_timeout,
    }
    group = typer.main.get_command(cli.app)
    found = group.get_command(None, command)  # type: ignore[attr-defined]
    shown = {each.name: each.show_default for each in found.params if each.name in defaults}
    assert len(shown) == {"run": 5, "batch": 3}[command]
    assert {name: float(text) for name, text in shown.items()} == {
        name: defaults[name] for name in shown
    }


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (SourceError("no film"), 3, "error: no film\n"),
        (ModelError("no model"), 5, "error: no model\n"),
        (
            ValueError("a bug"),
            1,
            "error: unexpected ValueError: a bug; "
            "run again as 'roadseg --debug ...' and report the traceback\n",
        ),
        (
            ImportError("libGL.so.1: cannot open shared object file: No such file or directory"),
            6,
            "error: OpenCV cannot load (libGL.so.1 is missing): apt install libgl1 libglib2.0-0, "
            "or pip uninstall opencv-python and pip install opencv-python-headless (no window, "
            "everything else works)\n",
        ),
    ],
)
def test_errors_of_a_command(
    raised: Exception,
    code: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("roadseg.training.spec.load_recipe", fail)
    assert cli.main(["train", "--data", "nowhere"]) == code
    assert capsys.readouterr().err == line
    assert cli.main(["--debug", "train", "--data", "nowhere"]) == code
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_ctrl_c_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("roadseg.training.spec.load_recipe", interrupt)
    assert cli.main(["train", "--data", "nowhere"]) == 130


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGHUP")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_have_codes_of_their_own(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "roadseg.training.spec.load_recipe", lambda *_: os.kill(os.getpid(), number)
    )
    before = signal.getsignal(number)
    assert cli.main(["train", "--data", "nowhere"]) == code
    assert signal.getsignal(number) is before


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
def test_what_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise SourceError("and it went on")

    monkeypatch.setattr("roadseg.training.spec.load_recipe", end)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert cli.main(["train", "--data", "nowhere"]) == 3
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_full_disk_under_stdout_is_no_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    assert cli.main(["--version"]) == 1


def test_without_stdout_and_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["--version"]) == 0
    assert cli.main(["fly"]) == 2
    assert sys.stdout is sys.stderr is None


@pytest.mark.parametrize(
    ("words", "offered"), [("bu", {"build-engine"}), ("run --vi", {"--view"}), ("nothing", set())]
)
def test_shells_complete_commands_and_options(words: str, offered: set[str]) -> None:
    asked = {
        "_ROADSEG_COMPLETE": "complete_bash",
        "COMP_WORDS": f"roadseg {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    program = "import sys; from roadseg.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("words", [["--version"], ["run", "--help"], ["run", "--bogus"], ["fly"]])
def test_garbage_is_collected_afterwards_as_before(words: list[str]) -> None:
    cli.main(words)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
