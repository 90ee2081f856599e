"""`roadseg doctor`: output, exit codes, JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roadseg.cli import doctor, main
from roadseg.doctor import Finding, Level, Report
from tests.support import ROOT

WORKING = (
    Finding("openvino", "OpenVINO", Level.OK, "2026.4.1 on CPU", None, {"version": "2026.4.1"}),
    Finding("gpu", "GPU", Level.NOTE, "no NVIDIA GPU: frames run on the CPU"),
    Finding(
        "video",
        "Video",
        Level.NOTE,
        "PyAV 17.0.0 has no H.264 encoder: browsers do not play its MPEG-4 part 2",
        "pip install --force-reinstall av, or a longer command that stays whole although it does "
        "not fit on 80 columns",
    ),
)
BROKEN = (
    *WORKING,
    Finding("opencv", "OpenCV", Level.PROBLEM, "not installed", "pip install opencv-python"),
)
HEAD = "roadseg 0.1.0, Python 3.11.7 on Linux x86_64\n\n"


def report_of(*findings: Finding) -> Report:
    return Report("0.1.0", "Python 3.11.7 on Linux x86_64", "openvino", findings)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return monkeypatch


def shown(found: pytest.MonkeyPatch, *findings: Finding) -> None:
    found.setattr("roadseg.doctor.diagnose", lambda: report_of(*findings))


def test_all_is_well(found: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown(found, *WORKING)
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        HEAD + "ok   OpenVINO         2026.4.1 on CPU\n"
        "note GPU              no NVIDIA GPU: frames run on the CPU\n"
        "note Video            PyAV 17.0.0 has no H.264 encoder: browsers do not play its\n"
        "                      MPEG-4 part 2\n"
        "     fix: pip install --force-reinstall av, or a longer command that stays whole although "
        "it does not fit on 80 columns\n"
        "\n"
        "'roadseg run' works, with the backend openvino.\n"
    )
    assert err == ""


@pytest.mark.parametrize(
    ("problems", "last"),
    [
        (1, "'roadseg run' would fail: 1 problem to fix.\n"),
        (2, "'roadseg run' would fail: 2 problems to fix.\n"),
    ],
)
def test_a_run_would_fail(
    problems: int, last: str, found: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown(found, *[BROKEN[-1]] * problems)
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    lines = "FAIL OpenCV           not installed\n     fix: pip install opencv-python\n"
    assert out == HEAD + lines * problems + "\n" + last
    assert err == ""


@pytest.mark.parametrize(("findings", "code"), [(WORKING, 0), (BROKEN, 1)])
def test_json(
    findings: tuple[Finding, ...],
    code: int,
    found: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown(found, *findings)
    assert main(["doctor", "--json"]) == code
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert err == ""
    assert list(value) == [
        "version",
        "roadseg",
        "system",
        "backend",
        "run_would_fail",
        "findings",
    ]
    assert (value["version"], value["roadseg"], value["backend"]) == (1, "0.1.0", "openvino")
    assert value["run_would_fail"] is bool(code)
    assert value["findings"][0] == {
        "check": "openvino",
        "title": "OpenVINO",
        "level": "ok",
        "text": "2026.4.1 on CPU",
        "fix": None,
        "facts": {"version": "2026.4.1"},
    }
    assert len(value["findings"]) == len(findings)


CHECKS = [
    "weights",
    "openvino",
    "processor",
    "speed",
    "backend",
    "opencv",
    "display",
    "gstreamer",
    "video",
    "gpu",
    "cuda",
    "tensorrt",
    "nvrtc",
    "builder",
    "documentation",
    "shadows",
    "cache",
    "temporary",
    "engines-folder",
    "engines",
]


@pytest.mark.parametrize("libraries", [("numpy",), ("av", "cv2", "openvino"), ("torch",)])
def test_nothing_that_is_broken_stops_it(libraries: tuple[str, ...], tmp_path: Path) -> None:
    for library in libraries:
        (tmp_path / f"{library}.py").write_text("raise ImportError('it is\\nbroken')")
    result = subprocess.run(
        [sys.executable, "-m", "roadseg", "doctor", "--json"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stderr == ""
    value = json.loads(result.stdout)
    assert list(dict.fromkeys(finding["check"] for finding in value["findings"])) == CHECKS
    # PyTorch is not needed for a run.
    assert value["run_would_fail"] is (libraries != ("torch",))
    assert result.returncode == int(value["run_would_fail"])
    assert [f["text"] for f in value["findings"] if f["check"] == "shadows"] == [
        f"{tmp_path}/{library}.py hides the package {library}" for library in libraries
    ]
    assert not [f for f in value["findings"] if "could not be checked" in f["text"]]


def test_this_machine(tmp_path: Path) -> None:
    # In a process of its own, as users run it, and with nothing of this one in the way.
    result = subprocess.run(
        [sys.executable, "-m", "roadseg", "doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    value = json.loads(result.stdout)
    assert result.stderr == ""
    assert result.returncode == int(value["run_would_fail"])
    assert list(dict.fromkeys(finding["check"] for finding in value["findings"])) == CHECKS
    # Two spaces at least before what was found.
    assert max(len(finding["title"]) for finding in value["findings"]) < doctor._TITLE_WIDTH
    levels = {finding["check"]: finding["level"] for finding in value["findings"]}
    assert levels["openvino"] == levels["weights"] == "ok"
    texts = [finding["text"] for finding in value["findings"]]
    assert not [text for text in texts if "could not be checked" in text]
    assert not [text for text in texts if "\n" in text]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep a folder that is used")
def test_in_a_folder_that_was_deleted_without_temporary_files(tmp_path: Path) -> None:
    # A file, as the installed command is one: Python then looks for nothing in the current folder.
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, tempfile\n"
        "os.rmdir(os.getcwd())\n"
        "tempfile._candidate_tempdir_list = list\n"
        "from roadseg.cli import main\n"
        "sys.exit(main(['doctor', '--json']))\n"
    )
    (tmp_path / "gone").mkdir()
    result = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path / "gone",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stderr == ""
    findings = {each["check"]: each for each in json.loads(result.stdout)["findings"]}
    assert findings["openvino"]["level"] == "ok"
    assert findings["shadows"]["text"].startswith("the current folder is gone (")
    assert findings["temporary"]["text"].startswith("none can be written (No usable temporary")
