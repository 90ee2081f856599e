"""What is installed from a wheel can do what a checkout can."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from roadseg.core.errors import DataError, SourceError
from roadseg.core.shipped import page, shipped_copy, shipped_file
from roadseg.datasets.clip import LabelledClip
from roadseg.media.sources.places import find
from tests.support import ROOT

pytest.importorskip("setuptools", "77", reason="building a wheel needs setuptools 77 or newer")

# What a build reads; a checkout may hold environments, runs and data as well.
PARTS = ("roadseg", "calibration", "docs", "samples")
FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")

LOOK = """
import json
from roadseg.backends.tensorrt.builder.parity import parity_frames
from roadseg.weights.gate import check_gate
from roadseg.weights.calibration import find_calibration, read_calibration
from roadseg.core.shipped import page, shipped_file
from roadseg.weights import resolve_model

weights = resolve_model("segnet-lite", "torch").sha256
calibration = find_calibration("segnet-lite", weights)
check_gate(read_calibration(calibration))
frames, described = parity_frames(None, (32, 64), count=2)
print(json.dumps([str(calibration), described, page("data.md"), str(shipped_file("samples"))]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the contents of a wheel, as pip would unpack them."""
    source = tmp_path_factory.mktemp("source")
    for name in PARTS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in FILES:
        shutil.copy(ROOT / name, source)
    wheels = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--no-index", "--quiet", "--wheel-dir", str(wheels), "."],
        cwd=source,
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    (wheel,) = wheels.glob("*.whl")
    target = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_the_wheel_holds_what_commands_need(installed: Path) -> None:
    files = installed / "roadseg" / "shipped_files"
    for folder in ("calibration", "samples", "docs"):
        suffixes = {".md"} if folder == "docs" else {".json", ".txt", ".md", ".mp4", ".npz"}
        expected = {p.name for p in (ROOT / folder).iterdir() if p.suffix in suffixes}
        assert expected
        assert {p.name for p in (files / folder).iterdir()} == expected
    assert not list(installed.glob("tests*"))
    assert not list(installed.glob("samples*"))


def test_the_wheel_holds_the_page(installed: Path) -> None:
    static = Path("roadseg") / "live" / "web" / "static"
    expected = {p.relative_to(ROOT) for p in (ROOT / static).rglob("*") if p.is_file()}
    assert static / "vendor" / "uPlot.LICENSE" in expected
    assert {
        p.relative_to(installed) for p in (installed / static).rglob("*") if p.is_file()
    } == expected


def test_an_installed_roadseg_finds_them(installed: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    files = installed / "roadseg" / "shipped_files"
    assert json.loads(result.stdout) == [
        str(files / "calibration" / "segnet-lite.json"),
        "drive.mp4",
        str(files / "docs" / "data.md"),
        str(files / "samples"),
    ]


def test_a_checkout_has_them_beside_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shipped_file("samples/drive.mp4") == ROOT / "samples" / "drive.mp4"
    monkeypatch.chdir(ROOT)
    assert page("data.md") == str(Path("docs/data.md"))
    monkeypatch.chdir(ROOT / "tests")
    assert page("data.md") == str(ROOT / "docs" / "data.md")


def test_the_commands_of_the_documentation_find_them_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as source:
        find("samples/drive.mp4")
    assert str(source.value) == (
        f"no such file: samples/drive.mp4: the one of the documentation is {ROOT}/samples/drive.mp4"
    )
    with pytest.raises(DataError) as labels:
        LabelledClip("samples/drive.mp4", "samples/drive_labels.npz")
    assert str(labels.value) == (
        "no labels at samples/drive_labels.npz: those of the documentation are "
        f"{ROOT}/samples/drive_labels.npz"
    )
    assert shipped_copy("samples/dirve.mp4") is None
    assert shipped_copy("samples/../pyproject.toml") is None
    assert shipped_copy("pyproject.toml") is None


def test_every_page_that_a_message_names_is_there() -> None:
    named = set()
    for path in (ROOT / "roadseg").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"""\bpage\(['"]([^'"]+)['"]\)""", text))
    assert {"data.md", "training.md"} <= named
    assert all((ROOT / "docs" / name).is_file() for name in named)
